//! A small state in a directory of its own, for benches that need one.
use std::cell::{Cell, RefCell};

use micro::store::Store;
use micro::world::{World, publish, register, token};
use model::command::{Command, Operation};
use storage::state::Options;
use tempfile::TempDir;

pub(crate) const USERS: usize = 300;
pub(crate) const VIDEOS: usize = 1_000;
const ROUND: usize = 100;

/// Users with videos, and how many writes there were so far.
pub(crate) struct Stage {
    pub(crate) store: RefCell<Store>,
    pub(crate) world: World,
    written: Cell<usize>,
    // Removed when all else is gone.
    _dir: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = dir();
        let mut store = Store::create(&dir.path().join("state"), Options::default())
            .expect("a new directory takes a state");
        let users = (0..USERS).map(|number| (None, register(number)));
        let videos = (0..VIDEOS).map(|number| (Some(token(number % USERS)), publish(number)));
        let all: Vec<_> = users.chain(videos).collect();
        for some in all.chunks(ROUND) {
            let commands = some
                .iter()
                .map(|(actor, operation)| store.command(*actor, operation.clone()));
            let commands = commands.collect();
            store.apply(commands).expect("users and videos are new");
        }
        let view = store.view().expect("the state can be read");
        Self {
            world: World::read(&view).expect("the state can be read"),
            store: RefCell::new(store),
            written: Cell::new(0),
            _dir: dir,
        }
    }

    /// The next `count` writes; `operation` makes the n-th, of the user that it is given.
    pub(crate) fn commands(
        &self,
        count: usize,
        operation: impl Fn(&World, usize, usize) -> Operation,
    ) -> Vec<Command> {
        let first = self.written.replace(self.written.get() + count);
        let mut store = self.store.borrow_mut();
        let commands = (first..first + count).map(|number| {
            let user = number % USERS;
            let operation = operation(&self.world, number, user);
            store.command(Some(token(user)), operation)
        });
        commands.collect()
    }
}

/// On the disk that the build is on: a temporary file system would sync nothing.
pub(crate) fn dir() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room for a directory")
}
