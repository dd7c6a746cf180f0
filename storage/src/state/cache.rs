//! Values that were read lately, and keys that were found absent: exact for the view that asks.
//!
//! Every commit has a version, and so has every view. An entry holds from the version `since` on, up
//! to now: a commit takes the entries of its keys out before it is written and puts what it wrote in
//! their place afterwards. So a view at `since` or later that finds an entry finds what the database
//! would have given it, and an older view does not find it.
//!
//! A reader may put in what it read unless a commit changed that key meanwhile. That is noted per
//! group of keys, not per key, so a group now and then refuses what it could have taken; it never
//! takes what it should have refused.
use std::hash::BuildHasher as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};
use model::overlay::Changes;

use super::rocks::lock;

/// Enough that readers on many processors seldom meet.
const SHARDS: usize = 64;
/// Commits are noted per group: so many in each shard.
const GROUPS: usize = 256;
/// What an entry costs beside its bytes: its slot, its place in the table, the allocation.
const ENTRY_BYTES: usize = 96;
/// Of what a shard may hold, one value gets this part at most.
const SHARE_OF_VALUE: usize = 8;
/// In builds with debug assertions every so many hits are checked against the database.
const CHECK_EVERY: u64 = 256;
/// `since` of an entry whose new value is being written: later than every view.
const BEING_WRITTEN: u64 = u64::MAX;

/// Counted from one on; it never goes back, whatever snapshot is installed.
pub(super) type Version = u64;

/// A bounded cache in front of the database. Knows nothing of what keys mean.
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: DefaultHashBuilder,
    bytes: AtomicUsize,
}

/// What the cache knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The value; `None`: there is none.
    Value(Option<Vec<u8>>),
    /// As [`Known::Value`], to be compared with the database.
    ToBeChecked(Option<Vec<u8>>),
    Nothing,
}

/// What the cache did since it began, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) bytes: usize,
}

/// Entries whose new value is being written: given back to [`Cache::end_commit`].
#[must_use]
pub(super) struct Begun<'a> {
    version: Version,
    entries: Vec<Change<'a>>,
}

