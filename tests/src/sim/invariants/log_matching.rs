//! Entries of the same index and term are the same everywhere, and an entry that was applied once
//! is what everybody applies there, for ever.
use std::collections::BTreeMap;

use crate::sim::ledger::Held;
use crate::sim::wire::LogId;

#[derive(Default)]
pub(super) struct LogMatching {
    /// Every entry that ever was in a log.
    seen: BTreeMap<LogId, u64>,
    /// By index: term and stamp of what was applied.
    applied: BTreeMap<u64, (u64, u64)>,
    /// By node: up to where it applied its own log.
    applied_by: BTreeMap<u64, u64>,
}

impl LogMatching {
    pub(super) fn on_append(&mut self, node: u64, id: LogId, held: &Held) -> Result<(), String> {
        match self.seen.insert(id, held.stamp) {
            Some(known) if known != held.stamp => {
                Err(format!("{id:?} on node {node} is not what it is elsewhere"))
            }
            _ => Ok(()),
        }
    }

    /// What a node applied it never takes out of its log again, except by purging.
    pub(super) fn on_truncate(&mut self, node: u64, from: u64) -> Result<(), String> {
        match self.applied_by.get(&node) {
            Some(applied) if from <= *applied => Err(format!(
                "node {node} applied up to {applied} and cuts its log off at {from}"
            )),
            _ => Ok(()),
        }
    }

    /// True when it is the first to apply this index.
    pub(super) fn on_applied(
        &mut self,
        node: u64,
        index: u64,
        held: &Held,
    ) -> Result<bool, String> {
        self.applied_by.insert(node, index);
        let this = (held.term, held.stamp);
        match self.applied.insert(index, this) {
            None => Ok(true),
            Some(known) if known == this => Ok(false),
            Some(known) => Err(format!(
                "index {index} was applied as term {} and is term {} on node {node}",
                known.0, held.term
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(term: u64, stamp: u64) -> Held {
        Held {
            term,
            stamp,
            configs: None,
        }
    }

    #[test]
    fn entries_that_differ_are_found() {
        let mut it = LogMatching::default();
        let id = LogId { term: 2, index: 7 };
        assert!(it.on_append(1, id, &held(2, 5)).is_ok());
        assert!(it.on_append(2, id, &held(2, 5)).is_ok());
        assert!(it.on_append(3, id, &held(2, 6)).is_err());
    }

    #[test]
    fn a_committed_entry_that_changes_or_goes_is_found() {
        let mut it = LogMatching::default();
        assert_eq!(it.on_applied(1, 7, &held(2, 5)), Ok(true));
        assert_eq!(it.on_applied(2, 7, &held(2, 5)), Ok(false));
        assert!(it.on_applied(3, 7, &held(3, 9)).is_err());
        assert!(it.on_truncate(1, 8).is_ok());
        assert!(it.on_truncate(1, 7).is_err());
        assert!(it.on_truncate(9, 7).is_ok());
    }
}
