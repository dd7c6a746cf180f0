//! A state that fails to commit a few times, as a disk with a bad moment does: the last of them as
//! a fault, the one before as a panic. Its snapshots may take as long as those of much data.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::error::Fault;
use model::overlay::Changes;
use storage::state::memory::MemoryState;
use storage::state::{Reading, SnapshotInfo, SnapshotSink, StateStore};

pub(crate) struct Shaky {
    pub(crate) inner: Arc<MemoryState>,
    pub(crate) failures: Arc<AtomicU64>,
    pub(crate) builds: Arc<Builds>,
}

/// How long a snapshot that is still wanted takes, should it be slow.
pub(crate) const SLOW_BUILD: Duration = Duration::from_secs(20);

/// What a test wants of building snapshots, and sees of it.
#[derive(Default)]
pub(crate) struct Builds {
    pub(crate) are_slow: AtomicBool,
    pub(crate) is_one_under_way: AtomicBool,
}

impl Builds {
    fn build(&self, is_wanted: &dyn Fn() -> bool) {
        let end = Instant::now() + SLOW_BUILD;
        self.is_one_under_way.store(true, Ordering::Relaxed);
        while self.are_slow.load(Ordering::Relaxed) && is_wanted() && Instant::now() < end {
            std::thread::yield_now();
        }
        self.is_one_under_way.store(false, Ordering::Relaxed);
    }
}

impl StateStore for Shaky {
    fn read(&self) -> Result<Reading, Fault> {
        self.inner.read()
    }
    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault> {
        let left = |left: u64| left.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
        {
            Ok(left) if left % 2 == 0 => panic!("a bad moment, on purpose"),
            Ok(_) => Err(Fault("a bad moment".to_owned())),
            Err(_) => self.inner.commit(changes, marker),
        }
    }
    fn make_durable(&self) -> Result<Bytes, Fault> {
        self.inner.make_durable()
    }
    fn build_snapshot_while(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault> {
        self.builds.build(is_wanted);
        self.inner.build_snapshot_while(is_wanted)
    }
    fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Fault> {
        self.inner.snapshots()
    }
    fn drop_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.inner.drop_snapshot(id)
    }
    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault> {
        self.inner.snapshot_chunks(id)
    }
    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault> {
        self.inner.receive_snapshot()
    }
    fn install_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.inner.install_snapshot(id)
    }
}
