//! A state in memory that can lose its last commits, as a power cut makes a disk do.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::error::Fault;
use model::memory::Memory;
use model::overlay::Changes;
use storage::state::{Reading, SnapshotInfo, SnapshotSink, StateStore};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Default)]
pub(crate) struct MemoryState(Arc<Mutex<Inner>>);

#[derive(Clone, Default)]
struct Content {
    view: Arc<Memory>,
    marker: Bytes,
}

#[derive(Default)]
struct Inner {
    now: Content,
    durable: Content,
    current: Option<String>,
    snapshots: BTreeMap<String, Content>,
    built: u64,
    end: Option<String>,
}

impl MemoryState {
    /// What is left after a power cut; this one fails from now on.
    pub(crate) fn power_cut(&self) -> Self {
        let mut inner = self.lock();
        inner.end = Some("the power was cut".to_owned());
        Self(Arc::new(Mutex::new(Inner {
            now: inner.durable.clone(),
            durable: inner.durable.clone(),
            current: inner.current.clone(),
            snapshots: inner.snapshots.clone(),
            built: inner.built,
            end: None,
        })))
    }

    pub(crate) fn fail(&self, why: &str) {
        self.lock().end = Some(why.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check(&self) -> Result<(), Fault> {
        self.end.clone().map_or(Ok(()), |why| Err(Fault(why)))
    }

    fn info(&self, id: &str) -> Result<SnapshotInfo, Fault> {
        let content = self.snapshots.get(id);
        let content = content.ok_or_else(|| Fault(format!("no snapshot {id}")))?;
        Ok(SnapshotInfo {
            id: id.to_owned(),
            marker: content.marker.clone(),
            bytes: u64::try_from(stream(content).len()).unwrap(),
        })
    }
}

fn stream(content: &Content) -> Vec<u8> {
    let pairs: Pairs = content
        .view
        .pairs()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    postcard::to_stdvec(&(content.marker.to_vec(), pairs)).unwrap()
}

impl StateStore for MemoryState {
    fn read(&self) -> Result<Reading, Fault> {
        let inner = self.lock();
        inner.check()?;
        Ok(Reading {
            view: inner.now.view.clone(),
            marker: inner.now.marker.clone(),
        })
    }

    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault> {
        let mut inner = self.lock();
        inner.check()?;
        Arc::make_mut(&mut inner.now.view).commit(changes);
        inner.now.marker = marker;
        Ok(())
    }

    fn make_durable(&self) -> Result<Bytes, Fault> {
        let mut inner = self.lock();
        inner.check()?;
        inner.durable = inner.now.clone();
        Ok(inner.durable.marker.clone())
    }

    fn build_snapshot(&self) -> Result<SnapshotInfo, Fault> {
        let mut inner = self.lock();
        inner.check()?;
        inner.built += 1;
        let id = format!("built-{}", inner.built);
        let content = inner.now.clone();
        inner.snapshots = BTreeMap::from([(id.clone(), content)]);
        inner.current = Some(id.clone());
        inner.info(&id)
    }

    fn current_snapshot(&self) -> Result<Option<SnapshotInfo>, Fault> {
        let inner = self.lock();
        inner.check()?;
        inner.current.as_ref().map(|id| inner.info(id)).transpose()
    }

    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault> {
        let inner = self.lock();
        inner.check()?;
        let content = inner.snapshots.get(id);
        let bytes = stream(content.ok_or_else(|| Fault(format!("no snapshot {id}")))?);
        let chunks: Vec<_> = bytes
            .chunks(1_000)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        Ok(Box::new(chunks.into_iter()))
    }

    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault> {
        Ok(Box::new(Sink {
            state: self.clone(),
            bytes: Vec::new(),
        }))
    }

    fn install_snapshot(&self, id: &str) -> Result<(), Fault> {
        let mut inner = self.lock();
        inner.check()?;
        let content = inner.snapshots.get(id).cloned();
        let content = content.ok_or_else(|| Fault(format!("no snapshot {id}")))?;
        inner.now = content.clone();
        inner.durable = content.clone();
        inner.snapshots = BTreeMap::from([(id.to_owned(), content)]);
        inner.current = Some(id.to_owned());
        Ok(())
    }
}

struct Sink {
    state: MemoryState,
    bytes: Vec<u8>,
}

impl SnapshotSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault> {
        let (marker, pairs): (Vec<u8>, Pairs) =
            postcard::from_bytes(&self.bytes).map_err(|error| Fault(error.to_string()))?;
        let mut memory = Memory::default();
        memory.commit(pairs.into_iter().map(|(k, v)| (k, Some(v))).collect());
        let mut inner = self.state.lock();
        inner.built += 1;
        let id = format!("received-{}", inner.built);
        let content = Content {
            view: Arc::new(memory),
            marker: marker.into(),
        };
        inner.snapshots.insert(id.clone(), content);
        inner.info(&id)
    }
}
