//! What the callers and the writer of a log share: the index, the queue, and the end.
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Done;
use super::file;
use super::index::{Index, Location};
use super::spare::Spare;

/// One batch takes at most so many operations …
const BATCH_OPS_MAX: usize = 4096;
/// … and, but for its last operation, so many bytes.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// One thing to write.
pub(super) struct Op {
    pub(super) what: What,
    pub(super) done: Option<Done>,
    /// Its share of what may wait; free again when it is done.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

pub(super) enum What {
    Append {
        number: u64,
        entries: Vec<(u64, Bytes)>,
    },
    Vote(Bytes),
    Committed(Bytes),
    Truncate(u64),
    Purge {
        index: u64,
        marker: Bytes,
    },
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            What::Append { entries, .. } => entries.iter().map(|(_, entry)| entry.len()).sum(),
            What::Vote(bytes) | What::Committed(bytes) => bytes.len(),
            What::Truncate(_) => 0,
            What::Purge { marker, .. } => marker.len(),
        }
    }
}

/// Why the log takes nothing any more.
#[derive(Clone, Debug)]
pub(super) struct End {
    kind: io::ErrorKind,
    why: String,
}

impl End {
    pub(super) fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.why.clone())
    }
}

pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) spare: Spare,
    pub(super) syncs: AtomicU64,
    /// Bounds what is not synced yet, in KiB.
    pub(super) room: Arc<Semaphore>,
    state: Mutex<State>,
    work: Condvar,
}

pub(super) struct State {
    pub(super) index: Index,
    pub(super) files: BTreeMap<u64, Arc<File>>,
    pub(super) appends: u64,
    pub(super) end: Option<End>,
    queue: VecDeque<Op>,
    /// Whether something waits that does not want to wait for other work.
    is_urgent: bool,
    is_closing: bool,
}

/// What the writer has put on disk.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) entries: Vec<(u64, u64, Location)>,
    /// The oldest segment that is still needed.
    pub(super) base: u64,
}

impl Shared {
    pub(super) fn new(
        dir: PathBuf,
        spare: Spare,
        room: usize,
        index: Index,
        files: BTreeMap<u64, Arc<File>>,
    ) -> Shared {
        Shared {
            dir,
            spare,
            syncs: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(room)),
            state: Mutex::new(State {
                index,
                files,
                appends: 0,
                end: None,
                queue: VecDeque::new(),
                is_urgent: false,
                is_closing: false,
            }),
            work: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index and queues the matching record, as one step.
    pub(super) fn enqueue(
        &self,
        prepare: impl FnOnce(&mut State) -> io::Result<Option<Op>>,
    ) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err(end.error());
        }
        let Some(op) = prepare(&mut state)? else {
            return Ok(());
        };
        if matches!(op.what, What::Committed(_)) {
            let last = state.queue.back_mut();
            match last.filter(|last| matches!(last.what, What::Committed(_))) {
                Some(last) => *last = op,
                None => state.queue.push_back(op),
            }
            return Ok(());
        }
        state.queue.push_back(op);
        let was_urgent = std::mem::replace(&mut state.is_urgent, true);
        drop(state);
        if !was_urgent {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes what is there, up to a batch; `None` at the end.
    pub(super) fn next_ops(&self) -> Option<Vec<Op>> {
        let mut state = self.lock();
        while !state.is_urgent && !state.is_closing {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut ops = Vec::with_capacity(state.queue.len().min(BATCH_OPS_MAX));
        let mut bytes = 0;
        while ops.len() < BATCH_OPS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(op) = state.queue.pop_front() else {
                break;
            };
            bytes += op.what.bytes();
            ops.push(op);
        }
        if state.queue.is_empty() {
            state.is_urgent = false;
        }
        (!ops.is_empty() || !state.is_closing).then_some(ops)
    }

    /// Notes what is on disk, lets go of segments, answers the callers in their order.
    pub(super) fn complete(&self, ops: Vec<Op>, written: Written) {
        let released = {
            let mut state = self.lock();
            for (index, append, location) in written.entries {
                state.index.written(index, append, location);
            }
            state.index.shrink_cache();
            let needed = state.files.split_off(&written.base);
            std::mem::replace(&mut state.files, needed)
        };
        for (sequence, file) in released {
            // A reader that still holds the file goes on reading what it was; then it is not reused.
            let path = file::segment_path(&self.dir, sequence);
            if let Err(error) = self.spare.recycle(&path, Arc::into_inner(file)) {
                tracing::warn!(%error, segment = sequence, "a purged log segment stays for now");
            }
        }
        for op in ops {
            drop(op.room);
            if let Some(done) = op.done {
                done(Ok(()));
            }
        }
    }

    /// Ends the log for good: what waits fails, what comes fails.
    pub(super) fn fail(&self, error: &io::Error, ops: Vec<Op>) {
        tracing::error!(%error, "the log cannot be written and takes nothing any more");
        let end = End {
            kind: error.kind(),
            why: format!("the log cannot be written: {error}"),
        };
        self.finish(end, ops);
    }

    /// Lets the writer finish what waits; what comes later fails.
    ///
    /// # Errors
    /// When a write failed before.
    pub(super) fn begin_close(&self) -> io::Result<()> {
        let mut state = self.lock();
        let failed = state.end.clone().filter(|_| !state.is_closing);
        state.is_closing = true;
        state.end.get_or_insert_with(|| End {
            kind: io::ErrorKind::BrokenPipe,
            why: "the log is closed".to_owned(),
        });
        drop(state);
        self.room.close();
        self.work.notify_one();
        failed.map_or(Ok(()), |end| Err(end.error()))
    }

    pub(super) fn end_error(&self) -> io::Error {
        let state = self.lock();
        state.end.as_ref().map_or_else(
            || io::Error::other("the log takes nothing any more"),
            End::error,
        )
    }

    fn finish(&self, end: End, mut ops: Vec<Op>) {
        let waiting = {
            let mut state = self.lock();
            state.end = Some(end.clone());
            std::mem::take(&mut state.queue)
        };
        self.room.close();
        ops.extend(waiting);
        for op in ops {
            if let Some(done) = op.done {
                done(Err(end.error()));
            }
        }
    }
}
