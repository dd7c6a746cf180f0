//! The state on disk: one RocksDB, one atomic commit, snapshots as files that are ingested.
//!
//! ```text
//! <dir>/db          RocksDB: column family "state"; in "default" the owner and the format
//! <dir>/durable     what the state must at least hold when it is opened
//! <dir>/snapshots   one directory each, and temporary ones
//! ```
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use model::error::Fault;
use model::overlay::Changes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamilyDescriptor, DB, ErrorKind, WriteBatch, WriteOptions, properties};

use super::cache::Cache;
use super::cached::CachedView;
use super::durable::{self, DurableNote, Record};
use super::shard::Version;
use super::shelf::Shelf;
use super::view::{self, RocksView, STATE};
use super::{
    OpenError, Options, Reading, SnapshotInfo, SnapshotSink, StateStore, build, install, key,
    options, receive, send,
};
use crate::owner::Owner;

const DATABASE: &str = "db";
const SNAPSHOTS: &str = "snapshots";
const OWNER: &[u8] = b"owner";
const FORMAT: &[u8] = b"format";
const FORMAT_NUMBER: u32 = 1;

/// One node's state in RocksDB. Clones share it.
///
/// Views keep the database open: it is closed when the last clone and the last view are gone.
#[derive(Clone)]
pub struct RocksState {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) db: Arc<DB>,
    pub(super) owner: Owner,
    pub(super) options: Options,
    pub(super) shelf: Shelf,
    /// One snapshot is built at a time.
    building: Mutex<()>,
    /// Taken before `committed` when both are.
    pub(super) durable: Mutex<DurableNote>,
    /// What was committed last. Commits and installs are one after the other.
    pub(super) committed: Mutex<Record>,
    pub(super) cache: Arc<Cache>,
    reading: Mutex<Readings>,
    /// Each holds the database open until it ends.
    compactions: Mutex<Vec<JoinHandle<()>>>,
}

/// What readers share. Views are taken under its lock.
#[derive(Default)]
struct Readings {
    /// The view since the last commit, shared by all who read before the next one.
    shared: Option<(Reading, Arc<RocksView>)>,
    versions: Versions,
}

/// How the cache's versions follow from the count of commits, which begins anew with each snapshot
/// that is installed, while versions never go back.
#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    offset: Version,
    /// While a snapshot is installed nobody can tell what a view belongs to.
    is_installing: bool,
}

impl Versions {
    fn of(self, record: &Record) -> Option<Version> {
        (!self.is_installing).then(|| self.offset + record.commits)
    }
}

impl RocksState {
    /// Makes an empty state. What an interrupted earlier call left behind is replaced.
    ///
    /// # Errors
    /// When there is a state in `dir`, or the disk fails.
    pub fn create(dir: &Path, owner: &Owner, options: Options) -> Result<RocksState, OpenError> {
        if DurableNote::is_in(dir) {
            return Err(Fault(format!("there is a state in {}", dir.display())).into());
        }
        let database = dir.join(DATABASE);
        if database.exists() {
            fs::remove_dir_all(&database)
                .map_err(|error| fault("a half-made state stays", &error))?;
        }
        fs::create_dir_all(&database).map_err(|error| fault("no directory for it", &error))?;
        let db = open_database(&database, &options, true)?;
        let record = Record {
            lineage: owner.incarnation,
            commits: 0,
            marker: Bytes::new(),
        };
        let encoded = postcard::to_stdvec(owner).map_err(|error| fault("the owner", &error))?;
        let state = view::state_of(&db)?;
        let mut batch = WriteBatch::default();
        batch.put(OWNER, encoded);
        batch.put(FORMAT, FORMAT_NUMBER.to_be_bytes());
        batch.put_cf(&state, key::RECORD, record.encode());
        db.write_opt(batch, &without_log())
            .and_then(|()| db.flush())
            .and_then(|()| db.flush_cf(&state))
            .map_err(|error| fault("the state cannot be begun", &error))?;
        drop(state);
        let note = DurableNote::create(dir, record.bound())
            .and_then(|note| match dir.parent().filter(|parent| parent.is_dir()) {
                Some(parent) => durable::sync_dir(parent).map(|()| note),
                None => Ok(note),
            })
            .map_err(|error| fault("the state cannot be begun", &error))?;
        Ok(RocksState::with(dir, owner, options, db, note, record)?)
    }