struct Change<'a> {
    hash: u64,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl Cache {
    /// Holds about `bytes_max` bytes; nothing at all when that is zero.
    pub(super) fn new(bytes_max: usize) -> Self {
        let shard = || Mutex::new(Shard::new(bytes_max / SHARDS));
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: DefaultHashBuilder::default(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// What a view at `version` would read under `key`, if that is known.
    pub(super) fn get(&self, key: &[u8], version: Version) -> Known {
        let hash = self.hasher.hash_one(key);
        self.with(hash, |shard| shard.get(hash, key, version))
    }

    /// Puts in what a view at `version` read.
    pub(super) fn offer(&self, key: &[u8], value: Option<&[u8]>, version: Version) {
        let hash = self.hasher.hash_one(key);
        self.with(hash, |shard| shard.offer(hash, key, value, version));
    }

    /// Before `changes` are written as the commit `version`. Commits are one after the other.
    ///
    /// If the write fails, what is dropped stays dropped and nobody may put it in again.
    pub(super) fn begin_commit<'a>(&self, changes: &'a Changes, version: Version) -> Begun<'a> {
        let mut entries = Vec::new();
        for (key, value) in changes {
            let hash = self.hasher.hash_one(key.as_slice());
            if self.with(hash, |shard| shard.begin(hash, key, version)) {
                entries.push(Change {
                    hash,
                    key,
                    value: value.as_deref(),
                });
            }
        }
        Begun { version, entries }
    }

    /// After they were written.
    pub(super) fn end_commit(&self, begun: Begun<'_>) {
        let version = begun.version;
        for Change { hash, key, value } in begun.entries {
            self.with(hash, |shard| shard.end(hash, key, value, version));
        }
    }

    /// Forgets everything. From now on only views at `version` or later find or put in anything.
    pub(super) fn clear(&self, version: Version) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.bytes;
            shard.clear(version);
            self.bytes.fetch_sub(before, Ordering::Relaxed);
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = Figures {
            bytes: self.bytes.load(Ordering::Relaxed),
            ..Figures::default()
        };
        for shard in &self.shards {
            let shard = lock(shard);
            figures.hits += shard.hits;
            figures.misses += shard.misses;
        }
        figures
    }

    /// Counts what `work` adds or takes away.
    fn with<T>(&self, hash: u64, work: impl FnOnce(&mut Shard) -> T) -> T {
        // The table below takes its place from the low bits and its tag from the highest.
        let mut shard = lock(&self.shards[fold(hash >> 24, SHARDS)]);
        let before = shard.bytes;
        let result = work(&mut shard);
        let after = shard.bytes;
        drop(shard);
        if after > before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else if after < before {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}

fn fold(hash: u64, into: usize) -> usize {
    usize::try_from(hash % into as u64).expect("less than a small constant")
}

struct Shard {
    /// Places in `slots`.
    table: HashTable<usize>,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Where the search for something to drop goes on.
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    /// The last commit that changed a key of each group.
    touched: [Version; GROUPS],
    hits: u64,
    misses: u64,
}

struct Entry {
    hash: u64,
    since: Version,
    /// The key, then the value.
    pair: Box<[u8]>,
    key_bytes: usize,
    is_there: bool,
    /// Since the hand last came by.
    is_used: bool,
}

impl Entry {
    fn new(hash: u64, since: Version, key: &[u8], value: Option<&[u8]>) -> Self {
        let stored = value.unwrap_or_default();
        let mut pair = Vec::with_capacity(key.len() + stored.len());
        pair.extend_from_slice(key);
        pair.extend_from_slice(stored);
        Self {
            hash,
            since,
            pair: pair.into_boxed_slice(),
            key_bytes: key.len(),
            is_there: value.is_some(),
            is_used: false,
        }
    }

    fn key(&self) -> &[u8] {
        &self.pair[..self.key_bytes]
    }

    fn value(&self) -> Option<&[u8]> {
        self.is_there.then(|| &self.pair[self.key_bytes..])
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.pair.len()
    }
}

impl Shard {
    fn new(bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            bytes_max,
            touched: [0; GROUPS],
            hits: 0,
            misses: 0,
        }
    }

    fn get(&mut self, hash: u64, key: &[u8], version: Version) -> Known {
        let Some(entry) = self.find(hash, key).filter(|entry| entry.since <= version) else {
            self.misses += 1;
            return Known::Nothing;
        };
        entry.is_used = true;
        let value = entry.value().map(<[u8]>::to_vec);
        self.hits += 1;
        if cfg!(debug_assertions) && self.hits.is_multiple_of(CHECK_EVERY) {
            Known::ToBeChecked(value)
        } else {
            Known::Value(value)
        }
    }

    fn offer(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>, version: Version) {
        // No commit after this one changed the key, so the value holds since then.
        let since = self.touched[group(hash)];
        if since <= version {
            match self.find(hash, key) {
                Some(entry) if entry.since <= version => entry.is_used = true,
                _ => self.put(Entry::new(hash, since, key, value)),
            }
        }
    }

    /// Is there an entry of this key?
    fn begin(&mut self, hash: u64, key: &[u8], version: Version) -> bool {
        self.touched[group(hash)] = version;
        let entry = self.find(hash, key);
        entry.map(|entry| entry.since = BEING_WRITTEN).is_some()
    }

    fn end(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>, version: Version) {
        // A reader that already saw the commit may have been here; it found the same.
        if let Some(entry) = self.find(hash, key)
            && entry.since == BEING_WRITTEN
        {
            let mut new = Entry::new(hash, version, key, value);
            new.is_used = entry.is_used;
            self.put(new);
        }
    }

    fn clear(&mut self, version: Version) {
        self.table.clear();
        self.slots.clear();
        self.free.clear();
        self.hand = 0;
        self.bytes = 0;
        self.touched = [version; GROUPS];
    }

    fn find(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        let slots = &mut self.slots;
        let is_it = |place: &usize| {
            let entry = slots[*place].as_ref();
            entry.is_some_and(|entry| entry.hash == hash && entry.key() == key)
        };
        let place = *self.table.find(hash, is_it)?;
        self.slots[place].as_mut()
    }

    /// In the place of what is there under this key.
    fn put(&mut self, entry: Entry) {
        if let Some(old) = self.find(entry.hash, entry.key()) {
            let (before, after) = (old.bytes(), entry.bytes());
            *old = entry;
            self.bytes = self.bytes - before + after;
        } else {
            if entry.bytes() > self.bytes_max / SHARE_OF_VALUE {
                return;
            }
            let (hash, bytes) = (entry.hash, entry.bytes());
            let place = match self.free.pop() {
                Some(place) => {
                    self.slots[place] = Some(entry);
                    place
                }
                None => {
                    self.slots.push(Some(entry));
                    self.slots.len() - 1
                }
            };
            self.bytes += bytes;
            let slots = &self.slots;
            self.table.insert_unique(hash, place, |place| {
                slots[*place].as_ref().map_or(0, |entry| entry.hash)
            });
        }
        self.make_room();
    }

    /// Drops what was not used since the hand came by last, until the rest fits.
    fn make_room(&mut self) {
        // Each entry is passed at most twice: once to be spared and once to go.
        for _ in 0..2 * self.slots.len() {
            if self.bytes <= self.bytes_max {
                return;
            }
            let place = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[place] {
                Some(entry) if entry.is_used => entry.is_used = false,
                Some(_) => self.drop_entry(place),
                None => {}
            }
        }
    }

    fn drop_entry(&mut self, place: usize) {
        let Some(entry) = self.slots[place].take() else {
            return;
        };
        self.bytes -= entry.bytes();
        if let Ok(found) = self.table.find_entry(entry.hash, |other| *other == place) {
            found.remove();
        }
        self.free.push(place);
    }
}

