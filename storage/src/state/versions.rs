//! A map that remembers what it was, for as long as somebody looks at it: what a RocksDB snapshot is
//! to the engine, this is to its twin.
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use model::error::Fault;
use model::overlay::Changes;
use model::view::{Pair, View};

use super::key;
use super::rocks::lock;

/// A scan takes so many pairs under one lock.
const PAGE: usize = 64;

/// The values of a key by the version that wrote them, rising; `None` where it was deleted.
type History = Vec<(u64, Option<Arc<[u8]>>)>;

#[derive(Debug, Default)]
pub(super) struct Versions {
    map: BTreeMap<Vec<u8>, History>,
    pub(super) now: u64,
    /// This version is kept, whoever looks.
    pub(super) durable: u64,
    /// How many look at a version.
    views: BTreeMap<u64, usize>,
}

impl Versions {
    /// Makes the next version.
    pub(super) fn commit(&mut self, changes: Changes) {
        self.now += 1;
        let now = self.now;
        let oldest = self.oldest();
        for (key, value) in changes {
            let history = self.map.entry(key).or_default();
            history.push((now, value.map(Into::into)));
            forget(history, oldest);
        }
    }

    /// Makes a next version that holds these pairs and nothing else.
    pub(super) fn replace(&mut self, pairs: Vec<Pair>) {
        let mut changes: Changes = self.map.keys().map(|key| (key.clone(), None)).collect();
        let pairs = pairs.into_iter();
        changes.extend(pairs.map(|(key, value)| (key, Some(value))));
        self.commit(changes);
    }

    /// All pairs of a version.
    pub(super) fn pairs(&self, version: u64) -> Vec<Pair> {
        let pairs = self.map.iter();
        pairs
            .filter_map(|(key, history)| Some((key.clone(), at(history, version)?.to_vec())))
            .collect()
    }

    fn oldest(&self) -> u64 {
        let viewed = self.views.first_key_value().map(|(version, _)| *version);
        viewed.unwrap_or(self.now).min(self.durable)
    }
}

/// Drops what no version from `oldest` on can see.
fn forget(history: &mut History, oldest: u64) {
    let seen = history.partition_point(|(version, _)| *version <= oldest);
    history.drain(..seen.saturating_sub(1));
}

fn at(history: &History, version: u64) -> Option<&Arc<[u8]>> {
    let seen = history.partition_point(|(written, _)| *written <= version);
    history.get(seen.checked_sub(1)?)?.1.as_ref()
}

/// The map as it was at one version.
pub(super) struct VersionView {
    versions: Arc<Mutex<Versions>>,
    version: u64,
}

impl VersionView {
    /// Looks at what is there now.
    pub(super) fn now(versions: &Arc<Mutex<Versions>>) -> VersionView {
        let mut locked = lock(versions);
        let version = locked.now;
        *locked.views.entry(version).or_default() += 1;
        drop(locked);
        VersionView {
            versions: Arc::clone(versions),
            version,
        }
    }

    fn page(&self, from: Bound<&[u8]>, end: &[u8]) -> Vec<Pair> {
        let versions = lock(&self.versions);
        let range = versions.map.range::<[u8], _>((from, Bound::Excluded(end)));
        range
            .filter_map(|(key, history)| Some((key.clone(), at(history, self.version)?.to_vec())))
            .take(PAGE)
            .collect()
    }
}

impl Drop for VersionView {
    fn drop(&mut self) {
        let mut versions = lock(&self.versions);
        if let Some(viewers) = versions.views.get_mut(&self.version) {
            *viewers -= 1;
            if *viewers == 0 {
                versions.views.remove(&self.version);
            }
        }
    }
}

impl View for VersionView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let versions = lock(&self.versions);
        let history = versions.map.get(key);
        Ok(history
            .and_then(|history| at(history, self.version))
            .map(|value| value.to_vec()))
    }

    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        let Some((begin, end)) = key::scan_bounds(prefix, from) else {
            return Box::new(std::iter::empty());
        };
        let mut page = self.page(Bound::Included(&begin), &end).into_iter();
        let mut last: Option<Vec<u8>> = None;
        Box::new(std::iter::from_fn(move || {
            let next = page.next().or_else(|| {
                page = self
                    .page(Bound::Excluded(last.as_deref()?), &end)
                    .into_iter();
                page.next()
            });
            last = next.as_ref().map(|(key, _)| key.clone());
            next.map(Ok)
        }))
    }
}