    /// Opens a state and checks that it holds what was durable.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open(dir: &Path, owner: &Owner, options: Options) -> Result<RocksState, OpenError> {
        let shown = || dir.display().to_string();
        let database = dir.join(DATABASE);
        if !database.join("CURRENT").exists() {
            return Err(OpenError::Missing { dir: shown() });
        }
        let note = DurableNote::open(dir)
            .ok()
            .flatten()
            .ok_or_else(|| OpenError::Damaged {
                what: "the note of what was durable is gone or does not verify".to_owned(),
            })?;
        let db = open_database(&database, &options, false)?;
        check_owner(&db, dir, owner)?;
        let record = RocksView::take(&db)?.record()?;
        match note.commits_min(&record) {
            Some(durable) if record.commits < durable => {
                return Err(OpenError::Behind {
                    dir: shown(),
                    found: record.commits,
                    durable,
                });
            }
            Some(_) => {}
            None => {
                return Err(OpenError::Damaged {
                    what: "it comes from another snapshot than what was durable".to_owned(),
                });
            }
        }
        Ok(RocksState::with(dir, owner, options, db, note, record)?)
    }

    fn with(
        dir: &Path,
        owner: &Owner,
        options: Options,
        db: Arc<DB>,
        note: DurableNote,
        record: Record,
    ) -> Result<RocksState, Fault> {
        let shelf = Shelf::open(dir.join(SNAPSHOTS))?;
        Ok(RocksState {
            inner: Arc::new(Inner {
                db,
                cache: Arc::new(Cache::new(options.value_cache_bytes)),
                owner: owner.clone(),
                options,
                shelf,
                building: Mutex::new(()),
                durable: Mutex::new(note),
                committed: Mutex::new(record),
                reading: Mutex::default(),
                compactions: Mutex::new(Vec::new()),
            }),
        })
    }

    /// Makes a copy of the whole state in the directory `path`, which must not exist and which
    /// [`RocksState::open`] opens. On the same file system it costs hard links only. For backups.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint(&self, path: &Path) -> Result<(), Fault> {
        let what = "no checkpoint can be made";
        fs::create_dir(path).map_err(|error| fault(what, &error))?;
        let committed = lock(&self.inner.committed);
        Checkpoint::new(&*self.inner.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(path.join(DATABASE)))
            .map_err(|error| fault(what, &error))?;
        DurableNote::create(path, committed.bound()).map_err(|error| fault(what, &error))?;
        Ok(())
    }

    /// How many installations were followed by a compaction that was not looked at again.
    #[cfg(test)]
    pub(super) fn compactions(&self) -> usize {
        lock(&self.inner.compactions).len()
    }

    /// Tells the metrics how RocksDB and the cache in front of it are doing.
    pub fn report(&self) {
        let cached = self.inner.cache.figures();
        metrics::counter!("yin_state_cache_hits_total").absolute(cached.hits);
        metrics::counter!("yin_state_cache_misses_total").absolute(cached.misses);
        metrics::gauge!("yin_state_cache_bytes").set(cached.bytes as f64);
        let db = &self.inner.db;
        let Ok(state) = view::state_of(db) else {
            return;
        };
        let gauges = [
            ("yin_state_write_stopped", properties::IS_WRITE_STOPPED),
            (
                "yin_state_write_delay_rate",
                properties::ACTUAL_DELAYED_WRITE_RATE,
            ),
            (
                "yin_state_write_buffer_bytes",
                properties::CUR_SIZE_ALL_MEM_TABLES,
            ),
            ("yin_state_block_cache_bytes", properties::BLOCK_CACHE_USAGE),
            ("yin_state_live_bytes", properties::ESTIMATE_LIVE_DATA_SIZE),
            ("yin_state_file_bytes", properties::TOTAL_SST_FILES_SIZE),
            (
                "yin_state_compaction_bytes",
                properties::ESTIMATE_PENDING_COMPACTION_BYTES,
            ),
            ("yin_state_snapshots", properties::NUM_SNAPSHOTS),
        ];
        for (name, property) in gauges {
            if let Ok(Some(value)) = db.property_int_value_cf(&state, property) {
                metrics::gauge!(name).set(value as f64);
            }
        }
    }
}

