//! The state on a simulated disk.
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::error::Fault;
use model::overlay::Changes;
use model::view::View;
use storage::state::memory::MemoryState;
use storage::state::{Reading, SnapshotInfo, SnapshotSink, StateStore};

use super::{Platter, hash_all, hash_pair};
use crate::sim::invariants::Round;
use crate::sim::wire;

/// Snapshots travel in pieces as small as this, so that crashes find them half way.
const PIECE_BYTES: usize = 4 << 10;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct SimState {
    memory: MemoryState,
    platter: Platter,
    hash: Arc<Mutex<u64>>,
}

impl SimState {
    pub(super) fn new(memory: MemoryState, platter: Platter, hash: u64) -> Self {
        Self {
            memory,
            platter,
            hash: Arc::new(Mutex::new(hash)),
        }
    }

    pub(super) fn memory(&self) -> &MemoryState {
        &self.memory
    }

    fn step(&self) -> Result<(), Fault> {
        self.platter.step().map_err(|why| {
            self.memory.fail(&why);
            Fault(why)
        })
    }

    /// The hash with these changes on top of what is there.
    fn hash_with(&self, view: &impl View, changes: &Changes) -> Result<u64, Fault> {
        let mut hash = *self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            if let Some(old) = view.get(key)? {
                hash ^= hash_pair(key, &old);
            }
            if let Some(new) = value {
                hash ^= hash_pair(key, new);
            }
        }
        Ok(hash)
    }

    fn set_hash(&self, hash: u64) {
        *self.hash.lock().unwrap_or_else(PoisonError::into_inner) = hash;
    }

    fn note_durable(&self, marker: &Bytes) -> Result<(), Fault> {
        let to = wire::applied(marker).map_err(Fault)?;
        self.platter.watch.state_durable(self.platter.node, to);
        Ok(())
    }
}

impl StateStore for SimState {
    fn read(&self) -> Result<Reading, Fault> {
        self.memory.read()
    }

    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault> {
        self.step()?;
        let before = self.memory.read()?;
        let hash = self.hash_with(&before.view, &changes)?;
        self.memory.commit(changes.clone(), marker.clone())?;
        self.set_hash(hash);
        let node = self.platter.node;
        let from = wire::applied(&before.marker).map_err(Fault)?;
        let Some(to) = wire::applied(&marker).map_err(Fault)? else {
            return Err(Fault("a commit without a position".to_owned()));
        };
        let round = Round {
            node,
            to,
            changes: &changes,
            hash,
        };
        let from = from.map(|id| id.index);
        self.platter.watch.applied(&round, from);
        Ok(())
    }

    fn make_durable(&self) -> Result<Bytes, Fault> {
        self.step()?;
        let marker = self.memory.make_durable()?;
        self.note_durable(&marker)?;
        Ok(marker)
    }

    fn build_snapshot_while(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault> {
        self.step()?;
        let info = self.memory.build_snapshot_while(is_wanted)?;
        self.note_durable(&info.marker)?;
        Ok(info)
    }

    fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Fault> {
        self.memory.snapshots()
    }

    fn drop_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.memory.drop_snapshot(id)
    }

    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault> {
        let chunks = self.memory.snapshot_chunks(id)?;
        Ok(Box::new(chunks.flat_map(|chunk| match chunk {
            Ok(mut rest) => {
                let pieces = std::iter::from_fn(move || {
                    let bytes = rest.len().min(PIECE_BYTES);
                    (bytes > 0).then(|| Ok(rest.split_to(bytes)))
                });
                pieces.collect::<Vec<_>>()
            }
            Err(fault) => vec![Err(fault)],
        })))
    }

    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault> {
        self.step()?;
        Ok(Box::new(Sink {
            inner: self.memory.receive_snapshot()?,
            state: self.clone(),
        }))
    }

    fn install_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.step()?;
        self.memory.install_snapshot(id)?;
        let now = self.memory.read()?;
        let hash = hash_all(&now.view)?;
        self.set_hash(hash);
        if let Some(to) = wire::applied(&now.marker).map_err(Fault)? {
            self.platter.watch.installed(self.platter.node, to, hash);
        }
        Ok(())
    }
}

/// A snapshot on its way in.
struct Sink {
    inner: Box<dyn SnapshotSink>,
    state: SimState,
}

impl SnapshotSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.state.step()?;
        self.inner.write(chunk)
    }

    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault> {
        self.state.step()?;
        self.inner.finish()
    }
}
