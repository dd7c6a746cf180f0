//! Recounts what is kept as counts and compares, on a view.
//!
//! Everything that is stored twice is walked from both ends: each list entry must have its edge,
//! each edge its list entries, each counter the size of its set. Walks go through whole kinds of
//! keys in order, several beside each other, since all that belongs to an object is sorted by its
//! id: memory holds one bounded bundle of point reads, however large the store is.
mod conversations;
mod cursor;
mod sessions;
mod totals;
mod users;
mod videos;

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Fault;
use crate::id::VideoId;
use crate::key::{self, Key};
use crate::read::Read;
use crate::record::{Record, Totals};
use crate::view::View;

/// One thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which object and which count or index, in words: `video 1025 favorite_count`.
    pub what: String,
    pub stored: String,
    pub recounted: String,
}

/// What a recount looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many objects were recounted, by noun.
    pub users: u64,
    pub videos: u64,
    pub comments: u64,
    pub follows: u64,
    pub favorites: u64,
    pub messages: u64,
    /// The first thousand differences.
    pub differences: Vec<Difference>,
    pub difference_count: u64,
}

/// How many differences are told in full.
const DIFFERENCES_MAX: usize = 1000;
/// How many point reads wait to be done in one go.
const LOOKS_MAX: usize = 512;

/// Recounts everything in `view`. Memory stays bounded: it walks key ranges in order.
///
/// # Errors
/// [`Fault`] when this machine could not read its state, or a record is damaged beyond reading.
pub fn recount(view: &impl View) -> Result<Report, Fault> {
    let totals = view.read(&key::Watermarks {})?.unwrap_or_default();
    let mut audit = Audit {
        view,
        totals,
        report: Report::default(),
        looks: Vec::new(),
        seen: Totals::default(),
        wrong_favorites: BTreeMap::new(),
    };
    videos::recount(&mut audit)?; // first: it tells the others which like counts are wrong
    users::recount(&mut audit)?;
    conversations::recount(&mut audit)?;
    sessions::recount(&mut audit)?;
    totals::recount(&mut audit)?;
    audit.do_looks()?;
    Ok(audit.report)
}

/// How an absent record is told.
const NOTHING: &str = "nothing";

type Then<'v, V> = Box<dyn FnOnce(&mut Audit<'v, V>, Option<&[u8]>) -> Result<(), Fault> + 'v>;

/// A recount at work.
struct Audit<'v, V> {
    view: &'v V,
    /// As stored.
    totals: Totals,
    /// As counted on the way.
    seen: Totals,
    report: Report,
    /// Point reads that wait, each with what to do with its value.
    looks: Vec<(Vec<u8>, Then<'v, V>)>,
    /// Videos whose stored like count is wrong, with the true one, as many as are reported: so that
    /// one damaged count is not reported for its author too.
    wrong_favorites: BTreeMap<VideoId, u64>,
}

impl<'v, V: View> Audit<'v, V> {
    /// Notes a difference, if there is one.
    fn compare<T: fmt::Debug + PartialEq>(
        &mut self,
        what: impl FnOnce() -> String,
        stored: &T,
        recounted: &T,
    ) {
        if stored != recounted {
            self.differ(what(), format!("{stored:?}"), format!("{recounted:?}"));
        }
    }

    fn differ(&mut self, what: String, stored: String, recounted: String) {
        self.report.difference_count += 1;
        if self.report.differences.len() < DIFFERENCES_MAX {
            self.report.differences.push(Difference {
                what,
                stored,
                recounted,
            });
        }
    }

    /// Reads `key` soon, together with others, and goes on with its record.
    fn look<K: Key>(
        &mut self,
        key: &K,
        then: impl FnOnce(&mut Self, Option<K::Value>) -> Result<(), Fault> + 'v,
    ) -> Result<(), Fault> {
        let then: Then<'v, V> = Box::new(move |audit, bytes| {
            let value = bytes.map(K::Value::decode).transpose();
            then(
                audit,
                value.map_err(|Fault(why)| Fault(format!("{}: {why}", K::NAME)))?,
            )
        });
        self.looks.push((key.encode(), then));
        if self.looks.len() >= LOOKS_MAX {
            self.do_looks()
        } else {
            Ok(())
        }
    }

    /// `source` says that `value` stands under `key`.
    fn expect<K>(&mut self, source: &impl Key, key: &K, value: K::Value) -> Result<(), Fault>
    where
        K: Key,
        K::Value: fmt::Debug + PartialEq + 'v,
    {
        let (source, target) = (source.encode(), key.encode());
        self.look(key, move |audit, stored| {
            if stored.as_ref() != Some(&value) {
                let what = format!(
                    "{}, as of {}",
                    key::describe(&target),
                    key::describe(&source)
                );
                let stored = stored.map_or_else(|| NOTHING.to_owned(), |it| format!("{it:?}"));
                audit.differ(what, stored, format!("{value:?}"));
            }
            Ok(())
        })
    }

    /// `source` says that there is something under `key` that passes `test`.
    fn expect_that<K: Key>(
        &mut self,
        source: &impl Key,
        key: &K,
        claim: &'static str,
        test: impl FnOnce(&K::Value) -> bool + 'v,
    ) -> Result<(), Fault>
    where
        K::Value: fmt::Debug,
    {
        let (source, target) = (source.encode(), key.encode());
        self.look(key, move |audit, stored| {
            if !stored.as_ref().is_some_and(test) {
                let what = format!(
                    "{}, as of {}",
                    key::describe(&target),
                    key::describe(&source)
                );
                let stored = stored.map_or_else(|| NOTHING.to_owned(), |it| format!("{it:?}"));
                audit.differ(what, stored, claim.to_owned());
            }
            Ok(())
        })
    }

    fn do_looks(&mut self) -> Result<(), Fault> {
        while !self.looks.is_empty() {
            let (keys, thens): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.looks).into_iter().unzip();
            let values = self.view.get_many(&keys)?;
            for (value, then) in values.iter().zip(thens) {
                then(self, value.as_deref())?;
            }
        }
        Ok(())
    }
}
