//! A view is a RocksDB snapshot that keeps its database open.
use std::sync::Arc;

use model::error::Fault;
use model::view::{Pair, View};
use rocksdb::{BoundColumnFamily, DB, IteratorMode, ReadOptions, SnapshotWithThreadMode};
use self_cell::self_cell;

use super::durable::Record;
use super::options::PREFIX_BYTES;
use super::{key, rocks};

/// The column family of the state.
pub(super) const STATE: &str = "state";

pub(super) struct Held<'db> {
    pub(super) snapshot: SnapshotWithThreadMode<'db, DB>,
    pub(super) state: Arc<BoundColumnFamily<'db>>,
}

self_cell!(
    /// A snapshot borrows its database; this holds both.
    pub(super) struct RocksView {
        owner: Arc<DB>,
        #[covariant]
        dependent: Held,
    }
);

impl RocksView {
    pub(super) fn take(db: &Arc<DB>) -> Result<RocksView, Fault> {
        RocksView::try_new(Arc::clone(db), |db| {
            Ok(Held {
                snapshot: db.snapshot(),
                state: state_of(db)?,
            })
        })
    }

    /// What was committed last in this view.
    pub(super) fn record(&self) -> Result<Record, Fault> {
        let held = self.borrow_dependent();
        let record = held
            .snapshot
            .get_cf(&held.state, key::RECORD)
            .map_err(|error| rocks::fault("the last commit cannot be read", &error))?;
        Record::decode(&record.unwrap_or_default())
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.borrow_dependent().snapshot);
        options
    }
}

/// The handle of the state's column family.
pub(super) fn state_of(db: &DB) -> Result<Arc<BoundColumnFamily<'_>>, Fault> {
    db.cf_handle(STATE)
        .ok_or_else(|| Fault("the database has no state in it".to_owned()))
}

impl View for RocksView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if !key::is_models(key) {
            return Ok(None);
        }
        let held = self.borrow_dependent();
        held.snapshot
            .get_cf(&held.state, key)
            .map_err(|error| rocks::fault("a key cannot be read", &error))
    }

    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        let Some((begin, end)) = key::scan_bounds(prefix, from) else {
            return Box::new(std::iter::empty());
        };
        let held = self.borrow_dependent();
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        // The filters know whole prefixes only. For a shorter one they would hide what is there.
        if prefix.len() >= PREFIX_BYTES {
            options.set_prefix_same_as_start(true);
        } else {
            options.set_total_order_seek(true);
        }
        let mode = IteratorMode::From(&begin, rocksdb::Direction::Forward);
        let pairs = held.snapshot.iterator_cf_opt(&held.state, options, mode);
        Box::new(pairs.map(|pair| match pair {
            Ok((key, value)) => Ok((key.into_vec(), value.into_vec())),
            Err(error) => Err(rocks::fault("keys cannot be scanned", &error)),
        }))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        if !keys.iter().all(|key| key::is_models(key)) {
            return keys.iter().map(|key| self.get(key)).collect();
        }
        let db = self.borrow_owner();
        let state = &self.borrow_dependent().state;
        let options = self.options();
        let values = db.batched_multi_get_cf_opt(state, keys, keys.is_sorted(), &options);
        let values = values.into_iter().map(|value| {
            value
                .map(|value| value.map(|value| value.to_vec()))
                .map_err(|error| rocks::fault("keys cannot be read", &error))
        });
        values.collect()
    }
}
