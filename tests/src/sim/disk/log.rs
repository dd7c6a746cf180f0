//! The log on a simulated disk.
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use storage::log::memory::MemoryLog;
use storage::log::{Done, Held as HeldInLog, LogStore};

use super::Platter;
use crate::sim::ledger::Held;
use crate::sim::trace::stamp;
use crate::sim::wire;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct SimLog {
    memory: MemoryLog,
    platter: Platter,
    is_syncing: Arc<AtomicBool>,
}

impl SimLog {
    pub(super) fn new(memory: MemoryLog, platter: Platter) -> Self {
        Self {
            memory,
            platter,
            is_syncing: Arc::default(),
        }
    }

    pub(super) fn memory(&self) -> &MemoryLog {
        &self.memory
    }

    /// One more write, unless the disk is gone or the log has failed: what a log refuses is not on
    /// the disk, and no later sync puts it there.
    fn step(&self) -> io::Result<()> {
        self.memory.check()?;
        self.platter.step().map_err(|why| {
            self.memory.fail(&why);
            io::Error::other(why)
        })
    }

    /// Has what is written synced, some time later: one sync serves all that is written until then.
    fn sync_soon(&self) {
        if self.is_syncing.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let takes = Duration::from_millis(this.platter.sync_ms());
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            this.is_syncing.store(false, Ordering::Relaxed);
            this.sync_now();
        });
    }

    fn sync_now(&self) {
        if self.step().is_err() {
            return;
        }
        if self.platter.take_failure() {
            self.memory.fail("the disk answered EIO to a sync");
            return;
        }
        self.platter.watch.synced(self.platter.node);
        self.memory.sync();
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[async_trait]
impl LogStore for SimLog {
    fn held(&self) -> HeldInLog {
        self.memory.held()
    }

    async fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) -> io::Result<()> {
        self.step()?;
        let mut seen = Vec::new();
        for (index, bytes) in &entries {
            let entry = wire::entry(bytes).map_err(invalid)?;
            let held = Held {
                term: entry.id.term,
                stamp: stamp(bytes),
                configs: entry.configs,
            };
            if entry.id.index != *index {
                return Err(invalid(format!("{:?} is appended at {index}", entry.id)));
            }
            seen.push((entry.id, held));
        }
        self.memory.append(entries, done).await?;
        for (id, held) in seen {
            self.platter.watch.appended(self.platter.node, id, held);
        }
        self.sync_soon();
        Ok(())
    }

    async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        self.step()?;
        let decoded = wire::vote(&vote).map_err(invalid)?;
        self.platter.watch.vote_written(self.platter.node, decoded);
        self.sync_soon();
        self.memory.save_vote(vote).await
    }

    async fn save_committed(&self, committed: Bytes) -> io::Result<()> {
        self.step()?;
        self.memory.save_committed(committed).await?;
        self.platter.watch.committed_written(self.platter.node);
        Ok(())
    }

    async fn truncate_from(&self, index: u64) -> io::Result<()> {
        self.step()?;
        self.memory.truncate_from(index).await?;
        self.platter.watch.truncated(self.platter.node, index);
        Ok(())
    }

    async fn purge_to(&self, index: u64, marker: Bytes) -> io::Result<()> {
        self.step()?;
        self.memory.purge_to(index, marker).await?;
        self.platter.watch.purged(self.platter.node, index);
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        self.memory.read(range, bytes_max)
    }
}
