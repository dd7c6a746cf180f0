//! The log seam: entries, vote and markers, durable before they are acknowledged.
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

mod file;
mod frame;
mod index;
mod lock;
pub mod memory;
mod recover;
pub mod segment;
mod shared;
mod spare;
mod synced;
mod writer;

pub use segment::{Options, SegmentLog};

/// Called exactly once, in the order of the calls, when all of it is on disk (or cannot be).
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What a log holds. Entries, vote and markers are opaque bytes to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Index of the first entry that is present.
    pub first: Option<u64>,
    /// Index of the last entry that is present.
    pub last: Option<u64>,
    /// Marker of the last purge.
    pub purged: Option<Bytes>,
    pub vote: Option<Bytes>,
    /// Marker of what is known to be committed; may lag.
    pub committed: Option<Bytes>,
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Bytes that were synced are gone or changed: this node must not vote on what is left.
    #[error(
        "the log is damaged: {what}; this node must not vote, it has to come back as a new learner"
    )]
    Damaged { what: String },
    /// The directory is another node's.
    #[error(
        "the log in {dir} belongs to {found}, not to {expected}: point this node at its own data directory"
    )]
    Foreign {
        dir: String,
        found: String,
        expected: String,
    },
    /// There should be a log and there is none.
    #[error(
        "the log in {dir} is missing: the directory was wiped; remove what is left of it and join again as a new node"
    )]
    Missing { dir: String },
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// One node's log. Clones share it. All calls are one serialized order.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// What is present now, including what is not yet synced.
    fn held(&self) -> Held;

    /// Appends contiguous entries after the last one. They are readable when this returns; `done`
    /// follows when they are synced. Waits while too much is unsynced.
    async fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) -> io::Result<()>;

    /// Replaces the vote; returns when it is synced.
    async fn save_vote(&self, vote: Bytes) -> io::Result<()>;

    /// Notes what is committed, without a sync of its own.
    async fn save_committed(&self, committed: Bytes) -> io::Result<()>;

    /// Removes the entries from `index` on.
    async fn truncate_from(&self, index: u64) -> io::Result<()>;

    /// Removes the entries up to and including `index`, noting `marker`.
    async fn purge_to(&self, index: u64, marker: Bytes) -> io::Result<()>;

    /// The entries in `range`, oldest first: all of them, or a non-empty prefix that does not much
    /// exceed `bytes_max`. An index that is not present ends it.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>>;
}
