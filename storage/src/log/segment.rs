//! The log on disk: preallocated, recycled segments and one writer.
//!
//! Calls change the index in memory and queue a record, as one step; the writer makes batches of
//! the queue. So the order on disk is the order of the calls.
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::file::{self, HEADER_BYTES, Head, Header};
use super::frame::{self, PAYLOAD_BYTES_MAX};
use super::index::{Found, Index, Location, Slot};
use super::lock::Lock;
use super::recover::{self, Active, Recovered, SegmentLasts};
use super::shared::{Op, Shared, What};
use super::spare::Spare;
use super::synced::SyncedNote;
use super::writer::Writer;
use super::{Done, Held, LogStore, OpenError};
use crate::owner::Owner;

/// The first segment is small, so that an empty directory is ready at once.
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
const ROOM_UNIT_BYTES: usize = 1024;

/// How a log is laid out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of a segment file; at least 8 KiB. Larger entries get a larger one.
    pub segment_bytes: u64,
    /// How much of the newest entries is kept in memory.
    pub cache_bytes: usize,
    /// How much may wait for its sync before `append` waits.
    pub unsynced_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            cache_bytes: 8 << 20,
            unsynced_bytes_max: 16 << 20,
        }
    }
}

/// One node's log on disk. Clones share it; the last one that goes closes it.
#[derive(Clone)]
pub struct SegmentLog {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    room: u32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SegmentLog {
    /// Makes an empty log. What an interrupted earlier call left behind is replaced.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a log in `dir`, damage when there was one; else when the disk
    /// fails.
    pub fn create(dir: &Path, owner: &Owner, options: Options) -> Result<SegmentLog, OpenError> {
        fs::create_dir_all(dir)?;
        let lock = Lock::take(dir)?;
        if !file::list_segments(dir)?.is_empty() {
            let what = format!("there is a log in {}", dir.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what).into());
        }
        if let Some(synced) = SyncedNote::read(dir)?
            && synced.segment > 0
        {
            return Err(OpenError::Damaged {
                what: format!("there was one up to segment {}", synced.segment),
            });
        }
        let note = SyncedNote::create(dir)?;
        let (file, active) = first_segment(dir, owner, &options)?;
        if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
            file::sync_dir(parent)?;
        }
        let mut lasts = SegmentLasts::default();
        lasts.begin(active.sequence);
        let recovered = Recovered {
            index: Index::new(options.cache_bytes, None),
            files: [(active.sequence, Arc::new(file))].into(),
            active,
            lasts,
            base: active.sequence,
        };
        start(dir, owner, &options, recovered, note, lock)
    }

    /// Opens a log, after judging whether it is whole.
    ///
    /// # Errors
    /// [`OpenError`] says what to do. A torn tail that was never acknowledged is no error.
    pub fn open(dir: &Path, owner: &Owner, options: Options) -> Result<SegmentLog, OpenError> {
        let missing = || OpenError::Missing {
            dir: dir.display().to_string(),
        };
        if !dir.is_dir() || file::list_segments(dir)?.is_empty() && !SyncedNote::is_in(dir) {
            return Err(missing());
        }
        let lock = Lock::take(dir)?;
        if !SyncedNote::is_in(dir) {
            return Err(OpenError::Damaged {
                what: "the note of what was synced is gone".to_owned(),
            });
        }
        let (note, synced) = SyncedNote::open(dir)?;
        let recovered = recover::recover(dir, owner, synced, &options)?;
        start(dir, owner, &options, recovered, note, lock)
    }

    /// Writes what waits, syncs it and ends the writer. Calls on other clones fail from now on.
    ///
    /// # Errors
    /// When the log ended before by a failed write.
    pub fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    /// How many syncs this log has made since it was opened.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner.shared.syncs.load(Ordering::Relaxed)
    }

    /// The files that hold it, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<PathBuf> {
        let state = self.inner.shared.lock();
        let dir = &self.inner.shared.dir;
        let sequences = state.files.keys();
        sequences
            .map(|sequence| file::segment_path(dir, *sequence))
            .collect()
    }

    async fn room(&self, bytes: usize) -> io::Result<tokio::sync::OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.inner.room);
        let room = Arc::clone(&self.inner.shared.room);
        room.acquire_many_owned(units)
            .await
            .map_err(|_| self.inner.shared.end_error())
    }

    async fn append_now(
        &self,
        entries: Vec<(u64, Bytes)>,
        done: &mut Option<Done>,
    ) -> io::Result<()> {
        check_payloads(entries.iter().map(|(_, entry)| entry))?;
        let bytes = entries.iter().map(|(_, entry)| entry.len()).sum();
        let room = self.room(bytes).await?;
        self.inner.shared.enqueue(|state| {
            check_follow(&state.index, &entries)?;
            state.appends += 1;
            let number = state.appends;
            for (index, entry) in &entries {
                let slot = Slot::Waiting(number);
                state.index.append(*index, slot, Some(entry.clone()));
            }
            Ok(Some(Op {
                what: What::Append { number, entries },
                done: done.take(),
                room: Some(room),
            }))
        })
    }
}

