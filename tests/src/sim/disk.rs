//! One node's disk: the log and the state in memory, two tiers each, under what a seed makes of
//! them: syncs take time, fail, or break off in the middle of a write.
mod log;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::error::Fault;
use model::view::View;
use storage::log::memory::{MemoryLog, Syncing};
use storage::state::StateStore;
use storage::state::memory::MemoryState;

pub(crate) use self::log::SimLog;
pub(crate) use self::state::SimState;
use super::dice::Dice;
use super::invariants::Watch;
use super::wire::{self, LogId};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How long a sync takes.
    pub(crate) sync_ms: (u64, u64),
    /// Now and then one takes this long, so many times in a thousand.
    pub(crate) stall_ms: u64,
    pub(crate) stalls: u64,
}

/// What both stores of one life share.
#[derive(Clone)]
pub(crate) struct Platter {
    pub(crate) node: u64,
    pub(crate) watch: Watch,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dice: Dice,
    manner: Manner,
    /// After so many more writes the power goes, in the middle of whatever is going on.
    fuse: Option<u64>,
    is_blown: bool,
    fails_next_sync: bool,
}

/// A node's disk from one start of its process to the next.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) log: SimLog,
    pub(crate) state: SimState,
    pub(crate) platter: Platter,
}

impl Platter {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more write; an error when the disk is gone.
    pub(crate) fn step(&self) -> Result<(), String> {
        let mut inner = self.lock();
        if let Some(left) = inner.fuse {
            inner.fuse = left.checked_sub(1);
            inner.is_blown |= inner.fuse.is_none();
        }
        if inner.is_blown {
            return Err("the power is gone".to_owned());
        }
        Ok(())
    }

    pub(crate) fn sync_ms(&self) -> u64 {
        let mut inner = self.lock();
        let Manner {
            sync_ms: (low, high),
            stall_ms,
            stalls,
        } = inner.manner;
        let usual = inner.dice.between(low, high);
        if inner.dice.in_thousand(stalls) {
            return usual + inner.dice.roll(stall_ms + 1);
        }
        usual
    }

    /// How many of the log's unsynced writes had reached the disk by themselves: none or all, mostly.
    fn writes_left_by_power_cut(&self) -> usize {
        let dice = &mut self.lock().dice;
        let writes = match dice.roll(4) {
            0..=1 => 0,
            2 => dice.roll(6),
            _ => 1_000,
        };
        usize::try_from(writes).expect("a thousand")
    }

    /// How many of the state's commits that were not made durable had left its write buffers.
    fn commits_left(&self) -> u64 {
        let dice = &mut self.lock().dice;
        match dice.roll(3) {
            0 => 0,
            1 => dice.roll(60),
            _ => dice.roll(5),
        }
    }

    /// Whether this sync fails.
    pub(crate) fn take_failure(&self) -> bool {
        std::mem::take(&mut self.lock().fails_next_sync)
    }

    /// Lets the power go after so many more writes.
    pub(crate) fn light_fuse(&self, writes: u64) {
        self.lock().fuse = Some(writes);
    }

    pub(crate) fn fail_next_sync(&self) {
        self.lock().fails_next_sync = true;
    }

    /// Nothing that was lit or armed goes off any more.
    pub(crate) fn calm_down(&self) {
        let mut inner = self.lock();
        inner.fuse = None;
        inner.fails_next_sync = false;
    }

    /// Whether the power went: nothing more may come out of this node.
    pub(crate) fn is_blown(&self) -> bool {
        self.lock().is_blown
    }

    /// The same for the next life.
    fn next_life(&self) -> Self {
        let inner = self.lock();
        Self {
            node: self.node,
            watch: self.watch.clone(),
            inner: Arc::new(Mutex::new(Inner {
                dice: inner.dice.clone(),
                manner: inner.manner,
                fuse: None,
                is_blown: false,
                fails_next_sync: false,
            })),
        }
    }
}

impl Disk {
    pub(crate) fn new(node: u64, watch: Watch, dice: Dice, manner: Manner) -> Self {
        let platter = Platter {
            node,
            watch,
            inner: Arc::new(Mutex::new(Inner {
                dice,
                manner,
                fuse: None,
                is_blown: false,
                fails_next_sync: false,
            })),
        };
        Self::with(
            platter,
            MemoryLog::new(Syncing::ByHand),
            MemoryState::new(),
            0,
        )
    }

    fn with(platter: Platter, log: MemoryLog, state: MemoryState, hash: u64) -> Self {
        Self {
            log: SimLog::new(log, platter.clone()),
            state: SimState::new(state, platter.clone(), hash),
            platter,
        }
    }

    /// What the next process finds. The old one's handles fail from now on.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn reborn(&self, is_power_cut: bool) -> Result<Self, String> {
        let left = is_power_cut.then(|| self.platter.writes_left_by_power_cut());
        let log = match left {
            Some(writes) => self.log.memory().power_cut_leaving(writes),
            None => self.log.memory().kill(),
        };
        let commits = self.platter.commits_left();
        let state = self.state.memory().crash_leaving(commits);
        let (at, hash) = look(&state)?;
        let node = self.platter.node;
        self.platter.watch.reborn(node, left, at, hash);
        Ok(Self::with(self.platter.next_life(), log, state, hash))
    }
}

/// Where a state stands, and its hash.
fn look(state: &MemoryState) -> Result<(Option<LogId>, u64), String> {
    let reading = state.read().map_err(|fault| fault.to_string())?;
    let at = wire::applied(&reading.marker)?;
    let hash = hash_all(&reading.view).map_err(|fault| fault.to_string())?;
    Ok((at, hash))
}

/// The hash of a state: of its pairs, in any order, so that it can follow changes.
pub(crate) fn hash_all(view: &impl View) -> Result<u64, Fault> {
    let mut hash = 0;
    for pair in view.scan(&[], &[]) {
        let (key, value) = pair?;
        hash ^= hash_pair(&key, &value);
    }
    Ok(hash)
}

fn hash_pair(key: &[u8], value: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(key.len());
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}
