//! A walk through all keys of one kind beside the walk through their owners.
use std::iter::Peekable;

use super::{Audit, NOTHING};
use crate::error::Fault;
use crate::key::{self, Key};
use crate::read::Read;
use crate::view::View;

type Entries<'v, K> = Box<dyn Iterator<Item = Result<(K, <K as Key>::Value), Fault>> + 'v>;

/// Keys of one kind, in order, taken owner by owner.
pub(super) struct Cursor<'v, K: Key, O> {
    entries: Peekable<Entries<'v, K>>,
    owner: fn(&K) -> O,
}

impl<'v, K: Key + 'v, O: Ord> Cursor<'v, K, O> {
    pub(super) fn new(view: &'v impl View, owner: fn(&K) -> O) -> Self {
        let entries: Entries<'v, K> = Box::new(view.list((), None));
        Self {
            entries: entries.peekable(),
            owner,
        }
    }

    /// Goes through what belongs to `owner`. Owners come in order, so whatever stands before has
    /// none and is reported.
    pub(super) fn of<V: View>(
        &mut self,
        owner: &O,
        audit: &mut Audit<'v, V>,
        mut each: impl FnMut(&mut Audit<'v, V>, K, K::Value) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.report_orphans(Some(owner), audit)?;
        while let Some((key, value)) = self.next_if(|it| it == owner)? {
            each(audit, key, value)?;
        }
        Ok(())
    }

    /// Reports what belongs to nobody, after the last owner.
    pub(super) fn finish<V: View>(mut self, audit: &mut Audit<'v, V>) -> Result<(), Fault> {
        self.report_orphans(None, audit)
    }

    fn report_orphans<V: View>(
        &mut self,
        before: Option<&O>,
        audit: &mut Audit<'v, V>,
    ) -> Result<(), Fault> {
        while let Some((key, _)) = self.next_if(|it| before.is_none_or(|before| it < before))? {
            let what = key::describe(&key.encode());
            audit.differ(
                what,
                "stored".to_owned(),
                format!("{NOTHING}: its owner is not stored"),
            );
        }
        Ok(())
    }

    fn next_if(&mut self, wanted: impl Fn(&O) -> bool) -> Result<Option<(K, K::Value)>, Fault> {
        let owner = self.owner;
        let next = self.entries.next_if(|entry| match entry {
            Ok((key, _)) => wanted(&owner(key)),
            Err(_) => true,
        });
        next.transpose()
    }
}
