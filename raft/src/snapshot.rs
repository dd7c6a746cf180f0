//! Snapshots: what the state must be before the log behind it may go, which of them stay, and how
//! one is taken in from a leader.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use model::error::Fault;
use openraft::storage::{RaftSnapshotBuilder, Snapshot};
use storage::state::{SnapshotInfo, SnapshotSink, StateStore};
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::network;

use crate::codec;
use crate::life::Alive;
use crate::options::Blocking;
use crate::types::{LogId, SnapshotMeta, Types, index_of};

/// The snapshot that openraft moves about: its bytes stay in the store that keeps them.
#[derive(Clone)]
pub(crate) struct SnapshotData {
    pub(crate) durability: Arc<Durability>,
    pub(crate) info: SnapshotInfo,
}

pub(crate) type SnapshotOf = openraft::alias::SnapshotOf<Types, SnapshotData>;

/// Up to where the state survives a power cut: the log before that may go, and nothing after it.
pub(crate) struct Durability {
    state: Arc<dyn StateStore>,
    blocking: Blocking,
    index: AtomicU64,
}

impl Durability {
    pub(crate) fn new(state: Arc<dyn StateStore>, blocking: Blocking) -> Self {
        Self {
            state,
            blocking,
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
        let durable = self.work(move || this.make()).await?;
        if durable >= index {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the log up to {index} may not go: the state is durable only up to {durable}"
        )))
    }

    /// Does work on the state that may take long, where blocking does not hold up heartbeats.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn work<T, W>(&self, work: W) -> io::Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, Fault> + Send + 'static,
    {
        let done = match self.blocking {
            Blocking::Threads => tokio::task::spawn_blocking(work).await,
            Blocking::InPlace => Ok(work()),
        };
        match done {
            Ok(result) => result.map_err(io::Error::other),
            Err(error) => Err(io::Error::other(format!(
                "work on the state broke off: {error}"
            ))),
        }
    }

    /// The current snapshot, see [`Durability::furthest`].
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn current(self: &Arc<Self>) -> io::Result<Option<SnapshotOf>> {
        let this = Arc::clone(self);
        let furthest = self.work(move || this.furthest()).await?;
        let current = furthest.map(|held| snapshot_of(self, held.info));
        Ok(current.transpose()?)
    }

    /// All snapshots on this disk, the last begun last.
    fn held(&self) -> Result<Vec<Held>, Fault> {
        let held = self.state.snapshots()?.into_iter().map(|info| {
            let reach = codec::decode_marker(&info.marker)?.last_log_id;
            Ok(Held { info, reach })
        });
        held.collect()
    }

    /// The current snapshot: the one that reaches furthest. One that was long under way may come in
    /// after another was built that reaches further, and the log behind that one is gone by then.
    fn furthest(&self) -> Result<Option<Held>, Fault> {
        Ok(self.held()?.into_iter().max_by_key(|held| held.reach))
    }

    /// Lets go of the snapshots that nothing needs any more.
    fn tidy(&self) -> Result<(), Fault> {
        let held = self.held()?;
        for old in superfluous(&held, self.applied()?) {
            self.state.drop_snapshot(&old.info.id)?;
        }
        Ok(())
    }

    /// Builds a snapshot of all that is applied, as long as it `is_wanted`.
    fn build(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault> {
        // The log behind a snapshot is purged, so all that the snapshot holds has to survive a
        // power cut in the state as well.
        self.make()?;
        let info = self.state.build_snapshot_while(is_wanted)?;
        self.tidy()?;
        Ok(info)
    }

    /// Makes all that is applied durable; gives the index.
    fn make(&self) -> Result<u64, Fault> {
        let marker = self.state.make_durable()?;
        let durable = codec::marker_index(&marker)?;
        // A snapshot that was received and is not yet installed is durable as well: a start
        // installs it before it looks at the log.
        let held = self.furthest()?.and_then(|held| held.reach);
        let durable = durable.max(index_of(held.as_ref()));
        self.note(durable);
        Ok(durable)
    }

    /// What was applied last.
    pub(crate) fn applied(&self) -> Result<Option<LogId>, Fault> {
        Ok(codec::decode_marker(&self.state.read()?.marker)?.last_log_id)
    }

    /// Takes a snapshot that reaches to `applied`, unless there is one.
    pub(crate) fn cover(&self, applied: LogId) -> Result<(), Fault> {
        let held = self.furthest()?.and_then(|held| held.reach);
        if held >= Some(applied) {
            return Ok(());
        }
        self.build(&|| true).map(drop)
    }

    /// Replaces the state by `snapshot`.
    pub(crate) fn install(&self, snapshot: &SnapshotData) -> Result<SnapshotMeta, Fault> {
        if Arc::ptr_eq(&self.state, &snapshot.durability.state) {
            self.state.install_snapshot(&snapshot.info.id)?;
        } else {
            // Another store's: only openraft's test suite does without a network.
            let mut sink = self.state.receive_snapshot()?;
            for chunk in snapshot
                .durability
                .state
                .snapshot_chunks(&snapshot.info.id)?
            {
                sink.write(&chunk?)?;
            }
            self.state.install_snapshot(&sink.finish()?.id)?;
        }
        let meta = codec::decode_marker(&self.state.read()?.marker)?;
        self.note(index_of(meta.last_log_id.as_ref()));
        self.tidy()?;
        Ok(meta)
    }
}

/// A snapshot on this disk, and the last entry in it.
struct Held {
    info: SnapshotInfo,
    reach: Option<LogId>,
}