#[async_trait]
impl LogStore for SegmentLog {
    fn held(&self) -> Held {
        self.inner.shared.lock().index.held()
    }

    async fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) -> io::Result<()> {
        let mut done = Some(done);
        let result = self.append_now(entries, &mut done).await;
        if let (Err(error), Some(done)) = (&result, done) {
            done(Err(io::Error::new(error.kind(), error.to_string())));
        }
        result
    }

    async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        check_payloads([&vote])?;
        let room = self.room(vote.len()).await?;
        let (sender, synced) = oneshot::channel();
        self.inner.shared.enqueue(|state| {
            state.index.vote = Some(vote.clone());
            let done: Done = Box::new(|result| {
                // Nobody waits any more when the caller was dropped; the vote counts all the same.
                let _unheard = sender.send(result);
            });
            Ok(Some(Op {
                what: What::Vote(vote),
                done: Some(done),
                room: Some(room),
            }))
        })?;
        synced
            .await
            .unwrap_or_else(|_| Err(self.inner.shared.end_error()))
    }

    async fn save_committed(&self, committed: Bytes) -> io::Result<()> {
        check_payloads([&committed])?;
        self.inner.shared.enqueue(|state| {
            state.index.committed = Some(committed.clone());
            Ok(Some(Op {
                what: What::Committed(committed),
                done: None,
                room: None,
            }))
        })
    }

    async fn truncate_from(&self, index: u64) -> io::Result<()> {
        let room = self.room(0).await?;
        self.inner.shared.enqueue(|state| {
            let purged = state.index.purged.as_ref().map(|(purged, _)| *purged);
            if purged.is_some_and(|purged| index <= purged) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("entry {index} is purged and cannot be truncated"),
                ));
            }
            if state.index.next().is_none_or(|next| index >= next) {
                return Ok(None);
            }
            state.index.truncate_from(index);
            Ok(Some(Op {
                what: What::Truncate(index),
                done: None,
                room: Some(room),
            }))
        })
    }

    async fn purge_to(&self, index: u64, marker: Bytes) -> io::Result<()> {
        check_payloads([&marker])?;
        let room = self.room(marker.len()).await?;
        self.inner.shared.enqueue(|state| {
            let is_new = state.index.purge_to(index, marker.clone());
            Ok(is_new.then_some(Op {
                what: What::Purge { index, marker },
                done: None,
                room: Some(room),
            }))
        })
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let (found, files) = {
            let state = self.inner.shared.lock();
            let found = state.index.find(range.clone(), bytes_max);
            // Holding its file keeps a segment from being used again while it is read.
            let mut files = Vec::new();
            for entry in &found {
                let Found::OnDisk(location) = entry else {
                    break;
                };
                if files
                    .last()
                    .is_none_or(|(last, _)| *last != location.segment)
                {
                    let file = Arc::clone(&state.files[&location.segment]);
                    files.push((location.segment, file));
                }
            }
            (found, files)
        };
        let mut entries = Vec::with_capacity(found.len());
        let on_disk: Vec<Location> = found
            .iter()
            .map_while(|entry| match entry {
                Found::OnDisk(location) => Some(*location),
                Found::Cached(_) => None,
            })
            .collect();
        let segments = on_disk.chunk_by(|one, other| one.segment == other.segment);
        for (locations, (_, file)) in segments.zip(&files) {
            read_run(file, locations, range.start, &mut entries)?;
        }
        for entry in found {
            if let Found::Cached(entry) = entry {
                entries.push((range.start + entries.len() as u64, entry));
            }
        }
        Ok(entries)
    }
}

