//! What the log holds, in memory: where each entry lies, and the newest entries themselves.
use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::Held;

/// Where an entry's frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) payload_bytes: u32,
}

/// An entry's place: not written yet (by which append call it came), or on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Waiting(u64),
    Written(Location),
}

/// What a read finds for one index.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Cached(Bytes),
    OnDisk(Location),
}

/// Entries and markers. The same rules serve calls and recovery.
#[derive(Debug)]
pub(super) struct Index {
    /// Index of `slots[0]`.
    first: u64,
    slots: VecDeque<Slot>,
    /// The index that the next entry must have; free before the first entry.
    next: Option<u64>,
    /// The newest entries, the last one at the back.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
}

impl Index {
    pub(super) fn new(cache_bytes_max: usize, next: Option<u64>) -> Index {
        Index {
            first: 0,
            slots: VecDeque::new(),
            next,
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max,
            purged: None,
            vote: None,
            committed: None,
        }
    }

    pub(super) fn cache_bytes_max(&self) -> usize {
        self.cache_bytes_max
    }

    pub(super) fn held(&self) -> Held {
        let range = self.range();
        Held {
            first: (!range.is_empty()).then_some(range.start),
            last: range.end.checked_sub(1).filter(|_| !range.is_empty()),
            purged: self.purged.as_ref().map(|(_, marker)| marker.clone()),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
        }
    }

    /// The indexes that are present.
    pub(super) fn range(&self) -> Range<u64> {
        self.first..self.first + self.slots.len() as u64
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Fails unless an entry with this index may come next.
    pub(super) fn check_next(&self, index: u64) -> io::Result<()> {
        match self.next {
            Some(next) if next != index => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("entry {index} does not follow: the log goes on at {next}"),
            )),
            _ => Ok(()),
        }
    }

    /// Notes the next entry; keeps it in memory when `entry` is given.
    pub(super) fn append(&mut self, index: u64, slot: Slot, entry: Option<Bytes>) {
        if self.slots.is_empty() {
            self.first = index;
        }
        self.slots.push_back(slot);
        self.next = Some(index + 1);
        if let Some(entry) = entry {
            self.cache_bytes += entry.len();
            self.cache.push_back(entry);
        }
    }

    /// An entry is on disk, unless it was truncated or purged meanwhile.
    pub(super) fn written(&mut self, index: u64, append: u64, location: Location) {
        let Some(at) = index.checked_sub(self.first) else {
            return;
        };
        let slot = usize::try_from(at)
            .ok()
            .and_then(|at| self.slots.get_mut(at));
        if let Some(slot) = slot.filter(|slot| **slot == Slot::Waiting(append)) {
            *slot = Slot::Written(location);
        }
    }

    /// Lets go of the oldest entries in memory that can be read from disk.
    pub(super) fn shrink_cache(&mut self) {
        while self.cache_bytes > self.cache_bytes_max {
            let oldest = self.slots.len() - self.cache.len();
            if !matches!(self.slots.get(oldest), Some(Slot::Written(_))) {
                return;
            }
            self.drop_oldest_cached();
        }
    }

    /// Removes the entries from `index` on.
    pub(super) fn truncate_from(&mut self, index: u64) {
        let keep = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.slots.len() > keep {
            self.slots.pop_back();
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry.len();
            }
        }
        if self.next.is_some_and(|next| index < next) {
            self.next = Some(index);
        }
    }

    /// Removes the entries up to and including `index`; `false` when that was done before.
    pub(super) fn purge_to(&mut self, index: u64, marker: Bytes) -> bool {
        if self.purged.as_ref().is_some_and(|(done, _)| index <= *done) {
            return false;
        }
        while !self.slots.is_empty() && self.first <= index {
            if self.cache.len() == self.slots.len() {
                self.drop_oldest_cached();
            }
            self.slots.pop_front();
            self.first += 1;
        }
        if self.next.is_none_or(|next| next <= index) {
            self.next = Some(index + 1);
        }
        self.purged = Some((index, marker));
        true
    }

    /// What is present of `range` from its beginning on, up to `bytes_max` but at least one entry.
    pub(super) fn find(&self, range: Range<u64>, bytes_max: usize) -> Vec<Found> {
        let present = self.range();
        if !present.contains(&range.start) {
            return Vec::new();
        }
        let skip = usize::try_from(range.start - self.first).unwrap_or(usize::MAX);
        let count = usize::try_from(range.end.min(present.end).saturating_sub(range.start))
            .unwrap_or(usize::MAX);
        let uncached = self.slots.len() - self.cache.len();
        let mut found = Vec::new();
        let mut bytes = 0;
        for (at, slot) in self.slots.iter().enumerate().skip(skip).take(count) {
            let cached = at.checked_sub(uncached).map(|at| &self.cache[at]);
            let entry = match (cached, slot) {
                (Some(entry), _) => Found::Cached(entry.clone()),
                (None, Slot::Written(location)) => Found::OnDisk(*location),
                (None, Slot::Waiting(_)) => unreachable!("what is not written yet is cached"),
            };
            bytes += match &entry {
                Found::Cached(entry) => entry.len(),
                Found::OnDisk(location) => location.payload_bytes as usize,
            };
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        found
    }

    fn drop_oldest_cached(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry.len();
        }
    }
}
