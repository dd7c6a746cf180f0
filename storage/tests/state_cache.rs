//! The cache of values shows every view what the database would have shown it.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use model::adjacency::KINDS;
use model::overlay::Changes;
use proptest::prelude::*;
use storage::state::memory::MemoryState;
use storage::state::{Options, Reading, RocksState, StateStore};

use crate::state_twin::options;
use crate::tools::owner;

/// Few keys, so that commits and reads meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..60_u8).prop_map(|number| vec![1, 7, number])
}

/// The prefix of one of three lists.
fn list() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8).prop_map(|object| [&[KINDS[0]], [0; 7].as_slice(), &[object]].concat())
}

fn edge() -> impl Strategy<Value = Vec<u8>> {
    (list(), 0..8_u8).prop_map(|(list, number)| [list, vec![number]].concat())
}

fn changes() -> impl Strategy<Value = Changes> {
    let value = |bytes_max| {
        let bytes = prop::collection::vec(any::<u8>(), 0..bytes_max);
        prop::option::weighted(0.7, bytes)
    };
    let values = prop::collection::btree_map(key(), value(600), 0..30);
    let edges = prop::collection::btree_map(edge(), value(20), 0..4);
    (values, edges).prop_map(|(mut changes, edges)| {
        changes.extend(edges);
        changes
    })
}

#[derive(Clone, Debug)]
enum Call {
    Commit(Changes),
    /// Keeps the view of now.
    Look,
    /// By a view that was kept, or by that of now.
    Get(usize, Vec<Vec<u8>>),
    GetMany(usize, Vec<Vec<u8>>),
    List(usize, Vec<u8>),
    Snapshot,
    /// The one that was built last, perhaps a second time.
    Install,
}

fn call() -> impl Strategy<Value = Call> {
    let keys = || prop::collection::vec(key(), 1..20);
    prop_oneof![
        8 => changes().prop_map(Call::Commit),
        4 => Just(Call::Look),
        8 => (0..6_usize, keys()).prop_map(|(view, keys)| Call::Get(view, keys)),
        8 => (0..6_usize, keys()).prop_map(|(view, keys)| Call::GetMany(view, keys)),
        8 => (0..6_usize, list()).prop_map(|(view, list)| Call::List(view, list)),
        1 => Just(Call::Snapshot),
        1 => Just(Call::Install),
    ]
}

/// The same on disk and in memory.
struct Both {
    disk: RocksState,
    memory: MemoryState,
    looks: Vec<(Reading, Reading)>,
    snapshots: Option<(String, String)>,
}

impl Both {
    fn make(&mut self, call: &Call, number: usize) {
        match call {
            Call::Commit(changes) => {
                let marker = Bytes::from(number.to_string());
                self.disk.commit(changes.clone(), marker.clone()).unwrap();
                self.memory.commit(changes.clone(), marker).unwrap();
            }
            Call::Look => {
                let now = self.now();
                self.looks.push(now);
                if self.looks.len() > 5 {
                    self.looks.remove(0);
                }
            }
            Call::Get(view, keys) => {
                let (disk, memory) = self.view(*view);
                for key in keys {
                    assert_eq!(disk.view.get(key).unwrap(), memory.view.get(key).unwrap());
                }
            }
            Call::GetMany(view, keys) => {
                let (disk, memory) = self.view(*view);
                assert_eq!(
                    disk.view.get_many(keys).unwrap(),
                    memory.view.get_many(keys).unwrap()
                );
            }
            Call::List(view, prefix) => {
                let (disk, memory) = self.view(*view);
                let list = disk.view.adjacency(prefix).unwrap();
                assert_eq!(list, memory.view.adjacency(prefix).unwrap());
            }
            Call::Snapshot => {
                let disk = self.disk.build_snapshot().unwrap();
                let memory = self.memory.build_snapshot().unwrap();
                self.snapshots = Some((disk.id, memory.id));
            }
            Call::Install => {
                if let Some((disk, memory)) = &self.snapshots {
                    self.disk.install_snapshot(disk).unwrap();
                    self.memory.install_snapshot(memory).unwrap();
                }
            }
        }
    }

    fn now(&self) -> (Reading, Reading) {
        (self.disk.read().unwrap(), self.memory.read().unwrap())
    }

    fn view(&self, place: usize) -> (Reading, Reading) {
        self.looks.get(place).cloned().unwrap_or_else(|| self.now())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_view_reads_past_the_cache_what_it_reads_through_it(
        calls in prop::collection::vec(call(), 1..80),
        is_small in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            value_cache_bytes: if is_small { 64 << 10 } else { 4 << 20 },
            ..options()
        };
        let mut both = Both {
            disk: RocksState::create(dir.path(), &owner(1), options).unwrap(),
            memory: MemoryState::new(),
            looks: Vec::new(),
            snapshots: None,
        };
        for (number, call) in calls.iter().enumerate() {
            both.make(call, number);
        }
    }
}

const KEYS: u8 = 20;
const COMMITS: u64 = 3_000;

fn keys() -> Vec<Vec<u8>> {
    (0..KEYS).map(|number| vec![2, number]).collect()
}

/// Reads all keys at once and one by one, in an order of its own; every view must show one commit.
fn read_all(state: &RocksState, keys: &[Vec<u8>], round: usize) {
    let reading = state.read().unwrap();
    let expected = Some(reading.marker.to_vec()).filter(|marker| !marker.is_empty());
    let at_once = reading.view.get_many(keys).unwrap();
    let (first, rest) = keys.split_at(round % keys.len());
    for key in rest.iter().chain(first) {
        assert_eq!(reading.view.get(key).unwrap(), expected);
    }
    assert!(at_once.iter().all(|value| *value == expected));
}

/// One thread commits the same number under all keys and now and then goes back to a snapshot;
/// others read.
#[test]
fn a_view_never_shows_two_commits_to_readers_on_other_threads() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(dir.path(), &owner(1), Options::default()).unwrap();
    let keys = keys();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    read_all(&state, &keys, round);
                    round += 1;
                }
            });
        }
        let write = || {
            let mut snapshot = None;
            for number in 0..COMMITS {
                let value = number.to_string().into_bytes();
                let changes = keys.iter().map(|key| (key.clone(), Some(value.clone())));
                state.commit(changes.collect(), value.clone().into())?;
                match number % 500 {
                    100 => snapshot = Some(state.build_snapshot()?.id),
                    300 | 400 => state.install_snapshot(snapshot.as_deref().unwrap_or_default())?,
                    _ => {}
                }
            }
            Ok::<_, model::error::Fault>(())
        };
        let written = write();
        is_over.store(true, Ordering::Relaxed);
        written.unwrap();
    });
}
