//! A view with pending changes on top, itself a view, so that a batch of commands stacks.
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

use crate::error::Fault;
use crate::key::Key;
use crate::record::Record;
use crate::view::{Pair, View};

/// Puts (`Some`) and deletes (`None`), in key order.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// `base` as it will be once the pending changes are committed.
#[derive(Debug)]
pub struct Overlay<'a, V> {
    base: &'a V,
    changes: Changes,
}

impl<'a, V: View> Overlay<'a, V> {
    /// Nothing pending yet.
    pub fn new(base: &'a V) -> Self {
        Self {
            base,
            changes: Changes::new(),
        }
    }

    /// Puts `changes` on top of those that are pending.
    pub fn absorb(&mut self, changes: Changes) {
        self.changes.extend(changes);
    }

    /// All that is pending, to be committed at once.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    pub(crate) fn put<K: Key>(&mut self, key: &K, value: &K::Value) {
        self.changes.insert(key.encode(), Some(value.encode()));
    }

    pub(crate) fn delete<K: Key>(&mut self, key: &K) {
        self.changes.insert(key.encode(), None);
    }
}

impl<V: View> View for Overlay<'_, V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.changes.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => self.base.get(key),
        }
    }

    fn get_once(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.changes.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => self.base.get_once(key),
        }
    }

    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        let start = if from.is_empty() { prefix } else { from };
        Box::new(Merge {
            base: self.base.scan(prefix, from).peekable(),
            pending: self.changes.range(start.to_vec()..).peekable(),
            prefix: prefix.to_vec(),
        })
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        if self.changes.is_empty() {
            return self.base.get_many(keys);
        }
        let unchanged: Vec<_> = keys
            .iter()
            .filter(|key| !self.changes.contains_key(*key))
            .cloned()
            .collect();
        let mut stored = self.base.get_many(&unchanged)?.into_iter();
        let values = keys.iter().map(|key| match self.changes.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => stored
                .next()
                .ok_or_else(|| Fault("the view answered with too few values".to_owned())),
        });
        values.collect()
    }
}

/// Both sides in key order; a pending change hides what it changes.
struct Merge<'a> {
    base: Peekable<Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a>>,
    pending: Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>,
    prefix: Vec<u8>,
}

impl Iterator for Merge<'_> {
    type Item = Result<Pair, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let pending = self
                .pending
                .peek()
                .filter(|(key, _)| key.starts_with(&self.prefix));
            let Some((key, value)) = pending else {
                return self.base.next();
            };
            match self.base.peek() {
                Some(Err(_)) => return self.base.next(),
                Some(Ok((stored, _))) if stored < key => return self.base.next(),
                Some(Ok((stored, _))) if stored == *key => {
                    self.base.next();
                }
                _ => {}
            }
            let put = value.as_ref().map(|value| ((*key).clone(), value.clone()));
            self.pending.next();
            if let Some(pair) = put {
                return Some(Ok(pair));
            }
        }
    }
}
