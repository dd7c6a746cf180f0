//! The state's twin in memory, for tests and simulation.
//!
//! It has the two tiers of the engine: what is committed, and what is durable.
//! [`MemoryState::reopen`] gives what is there after closing in good order, [`MemoryState::crash`]
//! what is left at least after a kill or a power cut. Its snapshots are streams of its own: twins
//! and engines do not mix.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use model::error::Fault;
use model::overlay::Changes;
use model::view::Pair;
use sha2::{Digest as _, Sha256};

use super::build::no_longer_wanted;
use super::rocks::lock;
use super::versions::{VersionView, Versions};
use super::{Reading, SnapshotInfo, SnapshotSink, StateStore, key};

const CHUNK_BYTES_MAX: usize = 1 << 20;
const HASH_BYTES: usize = 32;

/// A state in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryState {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    versions: Arc<Mutex<Versions>>,
    marker: Bytes,
    durable_marker: Bytes,
    /// The markers of the versions that are not durable yet.
    markers: BTreeMap<u64, Bytes>,
    /// The newest last. No two have the same id.
    snapshots: Vec<Snapshot>,
    end: Option<String>,
}

#[derive(Clone)]
struct Snapshot {
    info: SnapshotInfo,
    stream: Bytes,
}

impl MemoryState {
    /// An empty state.
    #[must_use]
    pub fn new() -> MemoryState {
        MemoryState::default()
    }

    /// Lets every later call fail like a broken disk. Views that exist go on.
    pub fn fail(&self, why: &str) {
        self.lock().end = Some(why.to_owned());
    }

    /// The state as it is opened again after it was closed; this one fails from now on.
    #[must_use]
    pub fn reopen(&self) -> MemoryState {
        self.reborn(u64::MAX)
    }

    /// The state after a kill or a power cut that left no more than was durable; this one fails from
    /// now on.
    #[must_use]
    pub fn crash(&self) -> MemoryState {
        self.reborn(0)
    }

    /// As [`MemoryState::crash`], but so many of the commits after what was durable had reached the
    /// disk: the first ones.
    #[must_use]
    pub fn crash_leaving(&self, commits: u64) -> MemoryState {
        self.reborn(commits)
    }