/// Reads entries of one segment that follow each other, in one go.
fn read_run(
    file: &File,
    locations: &[Location],
    first: u64,
    entries: &mut Vec<(u64, Bytes)>,
) -> io::Result<()> {
    let (Some(start), Some(end)) = (locations.first(), locations.last()) else {
        return Ok(());
    };
    let end = end.offset + frame::frame_bytes(end.payload_bytes as usize) as u64;
    let bytes = usize::try_from(end - start.offset).map_err(io::Error::other)?;
    let mut buffer = vec![0; bytes];
    file.read_exact_at(&mut buffer, start.offset)?;
    for location in locations {
        let at = usize::try_from(location.offset - start.offset).map_err(io::Error::other)?;
        let index = first + entries.len() as u64;
        entries.push((index, recover::entry_of(&buffer[at..], location, index)?));
    }
    Ok(())
}

/// Fails unless the entries follow the log's last one, and each other.
fn check_follow(index: &Index, entries: &[(u64, Bytes)]) -> io::Result<()> {
    let Some((first, _)) = entries.first() else {
        return Ok(());
    };
    index.check_next(*first)?;
    match (*first..)
        .zip(entries)
        .find(|(next, (index, _))| next != index)
    {
        None => Ok(()),
        Some((_, (index, _))) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("entry {index} does not follow the one before it"),
        )),
    }
}

fn check_payloads<'a>(payloads: impl IntoIterator<Item = &'a Bytes>) -> io::Result<()> {
    let largest = payloads.into_iter().map(Bytes::len).max().unwrap_or(0);
    if largest + size_of::<u64>() <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{largest} bytes are too many for one record of the log"),
    ))
}

fn first_segment(dir: &Path, owner: &Owner, options: &Options) -> io::Result<(File, Active)> {
    let head = Head {
        base: 1,
        ..Head::default()
    };
    let head_batch = file::head_batch(&head, 1)?;
    let header = Header {
        sequence: 1,
        previous_end: 0,
        owner: owner.clone(),
    };
    let capacity = options
        .segment_bytes
        .min(FIRST_SEGMENT_BYTES)
        .max(file::bytes_needed(head_batch.len(), 0));
    let path = dir.join(file::ROLLING);
    let file = file::prepare(&path, capacity)?;
    file::activate(dir, &path, &file, &header, &head_batch)?;
    let active = Active {
        sequence: 1,
        end: (HEADER_BYTES + head_batch.len()) as u64,
        capacity,
        next_batch: 2,
    };
    Ok((file, active))
}

fn start(
    dir: &Path,
    owner: &Owner,
    options: &Options,
    recovered: Recovered,
    mut note: SyncedNote,
    lock: Lock,
) -> Result<SegmentLog, OpenError> {
    let Recovered {
        index,
        files,
        active,
        lasts,
        base,
    } = recovered;
    note.write(active.position())?;
    let head = Head {
        base,
        next: index.next(),
        purged: index.purged.clone().map(|(at, marker)| (at, marker.into())),
        vote: index.vote.clone().map(Into::into),
        committed: index.committed.clone().map(Into::into),
    };
    let file = Arc::clone(&files[&active.sequence]);
    let room = options.unsynced_bytes_max / ROOM_UNIT_BYTES;
    let room = u32::try_from(room)
        .unwrap_or(u32::MAX / 8)
        .clamp(1, u32::MAX / 8);
    let spare = Spare::new(dir.to_owned(), options.segment_bytes);
    let shared = Arc::new(Shared::new(
        dir.to_owned(),
        spare,
        room as usize,
        index,
        files,
    ));
    let writer = Writer {
        shared: Arc::clone(&shared),
        owner: owner.clone(),
        file,
        active,
        note,
        lasts,
        head,
        buffer: Vec::new(),
    };
    let preparer = Arc::clone(&shared);
    let inner = Inner {
        shared,
        room,
        threads: Mutex::new(Vec::new()),
    };
    // The directory is in use as long as a thread may write in it.
    let lock = Arc::new(lock);
    let held = Arc::clone(&lock);
    inner.spawn("log-writer", move || {
        writer.run();
        drop(held);
    })?;
    inner.spawn("log-spare", move || {
        preparer.spare.run();
        drop(lock);
    })?;
    Ok(SegmentLog {
        inner: Arc::new(inner),
    })
}

impl Inner {
    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)?;
        self.threads().push(thread);
        Ok(())
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> io::Result<()> {
        let failed = self.shared.begin_close();
        let threads = std::mem::take(&mut *self.threads());
        let this = std::thread::current().id();
        // The writer goes first: it may wait for the preparing thread.
        for thread in threads {
            // A callback may hold the last clone; then the writer ends by itself.
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
            self.shared.spare.stop();
        }
        failed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::debug!(%error, "the log had ended before it was closed");
        }
    }
}
