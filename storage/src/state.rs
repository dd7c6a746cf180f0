//! The state seam: views, the one atomic commit, snapshots.
use std::sync::Arc;

use bytes::Bytes;
use model::error::Fault;
use model::overlay::Changes;
use model::view::View;

mod build;
mod cache;
mod cached;
mod durable;
mod install;
mod key;
pub mod memory;
mod options;
mod receive;
pub mod rocks;
mod send;
mod shard;
mod shelf;
mod stream;
mod versions;
mod view;

pub use options::Options;
pub use rocks::RocksState;

/// Why a state does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What it holds is older than what was durable: the log may no longer reach back so far.
    #[error(
        "the state in {dir} is behind what was durable (commit {found} of {durable}); this node has to come back as a new learner"
    )]
    Behind {
        dir: String,
        found: u64,
        durable: u64,
    },
    /// Its files are damaged.
    #[error("the state is damaged: {what}; this node has to come back as a new learner")]
    Damaged { what: String },
    /// The directory is another node's.
    #[error(
        "the state in {dir} belongs to {found}, not to {expected}: point this node at its own data directory"
    )]
    Foreign {
        dir: String,
        found: String,
        expected: String,
    },
    /// There should be a state and there is none.
    #[error(
        "the state in {dir} is missing: the directory was wiped; remove what is left of it and join again as a new node"
    )]
    Missing { dir: String },
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A view that can be sent between threads.
pub type SharedView = Arc<dyn View + Send + Sync>;

/// A consistent view with the marker that was committed with it.
#[derive(Clone)]
pub struct Reading {
    pub view: SharedView,
    /// The marker of the last commit that this view sees; empty before the first.
    pub marker: Bytes,
}

/// A finished snapshot on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    pub id: String,
    /// The marker of the view it was taken from.
    pub marker: Bytes,
    /// Bytes of its stream.
    pub bytes: u64,
}

/// Takes in a snapshot's stream.
pub trait SnapshotSink: Send {
    /// Takes the next part of the stream, of any size.
    ///
    /// # Errors
    /// When the disk fails or the stream is not a snapshot's.
    fn write(&mut self, chunk: &[u8]) -> Result<(), Fault>;

    /// Checks that all of it arrived whole and makes it durable, without installing it.
    ///
    /// # Errors
    /// When bytes are missing or damaged.
    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault>;
}

/// One node's state. All calls block: call them off the async threads when they may take long.
pub trait StateStore: Send + Sync + 'static {
    /// What is committed now.
    ///
    /// # Errors
    /// When this machine cannot read it.
    fn read(&self) -> Result<Reading, Fault>;

    /// Commits `changes` and `marker` together, or neither. What a kill or a power cut may take back
    /// is an end of the history that was not made durable, never a middle; closing in good order
    /// takes nothing.
    ///
    /// # Errors
    /// When the disk fails; the replica must stop.
    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault>;

    /// Makes all that is committed survive a kill and a power cut; gives the marker up to which that
    /// holds.
    ///
    /// # Errors
    /// When the disk fails.
    fn make_durable(&self) -> Result<Bytes, Fault>;

    /// Writes a snapshot of what is committed now, durable, and keeps it.
    ///
    /// # Errors
    /// When the disk fails.
    fn build_snapshot(&self) -> Result<SnapshotInfo, Fault> {
        self.build_snapshot_while(&|| true)
    }

    /// As [`StateStore::build_snapshot`]. With much data that takes long, so it asks all the while
    /// whether it still `is_wanted`; if not, it breaks off and nothing of it is kept.
    ///
    /// # Errors
    /// When the disk fails, or nobody wants the snapshot any more.
    fn build_snapshot_while(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault>;

    /// The complete snapshots on this disk, built or received, in the order in which they were begun.
    /// They survive restarts. Each stays until [`StateStore::drop_snapshot`]: which of them reach
    /// furthest is in their markers, and those are read above.
    ///
    /// # Errors
    /// When the disk fails.
    fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Fault>;

    /// Lets go of the snapshot `id`, if it is there. Who reads it reads it to its end.
    ///
    /// # Errors
    /// When the disk fails.
    fn drop_snapshot(&self, id: &str) -> Result<(), Fault>;

    /// The stream of the snapshot `id` in chunks of at most 1 MiB. The snapshot is kept until the
    /// iterator is dropped.
    ///
    /// # Errors
    /// When there is no such snapshot.
    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault>;

    /// Begins to take in a snapshot.
    ///
    /// # Errors
    /// When the disk fails.
    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault>;

    /// Replaces the whole state by the snapshot `id`, atomically and durably.
    ///
    /// # Errors
    /// When the disk fails; then the state is the old one.
    fn install_snapshot(&self, id: &str) -> Result<(), Fault>;
}