impl StateStore for RocksState {
    fn read(&self) -> Result<Reading, Fault> {
        Ok(self.inner.shared_view()?.0)
    }

    fn commit(&self, changes: Changes, marker: Bytes) -> Result<(), Fault> {
        key::check(&changes)?;
        let inner = &*self.inner;
        let mut committed = lock(&inner.committed);
        let record = Record {
            lineage: committed.lineage,
            commits: committed.commits + 1,
            marker,
        };
        let state = view::state_of(&inner.db)?;
        if plants::is(plants::APPLIED_APART) {
            // Through the engine's log, which the changes go past: a kill parts them.
            inner
                .db
                .put_cf(&state, key::RECORD, record.encode())
                .map_err(|error| fault("the commit failed", &error))?;
        }
        let mut batch = WriteBatch::default();
        for (key, value) in &changes {
            match value {
                Some(value) => batch.put_cf(&state, key, value),
                None => batch.delete_cf(&state, key),
            }
        }
        batch.put_cf(&state, key::RECORD, record.encode());
        let begun = inner
            .cache
            .begin_commit(&changes, inner.versions().offset + record.commits);
        inner
            .db
            .write_opt(batch, &without_log())
            .map_err(|error| fault("the commit failed", &error))?;
        inner.cache.end_commit(begun);
        *committed = record;
        inner.forget_view();
        Ok(())
    }

    fn make_durable(&self) -> Result<Bytes, Fault> {
        self.inner.make_durable()
    }

