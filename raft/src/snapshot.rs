//! Snapshots: what the state must be before the log behind it may go, when one is due, and how one
//! is taken in from a leader.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use model::error::Fault;
use openraft::storage::{RaftSnapshotBuilder, Snapshot};
use storage::state::{SnapshotInfo, SnapshotSink, StateStore};
use tokio::sync::mpsc;
use transport::network;

use crate::codec;
use crate::log_store::Alive;
use crate::types::{SnapshotMeta, Types, index_of};

/// The snapshot that openraft moves about: its bytes stay in the store that keeps them.
#[derive(Clone)]
pub(crate) struct SnapshotData {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) info: SnapshotInfo,
}

pub(crate) type SnapshotOf = openraft::alias::SnapshotOf<Types, SnapshotData>;

/// Up to where the state survives a power cut: the log before that may go, and nothing after it.
pub(crate) struct Durability {
    state: Arc<dyn StateStore>,
    index: AtomicU64,
}

impl Durability {
    pub(crate) fn new(state: Arc<dyn StateStore>) -> Self {
        Self {
            state,
            index: AtomicU64::new(0),
        }
    }

    pub(crate) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    fn note(&self, index: u64) {
        self.index.fetch_max(index, Ordering::AcqRel);
    }

    /// Makes the state durable up to `index`.
    ///
    /// # Errors
    /// When the disk fails, or the state has not come as far.
    pub(crate) async fn ensure(self: &Arc<Self>, index: u64) -> io::Result<()> {
        if self.index() >= index {
            return Ok(());
        }
        let this = Arc::clone(self);
        let durable = off_thread(move || this.make()).await?;
        if durable >= index {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the log up to {index} may not go: the state is durable only up to {durable}"
        )))
    }

    /// Makes all that is applied durable; gives the index.
    fn make(&self) -> Result<u64, Fault> {
        let marker = self.state.make_durable()?;
        let durable = codec::marker_index(&marker)?;
        // A snapshot that was received and is not yet installed is durable as well: a start
        // installs it before it looks at the log.
        let held = match self.state.current_snapshot()? {
            Some(info) => codec::marker_index(&info.marker)?,
            None => 0,
        };
        let durable = durable.max(held);
        self.note(durable);
        Ok(durable)
    }

    /// Replaces the state by `snapshot`.
    pub(crate) fn install(&self, snapshot: &SnapshotData) -> Result<SnapshotMeta, Fault> {
        if Arc::ptr_eq(&self.state, &snapshot.store) {
            self.state.install_snapshot(&snapshot.info.id)?;
        } else {
            // Another store's: only openraft's test suite does without a network.
            let mut sink = self.state.receive_snapshot()?;
            for chunk in snapshot.store.snapshot_chunks(&snapshot.info.id)? {
                sink.write(&chunk?)?;
            }
            self.state.install_snapshot(&sink.finish()?.id)?;
        }
        let meta = codec::decode_marker(&self.state.read()?.marker)?;
        self.note(index_of(meta.last_log_id.as_ref()));
        Ok(meta)
    }
}

/// Runs what blocks where blocking does not hold up heartbeats.
pub(crate) async fn off_thread<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, Fault> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(io::Error::other),
        Err(error) => Err(io::Error::other(format!(
            "work on the state broke off: {error}"
        ))),
    }
}

/// The snapshot `info` of `store`, as openraft wants it.
pub(crate) fn snapshot_of(
    store: &Arc<dyn StateStore>,
    info: SnapshotInfo,
) -> Result<SnapshotOf, codec::Malformed> {
    Ok(Snapshot {
        meta: codec::decode_marker(&info.marker)?,
        snapshot: SnapshotData {
            store: Arc::clone(store),
            info,
        },
    })
}

/// Takes snapshots of what is applied at that moment, off the async threads.
pub(crate) struct Builder {
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) alive: Alive,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let state = Arc::clone(&self.state);
        let durability = Arc::clone(&self.durability);
        let alive = self.alive.clone();
        let info = off_thread(move || {
            // Whoever stops the replica waits for this too.
            let _alive = alive;
            // The log behind a snapshot is purged, so all that the snapshot holds has to survive a
            // power cut in the state as well.
            durability.make()?;
            state.build_snapshot()
        })
        .await?;
        metrics::counter!("yin_raft_snapshots_built_total").increment(1);
        tracing::info!(snapshot = info.id, bytes = info.bytes, "snapshot built");
        Ok(snapshot_of(&self.state, info)?)
    }
}

/// Chunks of a transfer that wait to be written.
const CHUNKS_WAITING: usize = 4;

/// Writes an incoming snapshot to this disk and checks that it is whole and the one announced.
///
/// # Errors
/// In words for the sender, when the transfer broke off, the disk failed or the snapshot is not
/// the one announced.
pub(crate) async fn receive(
    state: &Arc<dyn StateStore>,
    marker: Bytes,
    bytes: u64,
    chunks: mpsc::Receiver<Result<Bytes, network::Error>>,
) -> Result<SnapshotInfo, String> {
    let state = Arc::clone(state);
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let writer =
        tokio::task::spawn_blocking(move || write_all(state.receive_snapshot()?, receiver));
    let moved = forward(chunks, sender).await;
    let info = match writer.await {
        Ok(Ok(Some(info))) => info,
        Ok(Ok(None)) => return Err(moved.err().unwrap_or_else(|| "it broke off".to_owned())),
        Ok(Err(fault)) => return Err(fault.to_string()),
        Err(error) => return Err(format!("writing broke off: {error}")),
    };
    moved?;
    if info.marker != marker || info.bytes != bytes {
        return Err("what arrived is not the snapshot that was announced".to_owned());
    }
    Ok(info)
}

/// A chunk, or word that all chunks were there.
enum Part {
    Chunk(Bytes),
    End,
}

async fn forward(
    mut chunks: mpsc::Receiver<Result<Bytes, network::Error>>,
    parts: mpsc::Sender<Part>,
) -> Result<(), String> {
    let gone = || "the disk did not take it".to_owned();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        parts.send(Part::Chunk(chunk)).await.map_err(|_| gone())?;
    }
    parts.send(Part::End).await.map_err(|_| gone())
}

/// None when the parts ended without an end.
fn write_all(
    mut sink: Box<dyn SnapshotSink>,
    mut parts: mpsc::Receiver<Part>,
) -> Result<Option<SnapshotInfo>, Fault> {
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Chunk(chunk) => sink.write(&chunk)?,
            Part::End => return sink.finish().map(Some),
        }
    }
    Ok(None)
}

/// Reads the stream of a snapshot of this disk into `chunks`; ends early when nobody takes them.
pub(crate) fn send_all(snapshot: &SnapshotData, chunks: &mpsc::Sender<Bytes>) -> Result<(), Fault> {
    for chunk in snapshot.store.snapshot_chunks(&snapshot.info.id)? {
        if chunks.blocking_send(chunk?).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
