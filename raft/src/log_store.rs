//! openraft's log storage over the log seam.
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{LogIdOptionExt, OptionalSend};
use storage::log::LogStore;

use crate::codec;
use crate::life::Alive;
use crate::snapshot::Durability;
use crate::types::{Entry, LogId, Types, Vote};

/// Read at once when entries are applied or scanned.
const SCAN_BYTES: usize = 1 << 20;

/// The log as openraft wants it. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    store: Arc<dyn LogStore>,
    /// None in openraft's own test suite, which purges what no state has seen.
    durability: Option<Arc<Durability>>,
    append_bytes_max: usize,
    _alive: Alive,
}

impl Log {
    pub(crate) fn new(
        store: Arc<dyn LogStore>,
        durability: Option<Arc<Durability>>,
        append_bytes_max: usize,
        alive: Alive,
    ) -> Self {
        Self {
            store,
            durability,
            append_bytes_max,
            _alive: alive,
        }
    }

    /// What is left of `range` once it is cut to what the log holds.
    fn clamp<R: RangeBounds<u64>>(&self, range: &R) -> Range<u64> {
        let held = self.store.held();
        let (Some(first), Some(last)) = (held.first, held.last) else {
            return 0..0;
        };
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start.max(first)..end.min(last.saturating_add(1))
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        decode_all(&self.store.read(range, bytes_max)?)
    }
}

fn decode_all(entries: &[(u64, Bytes)]) -> io::Result<Vec<Entry>> {
    entries
        .iter()
        .map(|(index, bytes)| {
            let entry = codec::decode_entry(bytes)?;
            if entry.index() == *index {
                return Ok(entry);
            }
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("entry {index} of the log says that it is {}", entry.index()),
            ))
        })
        .collect()
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut left = self.clamp(&range);
        let mut entries = Vec::new();
        while !left.is_empty() {
            let part = self.read(left.clone(), SCAN_BYTES)?;
            let Some(last) = part.last() else {
                break;
            };
            left.start = last.index() + 1;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let vote = self.store.held().vote;
        Ok(vote.map(|bytes| codec::decode_vote(&bytes)).transpose()?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, self.append_bytes_max)
    }

    /// Reads as the entries are taken, so that a long way to catch up is never in memory at once.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let scan = Scan {
            log: self.clone(),
            left: self.clamp(&range),
            read: Vec::new().into_iter(),
        };
        futures_util::stream::try_unfold(scan, |mut scan| async move {
            Ok(scan.next()?.map(|entry| (entry, scan)))
        })
    }
}

struct Scan {
    log: Log,
    left: Range<u64>,
    read: std::vec::IntoIter<Entry>,
}

impl Scan {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.read.next() {
            return Ok(Some(entry));
        }
        let read = self.log.read(self.left.clone(), SCAN_BYTES)?;
        if let Some(last) = read.last() {
            self.left.start = last.index() + 1;
        }
        self.read = read.into_iter();
        Ok(self.read.next())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let held = self.store.held();
        let purged = held
            .purged
            .map(|bytes| codec::decode_log_id(&bytes))
            .transpose()?;
        let last = match held.last {
            Some(last) => self
                .read(last..last + 1, 1)?
                .first()
                .map(RaftEntry::log_id)
                .or(purged),
            None => purged,
        };
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let saving = self.store.save_vote(codec::encode_vote(*vote));
        if plants::is(plants::VOTE_UNSYNCED) {
            return saving.now_or_never().unwrap_or(Ok(()));
        }
        saving.await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        match committed {
            Some(id) => self.store.save_committed(codec::encode_log_id(id)).await,
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let committed = self.store.held().committed;
        Ok(committed
            .map(|bytes| codec::decode_log_id(&bytes))
            .transpose()?)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.index(), codec::encode_entry(&entry)))
            .collect();
        if plants::is(plants::LOG_UNSYNCED) {
            let appended = self.store.append(entries, Box::new(|_unheard| {})).await;
            callback.io_completed(Ok(()));
            return appended;
        }
        // Only the store knows when the entries are on disk; nothing else completes the callback.
        let done = Box::new(move |result: io::Result<()>| {
            let is_ignored = plants::is(plants::SYNC_ERROR_IGNORED);
            callback.io_completed(if is_ignored { Ok(()) } else { result });
        });
        self.store.append(entries, done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.store.truncate_from(last.next_index()).await
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        if let Some(durability) = &self.durability
            && !plants::is(plants::PURGED_TOO_EARLY)
        {
            durability.ensure(id.index()).await?;
        }
        self.store
            .purge_to(id.index(), codec::encode_log_id(id))
            .await
    }
}