fn group(hash: u64) -> usize {
    fold(hash >> 32, GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&[u8], Option<&[u8]>)]) -> Changes {
        pairs
            .iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect()
    }

    fn known(cache: &Cache, key: &[u8], version: Version) -> Option<Option<Vec<u8>>> {
        match cache.get(key, version) {
            Known::Value(value) | Known::ToBeChecked(value) => Some(value),
            Known::Nothing => None,
        }
    }

    #[test]
    fn what_was_read_is_known_to_later_views_and_what_was_committed_to_none_before() {
        let cache = Cache::new(1 << 20);
        cache.offer(b"a", Some(b"old"), 5);
        cache.offer(b"b", None, 5);
        assert_eq!(known(&cache, b"a", 9), Some(Some(b"old".to_vec())));
        assert_eq!(known(&cache, b"b", 9), Some(None));

        let new = changes(&[(b"a", Some(b"new"))]);
        let begun = cache.begin_commit(&new, 10);
        assert_eq!(known(&cache, b"a", 9), None);
        assert_eq!(known(&cache, b"a", 10), None);
        cache.end_commit(begun);
        assert_eq!(known(&cache, b"a", 9), None);
        assert_eq!(known(&cache, b"a", 10), Some(Some(b"new".to_vec())));
    }

    #[test]
    fn a_reader_that_a_commit_overtook_puts_nothing_in() {
        let cache = Cache::new(1 << 20);
        let new = changes(&[(b"a", None)]);
        let begun = cache.begin_commit(&new, 10);
        cache.offer(b"a", Some(b"old"), 9);
        assert_eq!(known(&cache, b"a", 10), None);
        // This one read what is being written.
        cache.offer(b"a", None, 10);
        assert_eq!(known(&cache, b"a", 10), Some(None));
        cache.end_commit(begun);
        assert_eq!(known(&cache, b"a", 11), Some(None));
    }

    #[test]
    fn after_a_snapshot_views_of_before_find_and_put_in_nothing() {
        let cache = Cache::new(1 << 20);
        cache.offer(b"a", Some(b"old"), 5);
        cache.clear(20);
        cache.offer(b"a", Some(b"old"), 19);
        assert_eq!(known(&cache, b"a", 20), None);
        cache.offer(b"a", Some(b"new"), 20);
        assert_eq!(known(&cache, b"a", 19), None);
        assert_eq!(known(&cache, b"a", 21), Some(Some(b"new".to_vec())));
    }

    #[test]
    fn the_bound_is_kept_and_what_is_used_stays() {
        let bytes_max = 1 << 20;
        let cache = Cache::new(bytes_max);
        let value = [7; 200];
        for number in 0..50_000_u32 {
            cache.offer(&number.to_be_bytes(), Some(&value), 1);
            assert_eq!(
                known(&cache, &0_u32.to_be_bytes(), 1),
                Some(Some(value.to_vec()))
            );
        }
        let figures = cache.figures();
        let counted: usize = cache.shards.iter().map(|shard| lock(shard).bytes).sum();
        assert_eq!(figures.bytes, counted);
        assert!((bytes_max / 2..=bytes_max).contains(&counted), "{counted}");
        assert_eq!((figures.hits, figures.misses), (50_000, 0));
        cache.clear(2);
        assert_eq!(cache.figures().bytes, 0);
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_none_means_none() {
        let cache = Cache::new(1 << 20);
        cache.offer(b"a", Some(&[0; 1 << 20]), 1);
        assert_eq!(known(&cache, b"a", 1), None);
        let none = Cache::new(0);
        none.offer(b"a", None, 1);
        assert_eq!((known(&none, b"a", 1), none.figures().bytes), (None, 0));
    }
}
