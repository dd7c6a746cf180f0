//! The log's twin in memory, for tests and simulation.
//!
//! It has the two tiers of a disk: what was written, and what was synced. [`MemoryLog::kill`] gives
//! what a killed process finds when it starts again, [`MemoryLog::power_cut`] what is left after a
//! power cut.
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Done, Held, LogStore};

/// When what is written counts as synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    /// At once: callbacks are called before the call returns.
    AtOnce,
    /// When [`MemoryLog::sync`] is called.
    ByHand,
}

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    syncing: Syncing,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    now: Contents,
    synced: Contents,
    unsynced: Vec<Change>,
    waiting: Vec<Done>,
    end: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    entries: BTreeMap<u64, Bytes>,
    next: Option<u64>,
    purged: Option<(u64, Bytes)>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Change {
    Entry(u64, Bytes),
    Vote(Bytes),
    Committed(Bytes),
    Truncate(u64),
    Purge(u64, Bytes),
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(syncing: Syncing) -> MemoryLog {
        MemoryLog {
            syncing,
            inner: Arc::default(),
        }
    }

    /// Syncs what is written and calls what waits for it, in order.
    pub fn sync(&self) {
        let waiting = self.lock().sync();
        for done in waiting {
            done(Ok(()));
        }
    }

    /// Lets every later call, and all that waits, fail like a broken disk.
    pub fn fail(&self, why: &str) {
        let waiting = {
            let mut inner = self.lock();
            inner.end = Some(why.to_owned());
            std::mem::take(&mut inner.waiting)
        };
        for done in waiting {
            done(Err(io::Error::other(why.to_owned())));
        }
    }

    /// Does it still take anything?
    ///
    /// # Errors
    /// Why not: it failed, or was killed.
    pub fn check(&self) -> io::Result<()> {
        self.lock().check_end()
    }

    /// The log as a killed process finds it when it starts again; this one fails from now on.
    #[must_use]
    pub fn kill(&self) -> MemoryLog {
        let contents = self.lock().now.clone();
        self.reborn(contents)
    }

    /// The log as it is after a power cut, without what was not synced; this one fails from now on.
    #[must_use]
    pub fn power_cut(&self) -> MemoryLog {
        let contents = self.lock().synced.clone();
        self.reborn(contents)
    }

    /// As [`MemoryLog::power_cut`], but so many of the unsynced writes had reached the disk: the
    /// first ones, since all writes are one order.
    #[must_use]
    pub fn power_cut_leaving(&self, writes: usize) -> MemoryLog {
        let contents = {
            let inner = self.lock();
            let mut contents = inner.synced.clone();
            for change in inner.unsynced.iter().take(writes) {
                contents.apply(change);
            }
            contents
        };
        self.reborn(contents)
    }

    fn reborn(&self, contents: Contents) -> MemoryLog {
        self.fail("the process was killed");
        let inner = Inner {
            now: contents.clone(),
            synced: contents,
            ..Inner::default()
        };
        MemoryLog {
            syncing: self.syncing,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `changes`; `done` follows when they are synced.
    fn write(
        &self,
        check: impl FnOnce(&Contents) -> io::Result<Vec<Change>>,
        done: Option<Done>,
    ) -> io::Result<()> {
        let result = {
            let mut inner = self.lock();
            inner
                .check_end()
                .and_then(|()| check(&inner.now))
                .map(|changes| {
                    for change in changes {
                        inner.now.apply(&change);
                        inner.unsynced.push(change);
                    }
                })
        };
        match (&result, done) {
            (Ok(()), Some(done)) => self.lock().waiting.push(done),
            (Err(error), Some(done)) => {
                done(Err(io::Error::new(error.kind(), error.to_string())));
            }
            (_, None) => {}
        }
        if result.is_ok() && self.syncing == Syncing::AtOnce {
            self.sync();
        }
        result
    }
}

#[async_trait]
impl LogStore for MemoryLog {
    fn held(&self) -> Held {
        let inner = self.lock();
        let now = &inner.now;
        Held {
            first: now.entries.first_key_value().map(|(index, _)| *index),
            last: now.entries.last_key_value().map(|(index, _)| *index),
            purged: now.purged.as_ref().map(|(_, marker)| marker.clone()),
            vote: now.vote.clone(),
            committed: now.committed.clone(),
        }
    }

    async fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) -> io::Result<()> {
        let check = |now: &Contents| {
            let mut next = now.next;
            for (index, _) in &entries {
                if next.is_some_and(|next| next != *index) {
                    return Err(invalid(format!("entry {index} does not follow")));
                }
                next = Some(index + 1);
            }
            let changes = entries.into_iter();
            Ok(changes
                .map(|(index, entry)| Change::Entry(index, entry))
                .collect())
        };
        self.write(check, Some(done))
    }

    async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        let (sender, synced) = oneshot::channel();
        let done: Done = Box::new(|result| {
            // Nobody waits any more when the caller was dropped.
            let _unheard = sender.send(result);
        });
        self.write(|_| Ok(vec![Change::Vote(vote)]), Some(done))?;
        synced
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the log has ended")))
    }

    async fn save_committed(&self, committed: Bytes) -> io::Result<()> {
        self.write(|_| Ok(vec![Change::Committed(committed)]), None)
    }

    async fn truncate_from(&self, index: u64) -> io::Result<()> {
        let check = |now: &Contents| {
            if now
                .purged
                .as_ref()
                .is_some_and(|(purged, _)| index <= *purged)
            {
                return Err(invalid(format!("entry {index} is purged")));
            }
            Ok(vec![Change::Truncate(index)])
        };
        self.write(check, None)
    }

    async fn purge_to(&self, index: u64, marker: Bytes) -> io::Result<()> {
        self.write(|_| Ok(vec![Change::Purge(index, marker)]), None)
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let inner = self.lock();
        inner.check_end()?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in range {
            let Some(entry) = inner.now.entries.get(&index) else {
                break;
            };
            bytes += entry.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push((index, entry.clone()));
        }
        Ok(entries)
    }
}

impl Inner {
    fn check_end(&self) -> io::Result<()> {
        match &self.end {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Vec<Done> {
        for change in std::mem::take(&mut self.unsynced) {
            self.synced.apply(&change);
        }
        std::mem::take(&mut self.waiting)
    }
}

impl Contents {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Entry(index, entry) => {
                self.entries.insert(*index, entry.clone());
                self.next = Some(index + 1);
            }
            Change::Vote(vote) => self.vote = Some(vote.clone()),
            Change::Committed(committed) => self.committed = Some(committed.clone()),
            Change::Truncate(index) => {
                self.entries.split_off(index);
                if self.next.is_some_and(|next| *index < next) {
                    self.next = Some(*index);
                }
            }
            Change::Purge(index, marker) => {
                if self.purged.as_ref().is_some_and(|(done, _)| index <= done) {
                    return;
                }
                self.entries = self.entries.split_off(&(index + 1));
                if self.next.is_none_or(|next| next <= *index) {
                    self.next = Some(index + 1);
                }
                self.purged = Some((*index, marker.clone()));
            }
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
