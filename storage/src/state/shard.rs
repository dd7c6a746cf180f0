//! One part of the cache, under one lock: entries that say since when they hold, and what commits
//! touched.
use hashbrown::HashTable;
use model::adjacency::{Adjacency, EdgeChange};

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

/// What the cache knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The value; `None`: there is none.
    Value(Option<Vec<u8>>),
    /// As [`Known::Value`], to be compared with the database.
    ToBeChecked(Option<Vec<u8>>),
    Nothing,
}

pub(super) struct Shard {
    /// Places in `slots`.
    table: HashTable<usize>,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Where the search for something to drop goes on.
    hand: usize,
    pub(super) bytes: usize,
    bytes_max: usize,
    /// The last commit that changed a key of each group.
    touched: [Version; GROUPS],
    pub(super) hits: u64,
    pub(super) misses: u64,
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
    pub(super) fn new(bytes_max: usize) -> Self {
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

    pub(super) fn get(&mut self, hash: u64, key: &[u8], version: Version) -> Known {
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

    pub(super) fn offer(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>, version: Version) {
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
    pub(super) fn begin(&mut self, hash: u64, key: &[u8], version: Version) -> bool {
        self.touched[group(hash)] = version;
        let entry = self.find(hash, key);
        entry.map(|entry| entry.since = BEING_WRITTEN).is_some()
    }

    pub(super) fn end(&mut self, hash: u64, key: &[u8], value: Option<&[u8]>, version: Version) {
        // A reader that already saw the commit may have been here; it found the same.
        if let Some(entry) = self.find(hash, key)
            && entry.since == BEING_WRITTEN
        {
            let mut new = Entry::new(hash, version, key, value);
            new.is_used = entry.is_used;
            self.put(new);
        }
    }

    /// As [`Shard::begin`], for a list.
    pub(super) fn begin_list(&mut self, hash: u64, key: &[u8], version: Version) -> bool {
        let left = self.find(hash, key);
        if left.is_some_and(|entry| entry.since == BEING_WRITTEN) {
            // By a commit that failed: nobody knows whether the list has what that one changed.
            self.put(Entry::new(hash, BEING_WRITTEN, key, None));
        }
        self.begin(hash, key, version)
    }

    /// As [`Shard::end`], for a list of which `edges` changed.
    pub(super) fn end_list(
        &mut self,
        hash: u64,
        key: &[u8],
        edges: &[EdgeChange<'_>],
        version: Version,
    ) {
        let packed = self.find(hash, key).and_then(|entry| entry.value());
        let list = packed.and_then(|packed| Adjacency::from_bytes(packed.to_vec()).changed(edges));
        let packed = list.map(Adjacency::into_bytes);
        self.end(hash, key, packed.as_deref(), version);
    }

    pub(super) fn clear(&mut self, version: Version) {
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

pub(super) fn fold(hash: u64, into: usize) -> usize {
    usize::try_from(hash % into as u64).expect("less than a small constant")
}
