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
//!
//! Beside single values there are adjacency lists ([`model::adjacency`]), as exact as they are: a
//! commit that changes edges of a list puts the changed list in its place. That a list is too long
//! is no more than a hint and stays until the entry goes.
use std::hash::BuildHasher as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::DefaultHashBuilder;
use model::adjacency::{self, EdgeChange, PREFIX_BYTES};
use model::overlay::Changes;

use super::rocks::lock;
use super::shard::{Known, Shard, Version, fold};

/// Enough that readers on many processors seldom meet.
const SHARDS: usize = 64;
/// Before the prefix of a list: no key of the model begins so.
const LIST: u8 = 0xff;

/// What a list is kept under.
pub(super) type ListKey = [u8; 1 + PREFIX_BYTES];

/// What the list of all keys with `prefix` is kept under, if such lists are kept.
pub(super) fn list_key(prefix: &[u8]) -> Option<ListKey> {
    let (prefix, rest) = adjacency::list_of(prefix)?;
    rest.is_empty().then(|| key_of(prefix))
}

fn key_of(prefix: &[u8; PREFIX_BYTES]) -> ListKey {
    let mut key = [LIST; 1 + PREFIX_BYTES];
    key[1..].copy_from_slice(prefix);
    key
}

/// A bounded cache in front of the database. Of what keys mean it knows which belong to a list.
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: DefaultHashBuilder,
    bytes: AtomicUsize,
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
    lists: Vec<ListChange<'a>>,
}

struct ListChange<'a> {
    hash: u64,
    key: ListKey,
    edges: Vec<EdgeChange<'a>>,
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
        let mut lists = Vec::new();
        for (key, value) in changes {
            if let Some((prefix, rest)) = adjacency::list_of(key) {
                let edge = (rest, value.as_deref());
                self.begin_list(&mut lists, key_of(prefix), edge, version);
            }
            let hash = self.hasher.hash_one(key.as_slice());
            if self.with(hash, |shard| shard.begin(hash, key, version)) {
                entries.push(Change {
                    hash,
                    key,
                    value: value.as_deref(),
                });
            }
        }
        Begun {
            version,
            entries,
            lists,
        }
    }

    /// Changes come in key order, so those of one list come together.
    fn begin_list<'a>(
        &self,
        lists: &mut Vec<ListChange<'a>>,
        key: ListKey,
        edge: EdgeChange<'a>,
        version: Version,
    ) {
        if let Some(last) = lists.last_mut().filter(|last| last.key == key) {
            last.edges.push(edge);
            return;
        }
        let hash = self.hasher.hash_one(key.as_slice());
        if self.with(hash, |shard| shard.begin_list(hash, &key, version)) {
            let edges = vec![edge];
            lists.push(ListChange { hash, key, edges });
        }
    }

    /// After they were written.
    pub(super) fn end_commit(&self, begun: Begun<'_>) {
        let version = begun.version;
        for Change { hash, key, value } in begun.entries {
            self.with(hash, |shard| shard.end(hash, key, value, version));
        }
        for ListChange { hash, key, edges } in begun.lists {
            self.with(hash, |shard| shard.end_list(hash, &key, &edges, version));
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

    fn list_of(edges: &[(&[u8], &[u8])]) -> Vec<u8> {
        let edges: Vec<_> = edges
            .iter()
            .map(|&(rest, value)| (rest, Some(value)))
            .collect();
        let list = adjacency::Adjacency::default().changed(&edges);
        list.expect("few and short").into_bytes()
    }

    #[test]
    fn a_commit_changes_the_list_that_is_there_and_one_that_failed_leaves_none() {
        let cache = Cache::new(1 << 20);
        let prefix = [&[adjacency::KINDS[0]], [7; 8].as_slice()].concat();
        let edge = |rest: &[u8]| [prefix.as_slice(), rest].concat();
        let list = list_key(&prefix).expect("such lists are kept");
        let before = list_of(&[(b"a", b"1"), (b"c", b"3")]);
        cache.offer(&list, Some(&before), 5);

        let new = changes(&[(&edge(b"a"), None), (&edge(b"b"), Some(b"2"))]);
        let begun = cache.begin_commit(&new, 10);
        assert_eq!(known(&cache, &list, 10), None);
        cache.end_commit(begun);
        let after = list_of(&[(b"b", b"2"), (b"c", b"3")]);
        assert_eq!(known(&cache, &list, 9), None);
        assert_eq!(known(&cache, &list, 10), Some(Some(after)));

        // Not ended: it failed. The next has the same version, and nobody knows what there is.
        let _failed = cache.begin_commit(&new, 11);
        let begun = cache.begin_commit(&new, 11);
        cache.end_commit(begun);
        assert_eq!(known(&cache, &list, 11), Some(None));
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
