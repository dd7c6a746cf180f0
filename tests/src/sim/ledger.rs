//! What each node's disk really holds, in two tiers: written, and synced. Kept beside the log, so
//! that invariants can be judged by what is on disks and not by what nodes say.
use std::collections::BTreeMap;

use super::wire::{Configs, Vote};

/// One entry on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) term: u64,
    pub(crate) stamp: u64,
    pub(crate) configs: Option<Configs>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tier {
    pub(crate) entries: BTreeMap<u64, Held>,
    pub(crate) vote: Option<Vote>,
}

#[derive(Clone, Debug)]
enum Change {
    Entry(u64, Held),
    Vote(Vote),
    Truncate(u64),
    Purge(u64),
    /// A marker that nothing is judged by; it is a write like others.
    Committed,
}

/// One node's disk.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) written: Tier,
    pub(crate) synced: Tier,
    pending: Vec<Change>,
    /// Up to here a durable state stands for the entries.
    pub(crate) covered: Option<u64>,
}

impl Tier {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Entry(index, held) => {
                self.entries.insert(*index, held.clone());
            }
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Truncate(index) => {
                self.entries.split_off(index);
            }
            Change::Purge(index) => self.entries = self.entries.split_off(&(index + 1)),
            Change::Committed => {}
        }
    }
}

impl Tier {
    /// The newest membership that is in the log.
    pub(crate) fn membership(&self) -> Option<&Configs> {
        let mut newest_first = self.entries.values().rev();
        newest_first.find_map(|held| held.configs.as_ref())
    }
}

impl Ledger {
    fn change(&mut self, change: Change) {
        self.written.apply(&change);
        self.pending.push(change);
    }

    pub(crate) fn append(&mut self, index: u64, held: Held) {
        self.change(Change::Entry(index, held));
    }

    pub(crate) fn vote(&mut self, vote: Vote) {
        self.change(Change::Vote(vote));
    }

    pub(crate) fn truncate(&mut self, index: u64) {
        self.change(Change::Truncate(index));
    }

    pub(crate) fn purge(&mut self, index: u64) {
        self.change(Change::Purge(index));
    }

    pub(crate) fn committed(&mut self) {
        self.change(Change::Committed);
    }

    /// Everything that is written is on the disk now.
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            self.synced.apply(&change);
        }
    }

    /// The process died, the machine did not: nothing written is lost.
    pub(crate) fn kill(&mut self) {
        self.sync();
    }

    /// Of what was not synced only so many writes are left; tells how many are gone.
    pub(crate) fn power_cut(&mut self, left: usize) -> usize {
        let pending = std::mem::take(&mut self.pending);
        for change in pending.iter().take(left) {
            self.synced.apply(change);
        }
        self.written = self.synced.clone();
        pending.len().saturating_sub(left)
    }

    /// Would this entry be there after a power cut?
    pub(crate) fn is_durable(&self, index: u64, stamp: u64) -> bool {
        self.covered.is_some_and(|covered| index <= covered)
            || self
                .synced
                .entries
                .get(&index)
                .is_some_and(|held| held.stamp == stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(term: u64) -> Held {
        Held {
            term,
            stamp: term,
            configs: None,
        }
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_a_kill_does_not() {
        let mut ledger = Ledger::default();
        ledger.append(1, held(1));
        ledger.sync();
        ledger.append(2, held(1));
        assert!(ledger.is_durable(1, 1) && !ledger.is_durable(2, 1));
        assert_eq!(ledger.power_cut(0), 1);
        assert!(!ledger.written.entries.contains_key(&2));
        ledger.append(2, held(2));
        ledger.kill();
        assert!(ledger.is_durable(2, 2));
        ledger.truncate(2);
        ledger.sync();
        assert!(!ledger.is_durable(2, 2));
        ledger.append(2, held(3));
        ledger.append(3, held(3));
        assert_eq!(ledger.power_cut(1), 1);
        assert!(ledger.is_durable(2, 3) && !ledger.is_durable(3, 3));
    }
}