    fn reborn(&self, commits: u64) -> MemoryState {
        let mut inner = self.lock();
        inner.end = Some("this state was left".to_owned());
        let (marker, pairs) = {
            let versions = lock(&inner.versions);
            let left = versions.durable.saturating_add(commits).min(versions.now);
            let marker = inner.markers.get(&left).unwrap_or(&inner.durable_marker);
            (marker.clone(), versions.pairs(left))
        };
        let mut versions = Versions::default();
        versions.replace(pairs);
        versions.durable = versions.now;
        let reborn = Inner {
            versions: Arc::new(Mutex::new(versions)),
            durable_marker: marker.clone(),
            markers: BTreeMap::new(),
            marker,
            snapshots: inner.snapshots.clone(),
            end: None,
        };
        MemoryState {
            inner: Arc::new(Mutex::new(reborn)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, Inner>, Fault> {
        let inner = self.lock();
        match &inner.end {
            Some(why) => Err(Fault(why.clone())),
            None => Ok(inner),
        }
    }
}

impl StateStore for MemoryState {
    fn read(&self) -> Result<Reading, Fault> {
        let inner = self.alive()?;
        Ok(Reading {
            view: Arc::new(VersionView::now(&inner.versions)),
            marker: inner.marker.clone(),
        })
    }

    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault> {
        key::check(&changes)?;
        let mut inner = self.alive()?;
        let version = {
            let mut versions = lock(&inner.versions);
            versions.commit(changes);
            versions.now
        };
        inner.markers.insert(version, marker.clone());
        inner.marker = marker;
        Ok(())
    }

    fn make_durable(&self) -> Result<Bytes, Fault> {
        let mut inner = self.alive()?;
        inner.make_durable();
        Ok(inner.marker.clone())
    }

    fn build_snapshot_while(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault> {
        let mut inner = self.alive()?;
        if !is_wanted() {
            return Err(no_longer_wanted());
        }
        inner.make_durable();
        let mut pairs = {
            let versions = lock(&inner.versions);
            versions.pairs(versions.now)
        };
        pairs.retain(|(key, _)| !key::is_left_out(key));
        let stream = encode(&inner.marker, &pairs)?;
        let snapshot = decode(&stream)?.0;
        Ok(inner.keep(snapshot))
    }

    fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Fault> {
        let inner = self.alive()?;
        let kept = inner.snapshots.iter();
        Ok(kept.map(|kept| kept.info.clone()).collect())
    }

    fn drop_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.alive()?.snapshots.retain(|kept| kept.info.id != id);
        Ok(())
    }

    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault> {
        let mut stream = self.alive()?.find(id)?.stream;
        Ok(Box::new(std::iter::from_fn(move || {
            let bytes = stream.len().min(CHUNK_BYTES_MAX);
            (bytes > 0).then(|| Ok(stream.split_to(bytes)))
        })))
    }

    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault> {
        drop(self.alive()?);
        Ok(Box::new(Sink {
            state: self.clone(),
            stream: Vec::new(),
        }))
    }

    fn install_snapshot(&self, id: &str) -> Result<(), Fault> {
        let mut inner = self.alive()?;
        let snapshot = inner.find(id)?;
        let (_, pairs) = decode(&snapshot.stream)?;
        lock(&inner.versions).replace(pairs);
        inner.marker = snapshot.info.marker;
        inner.make_durable();
        Ok(())
    }
}

impl Inner {
    fn make_durable(&mut self) {
        let mut versions = lock(&self.versions);
        versions.durable = versions.now;
        drop(versions);
        self.markers.clear();
        self.durable_marker = self.marker.clone();
    }

    fn find(&self, id: &str) -> Result<Snapshot, Fault> {
        let mut kept = self.snapshots.iter();
        kept.find(|snapshot| snapshot.info.id == id)
            .cloned()
            .ok_or_else(|| Fault(format!("there is no snapshot {id}")))
    }

    fn keep(&mut self, snapshot: Snapshot) -> SnapshotInfo {
        let info = snapshot.info.clone();
        self.snapshots.retain(|kept| kept.info.id != info.id);
        self.snapshots.push(snapshot);
        info
    }
}

/// A snapshot on its way in.
struct Sink {
    state: MemoryState,
    stream: Vec<u8>,
}

impl SnapshotSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.stream.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault> {
        let (snapshot, _) = decode(&self.stream)?;
        let mut inner = self.state.alive()?;
        Ok(inner.keep(snapshot))
    }
}

/// The stream: SHA-256 of the rest, then marker and pairs.
fn encode(marker: &[u8], pairs: &[Pair]) -> Result<Bytes, Fault> {
    let body = postcard::to_stdvec(&(marker, pairs))
        .map_err(|error| Fault(format!("the snapshot cannot be written: {error}")))?;
    let mut stream = Sha256::digest(&body).to_vec();
    stream.extend_from_slice(&body);
    Ok(stream.into())
}

fn decode(stream: &[u8]) -> Result<(Snapshot, Vec<Pair>), Fault> {
    let damaged = || Fault("the snapshot is damaged".to_owned());
    let (hash, body) = stream
        .split_first_chunk::<HASH_BYTES>()
        .ok_or_else(damaged)?;
    if Sha256::digest(body)[..] != hash[..] {
        return Err(damaged());
    }
    let (marker, pairs): (Vec<u8>, Vec<Pair>) =
        postcard::from_bytes(body).map_err(|_| damaged())?;
    let snapshot = Snapshot {
        info: SnapshotInfo {
            id: key::hex(&hash[..16]),
            marker: marker.into(),
            bytes: stream.len() as u64,
        },
        stream: Bytes::copy_from_slice(stream),
    };
    Ok((snapshot, pairs))
}