    fn build_snapshot_while(&self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotInfo, Fault> {
        let inner = &*self.inner;
        let _one = lock(&inner.building);
        let view = inner.shared_view()?.1;
        inner.make_durable()?;
        build::build(inner, &view, is_wanted)
    }

    fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Fault> {
        Ok(self.inner.shelf.list())
    }

    fn drop_snapshot(&self, id: &str) -> Result<(), Fault> {
        self.inner.shelf.drop_kept(id);
        Ok(())
    }

    fn snapshot_chunks(
        &self,
        id: &str,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes, Fault>> + Send>, Fault> {
        let chunks = send::Chunks::of(self.inner.shelf.find(id)?)?;
        Ok(Box::new(chunks))
    }

    fn receive_snapshot(&self) -> Result<Box<dyn SnapshotSink>, Fault> {
        let sink = receive::Sink::new(self.inner.shelf.clone())?;
        Ok(Box::new(sink))
    }

    fn install_snapshot(&self, id: &str) -> Result<(), Fault> {
        install::install(&self.inner, id)
    }
}

impl Inner {
    /// The view since the last commit; the first to ask takes it.
    fn shared_view(&self) -> Result<(Reading, Arc<RocksView>), Fault> {
        let mut readings = lock(&self.reading);
        if let Some(shared) = &readings.shared {
            return Ok(shared.clone());
        }
        let base = Arc::new(RocksView::take(&self.db)?);
        let record = base.record()?;
        let view = CachedView {
            base: Arc::clone(&base),
            cache: Arc::clone(&self.cache),
            version: readings.versions.of(&record).filter(|_| self.is_caching()),
        };
        let taken = Reading {
            marker: record.marker,
            view: Arc::new(view),
        };
        readings.shared = Some((taken.clone(), Arc::clone(&base)));
        Ok((taken, base))
    }

    fn is_caching(&self) -> bool {
        self.options.value_cache_bytes > 0
    }

    fn versions(&self) -> Versions {
        lock(&self.reading).versions
    }

    /// Lets the next reader take a new view. Called after each change, so that no older view that
    /// was being taken meanwhile stays.
    pub(super) fn forget_view(&self) {
        let old = lock(&self.reading).shared.take();
        drop(old);
    }

    /// From now on views go past the cache: whether they see the old state or the new one, the
    /// count of commits does not tell.
    pub(super) fn begin_installing(&self) {
        let mut readings = lock(&self.reading);
        readings.versions.is_installing = true;
        let old = readings.shared.take();
        drop(readings);
        drop(old);
    }

    /// The state has `after` commits now and had `before`; versions go on behind all that were
    /// given out, and the cache begins anew.
    pub(super) fn end_installing(&self, before: u64, after: u64) {
        let mut versions = self.versions();
        // One more may have been begun and have failed.
        versions.offset += before + 2;
        versions.is_installing = false;
        self.cache.clear(versions.offset + after);
        let mut readings = lock(&self.reading);
        readings.versions = versions;
        let old = readings.shared.take();
        drop(readings);
        drop(old);
    }

    fn make_durable(&self) -> Result<Bytes, Fault> {
        let mut durable = lock(&self.durable);
        let record = lock(&self.committed).clone();
        let state = view::state_of(&self.db)?;
        self.db
            .flush_cf(&state)
            .map_err(|error| fault("the state cannot be written", &error))?;
        durable
            .raise(record.bound())
            .map_err(|error| fault("what is durable cannot be noted", &error))?;
        Ok(record.marker)
    }

    /// Drops in the background what an installed snapshot covers.
    pub(super) fn compact_later(&self) {
        let db = Arc::clone(&self.db);
        let compaction = std::thread::Builder::new()
            .name("state-compact".to_owned())
            .spawn(move || {
                if let Ok(state) = view::state_of(&db) {
                    let mut options = rocksdb::CompactOptions::default();
                    options.set_exclusive_manual_compaction(false);
                    let all = None::<&[u8]>;
                    db.compact_range_cf_opt(&state, all, all, &options);
                }
            });
        let mut compactions = lock(&self.compactions);
        compactions.retain(|thread| !thread.is_finished());
        match compaction {
            Ok(thread) => compactions.push(thread),
            Err(error) => tracing::warn!(%error, "old data is compacted later"),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let compactions = std::mem::take(&mut *lock(&self.compactions));
        if !compactions.is_empty() {
            self.db.cancel_all_background_work(false);
        }
        for thread in compactions {
            if thread.join().is_err() {
                tracing::error!("the compaction after a snapshot panicked");
            }
        }
    }
}

fn open_database(path: &Path, options: &Options, is_new: bool) -> Result<Arc<DB>, OpenError> {
    let mut of_database = options::of_database(options);
    of_database.create_if_missing(is_new);
    of_database.create_missing_column_families(is_new);
    let families = [
        ColumnFamilyDescriptor::new("default", rocksdb::Options::default()),
        ColumnFamilyDescriptor::new(STATE, options::of_state(options)?),
    ];
    match DB::open_cf_descriptors(&of_database, path, families) {
        Ok(db) => Ok(Arc::new(db)),
        Err(error) if error.kind() == ErrorKind::Corruption => Err(OpenError::Damaged {
            what: error.to_string(),
        }),
        Err(error) => Err(fault("the state cannot be opened", &error).into()),
    }
}

fn check_owner(db: &DB, dir: &Path, owner: &Owner) -> Result<(), OpenError> {
    let read = |key| {
        db.get(key)
            .map_err(|error| fault("the owner cannot be read", &error))
    };
    let format = read(FORMAT)?;
    if format.as_deref() != Some(&FORMAT_NUMBER.to_be_bytes()) {
        return Err(OpenError::Damaged {
            what: format!("its format is {format:?}, this program knows {FORMAT_NUMBER}"),
        });
    }
    let found: Option<Owner> = read(OWNER)?.and_then(|bytes| postcard::from_bytes(&bytes).ok());
    match found {
        Some(found) if found == *owner => Ok(()),
        Some(found) => Err(OpenError::Foreign {
            dir: dir.display().to_string(),
            found: found.to_string(),
            expected: owner.to_string(),
        }),
        None => Err(OpenError::Damaged {
            what: "it does not say whose it is".to_owned(),
        }),
    }
}

/// The Raft log has all that a kill takes from the write buffers, synced.
fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// A fault of this machine.
pub(super) fn fault(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault(format!("{what}: {error}"))
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