/// Those of the snapshots `held`, the last begun last, that nothing needs when so much is `applied`:
/// all but the one that reaches furthest, and the last of those beyond `applied`, which may be about
/// to be installed.
fn superfluous(held: &[Held], applied: Option<LogId>) -> impl Iterator<Item = &Held> {
    let numbered = || held.iter().enumerate();
    let furthest = numbered().max_by_key(|(_, held)| held.reach);
    let coming = numbered().rfind(|(_, held)| held.reach > applied);
    let needed = [furthest, coming].map(|needed| needed.map(|(number, _)| number));
    numbered()
        .filter(move |(number, _)| !needed.contains(&Some(*number)))
        .map(|(_, held)| held)
}

/// The snapshot `info` of this disk, as openraft wants it.
pub(crate) fn snapshot_of(
    durability: &Arc<Durability>,
    info: SnapshotInfo,
) -> Result<SnapshotOf, codec::Malformed> {
    Ok(Snapshot {
        meta: codec::decode_marker(&info.marker)?,
        snapshot: SnapshotData {
            durability: Arc::clone(durability),
            info,
        },
    })
}

/// Takes snapshots of what is applied at that moment, off the async threads.
pub(crate) struct Builder {
    pub(crate) durability: Arc<Durability>,
    pub(crate) alive: Alive,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf> {
        let durability = Arc::clone(&self.durability);
        let alive = self.alive.clone();
        let build = move || {
            // Whoever ends this life waits for this too, and calls it off.
            let is_wanted = || !alive.is_over();
            if plants::is(plants::PURGED_TOO_EARLY) {
                return promised(&*durability.state);
            }
            durability.build(&is_wanted)
        };
        let start = Instant::now();
        let info = self.durability.work(build).await?;
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        metrics::counter!("yin_raft_snapshots_built_total").increment(1);
        tracing::info!(
            snapshot = info.id,
            bytes = info.bytes,
            elapsed_ms,
            "snapshot built"
        );
        Ok(snapshot_of(&self.durability, info)?)
    }
}

/// A snapshot that is only going to be written.
fn promised(state: &dyn StateStore) -> Result<SnapshotInfo, Fault> {
    Ok(SnapshotInfo {
        id: "promised".to_owned(),
        marker: state.read()?.marker,
        bytes: 0,
    })
}

/// Installs a snapshot that was received whole before this process began and not installed.
///
/// openraft installs it at its start as well, but would keep entries that were never committed and
/// stand where the snapshot has others: [`crate::fit`] comes in between.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn finish_interrupted(durability: &Arc<Durability>) -> io::Result<()> {
    let this = Arc::clone(durability);
    let install = move || {
        let Some(Held { info, reach }) = this.furthest()? else {
            return Ok(());
        };
        if reach <= this.applied()? {
            return this.tidy();
        }
        tracing::info!(
            snapshot = info.id,
            "installing a snapshot that came in before"
        );
        let durability = Arc::clone(&this);
        this.install(&SnapshotData { durability, info }).map(drop)
    };
    durability.work(install).await
}

/// Received bytes that are written at once: a trip to another thread for each small chunk would
/// cost more than the writing.
const WRITE_BYTES: usize = 1 << 20;

/// Writes an incoming snapshot to this disk and checks that it is whole and the one announced.
///
/// # Errors
/// In words for the sender, when the transfer broke off, the disk failed or the snapshot is not
/// the one announced.
pub(crate) async fn receive(
    durability: &Arc<Durability>,
    marker: Bytes,
    bytes: u64,
    mut chunks: mpsc::Receiver<Result<Bytes, network::Error>>,
) -> Result<SnapshotInfo, String> {
    let in_words = |error: io::Error| error.to_string();
    let state = Arc::clone(&durability.state);
    let mut sink = durability
        .work(move || state.receive_snapshot())
        .await
        .map_err(in_words)?;
    let mut gathered = Vec::new();
    let mut count = 0;
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        count += chunk.len();
        gathered.push(chunk);
        if count >= WRITE_BYTES {
            let full = std::mem::take(&mut gathered);
            sink = write(durability, sink, full).await.map_err(in_words)?;
            count = 0;
        }
    }
    sink = write(durability, sink, gathered).await.map_err(in_words)?;
    let state = Arc::clone(durability);
    let finish = move || {
        let info = sink.finish()?;
        state.tidy()?;
        Ok(info)
    };
    let info = durability.work(finish).await.map_err(in_words)?;
    if info.marker != marker || info.bytes != bytes {
        return Err("what arrived is not the snapshot that was announced".to_owned());
    }
    Ok(info)
}

async fn write(
    durability: &Durability,
    mut sink: Box<dyn SnapshotSink>,
    chunks: Vec<Bytes>,
) -> io::Result<Box<dyn SnapshotSink>> {
    let write = move || {
        for chunk in chunks {
            sink.write(&chunk)?;
        }
        Ok(sink)
    };
    durability.work(write).await
}

/// Reads the stream of `snapshot` into `chunks`; ends early when nobody takes them.
///
/// Each chunk is a short trip to another thread: one that waited there for a slow peer would hold
/// up everything else that blocks.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn send_all(
    snapshot: SnapshotData,
    chunks: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let SnapshotData { durability, info } = snapshot;
    let state = Arc::clone(&durability.state);
    let open = move || state.snapshot_chunks(&info.id);
    let mut stream = durability.work(open).await?;
    loop {
        let read = move || {
            let next = stream.next().transpose()?;
            Ok((next, stream))
        };
        let (next, rest) = durability.work(read).await?;
        let Some(chunk) = next else {
            return Ok(());
        };
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        stream = rest;
    }
}
