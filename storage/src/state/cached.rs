//! A view that asks the cache before the database.
use std::sync::Arc;

use model::adjacency::Adjacency;
use model::error::Fault;
use model::view::{Pair, View};

use super::cache::{Cache, list_key};
use super::key;
use super::shard::{Known, Version};
use super::view::RocksView;

/// A view of the database with the cache in front.
pub(super) struct CachedView {
    pub(super) base: Arc<RocksView>,
    pub(super) cache: Arc<Cache>,
    /// None: it was taken while a snapshot was installed, and goes past the cache.
    pub(super) version: Option<Version>,
}

impl CachedView {
    fn known(&self, key: &[u8], version: Version) -> Result<Option<Option<Vec<u8>>>, Fault> {
        match self.cache.get(key, version) {
            Known::Value(value) => Ok(Some(value)),
            Known::ToBeChecked(value) if self.base.get(key)? == value => Ok(Some(value)),
            Known::ToBeChecked(value) => Err(Fault(format!(
                "the cache has {value:02x?} under {key:02x?} at {version}, the database has not"
            ))),
            Known::Nothing => Ok(None),
        }
    }

    /// That a list is too long is no more than a hint, and nothing to be checked.
    fn check_list(&self, prefix: &[u8], kept: &Option<Adjacency>) -> Result<(), Fault> {
        if kept.is_none() || self.base.adjacency(prefix)? == *kept {
            return Ok(());
        }
        Err(Fault(format!(
            "the cache has {kept:02x?} as the list {prefix:02x?}, the database has not"
        )))
    }
}

impl View for CachedView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let Some(version) = self.version.filter(|_| key::is_models(key)) else {
            return self.base.get(key);
        };
        if let Some(value) = self.known(key, version)? {
            return Ok(value);
        }
        let value = self.base.get(key)?;
        self.cache.offer(key, value.as_deref(), version);
        Ok(value)
    }

    /// Past the cache, in which it would take the place of what is asked for again.
    fn get_once(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.base.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        self.base.scan(prefix, from)
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let Some(version) = self.version else {
            return self.base.get_many(keys);
        };
        let mut values = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let known = self.known(key, version)?;
            if known.is_none() {
                missing.push((place, key.clone()));
            }
            values.push(known.flatten());
        }
        if missing.is_empty() {
            return Ok(values);
        }
        let (places, keys): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        let read = self.base.get_many(&keys)?;
        for ((place, key), value) in places.into_iter().zip(keys).zip(read) {
            if key::is_models(&key) {
                self.cache.offer(&key, value.as_deref(), version);
            }
            values[place] = value;
        }
        Ok(values)
    }

    fn adjacency(&self, prefix: &[u8]) -> Result<Option<Adjacency>, Fault> {
        let Some((version, key)) = self.version.zip(list_key(prefix)) else {
            return self.base.adjacency(prefix);
        };
        match self.cache.get(&key, version) {
            Known::Value(packed) => return Ok(packed.map(Adjacency::from_bytes)),
            Known::ToBeChecked(packed) => {
                let list = packed.map(Adjacency::from_bytes);
                self.check_list(prefix, &list)?;
                return Ok(list);
            }
            Known::Nothing => {}
        }
        let list = self.base.adjacency(prefix)?;
        let packed = list.as_ref().map(Adjacency::bytes);
        self.cache.offer(&key, packed, version);
        Ok(list)
    }
}
