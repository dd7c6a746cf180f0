//! The one thread that writes the log: all that waits becomes one write and one sync.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::file::{self, Head, Header};
use super::frame::{self, Batch, Kind};
use super::index::Location;
use super::recover::{Active, SegmentLasts};
use super::shared::{Op, Shared, What, Written};
use super::spare::Prepared;
use super::synced::SyncedNote;
use crate::owner::Owner;

/// The writer's own view of the log's end.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) owner: Owner,
    pub(super) file: Arc<File>,
    pub(super) active: Active,
    pub(super) note: SyncedNote,
    pub(super) lasts: SegmentLasts,
    /// What the head of the next segment will say.
    pub(super) head: Head,
    pub(super) buffer: Vec<u8>,
}

impl Writer {
    /// Writes until the log is closed or a write fails.
    pub(super) fn run(mut self) {
        let end = FailOnPanic(Arc::clone(&self.shared));
        while let Some(ops) = self.shared.next_ops() {
            match self.write(&ops) {
                Ok(written) => self.shared.complete(ops, written),
                Err(error) => {
                    self.shared.fail(&error, ops);
                    break;
                }
            }
        }
        if let Err(error) = self.note.sync() {
            tracing::warn!(%error, "the note of what was synced may be lost in a power cut");
        }
        std::mem::forget(end);
    }

    /// Writes and syncs the records of `ops`, in as many segments as it takes.
    fn write(&mut self, ops: &[Op]) -> io::Result<Written> {
        let mut written = Written::default();
        let mut batch = self.begin_batch();
        for op in ops {
            match &op.what {
                What::Append { number, entries } => {
                    for (index, entry) in entries {
                        let offset = self.push(&mut batch, Kind::Entry, *index, entry)?;
                        let location = Location {
                            segment: self.active.sequence,
                            offset,
                            payload_bytes: u32::try_from(entry.len())
                                .expect("entries are bounded when they are taken in"),
                        };
                        written.entries.push((*index, *number, location));
                        self.lasts.entry(self.active.sequence, *index);
                        self.head.next = Some(index + 1);
                    }
                }
                What::Vote(vote) => {
                    self.push(&mut batch, Kind::Vote, 0, vote)?;
                    self.head.vote = Some(vote.to_vec());
                }
                What::Committed(committed) => {
                    self.push(&mut batch, Kind::Committed, 0, committed)?;
                    self.head.committed = Some(committed.to_vec());
                }
                What::Truncate(index) => {
                    self.push(&mut batch, Kind::Truncate, *index, &[])?;
                    self.lasts.truncate_from(*index);
                    self.head.next = self.head.next.map(|next| next.min(*index));
                }
                What::Purge { index, marker } => self.purge(&mut batch, *index, marker)?,
            }
        }
        self.flush(batch)?;
        written.base = self.head.base;
        Ok(written)
    }

    fn purge(&mut self, batch: &mut Batch, index: u64, marker: &[u8]) -> io::Result<()> {
        let base_bytes = size_of::<u64>();
        // The segment is settled first, since what is still needed depends on it.
        self.make_room(batch, base_bytes + marker.len())?;
        let base = self.lasts.purge_to(index, self.active.sequence);
        let mut payload = Vec::with_capacity(base_bytes + marker.len());
        payload.extend_from_slice(&base.to_le_bytes());
        payload.extend_from_slice(marker);
        batch.push(Kind::Purge, index, &payload);
        self.head.base = base;
        self.head.purged = Some((index, marker.to_vec()));
        self.head.next = self.head.next.max(Some(index + 1));
        Ok(())
    }

    fn push(
        &mut self,
        batch: &mut Batch,
        kind: Kind,
        index: u64,
        payload: &[u8],
    ) -> io::Result<u64> {
        self.make_room(batch, payload.len())?;
        Ok(batch.push(kind, index, payload))
    }

    /// Goes on to the next segment when this one cannot take the payload.
    fn make_room(&mut self, batch: &mut Batch, payload_bytes: usize) -> io::Result<()> {
        let frame_bytes = frame::frame_bytes(payload_bytes) as u64;
        if batch.end() + frame_bytes <= self.active.capacity {
            return Ok(());
        }
        let empty = Batch::new(Vec::new(), 0, 0, 0);
        self.flush(std::mem::replace(batch, empty))?;
        self.roll(payload_bytes)?;
        *batch = self.begin_batch();
        Ok(())
    }

    fn begin_batch(&mut self) -> Batch {
        Batch::new(
            std::mem::take(&mut self.buffer),
            self.active.sequence,
            self.active.end,
            self.active.next_batch,
        )
    }

    /// The one write and the one sync.
    fn flush(&mut self, mut batch: Batch) -> io::Result<()> {
        if !batch.is_empty() {
            let begun = Instant::now();
            self.file.write_all_at(batch.seal(), self.active.end)?;
            self.sync()?;
            self.active.end = batch.end();
            self.active.next_batch += 1;
            self.note.write(self.active.position())?;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("yin_log_syncs_total").increment(1);
            metrics::histogram!("yin_log_sync_seconds").record(begun.elapsed());
            if self.active.end > self.active.capacity / 2 {
                self.shared.spare.want();
            }
        }
        self.buffer = batch.into_buffer();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if plants::is(plants::LOG_UNSYNCED) {
            return Ok(());
        }
        match self.file.sync_data() {
            Err(_) if plants::is(plants::SYNC_ERROR_IGNORED) => Ok(()),
            synced => synced,
        }
    }

    /// Begins the next segment. All that is in this one is synced.
    fn roll(&mut self, payload_bytes: usize) -> io::Result<()> {
        let sequence = self.active.sequence + 1;
        let head_batch = file::head_batch(&self.head, sequence)?;
        let bytes_min = file::bytes_needed(head_batch.len(), payload_bytes);
        let Prepared { file, path, bytes } = self.shared.spare.take(bytes_min)?;
        let header = Header {
            sequence,
            previous_end: self.active.end,
            owner: self.owner.clone(),
        };
        file::activate(&self.shared.dir, &path, &file, &header, &head_batch)?;
        self.active = Active {
            sequence,
            end: file::HEADER_BYTES as u64 + head_batch.len() as u64,
            capacity: bytes,
            next_batch: 2,
        };
        self.note.write(self.active.position())?;
        self.lasts.begin(sequence);
        self.file = Arc::new(file);
        let mut state = self.shared.lock();
        state.files.insert(sequence, Arc::clone(&self.file));
        Ok(())
    }
}

/// Without its writer a log would let its callers wait for ever.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        self.0
            .fail(&io::Error::other("the log's writer died"), Vec::new());
    }
}
