//! What anybody applies is on the disks of a quorum of voters, synced. Learners do not count.
//!
//! Which voters had to have it is not always certain from outside: a leader counts by the newest
//! membership in its own log, committed or not. So it is a violation when no membership that may
//! have been in force has a quorum.
use std::collections::BTreeMap;

use crate::sim::ledger::{Held, Ledger};
use crate::sim::wire::Configs;

#[derive(Default)]
pub(super) struct Quorum {
    /// Memberships that were applied, by index.
    in_force: BTreeMap<u64, Configs>,
}

impl Quorum {
    /// The newest membership that anybody applied.
    pub(super) fn newest(&self) -> Option<&Configs> {
        self.in_force.values().next_back()
    }

    /// The first application of an index anywhere.
    pub(super) fn on_first(
        &mut self,
        index: u64,
        held: &Held,
        ledgers: &BTreeMap<u64, Ledger>,
    ) -> Result<(), String> {
        if let Some(configs) = &held.configs {
            self.in_force.insert(index, configs.clone());
        }
        let before = self.in_force.range(..=index).next_back();
        let later = ledgers.values().flat_map(|ledger| {
            let later = ledger.written.entries.range(index..);
            later.filter_map(|(_, held)| held.configs.as_ref())
        });
        let mut possible = before.map(|(_, configs)| configs).into_iter().chain(later);
        let has_it = |node: &u64| {
            let ledger = ledgers.get(node);
            ledger.is_some_and(|ledger| ledger.is_durable(index, held.stamp))
        };
        let is_quorum = |configs: &Configs| {
            configs.iter().all(|voters| {
                voters.iter().filter(|voter| has_it(voter)).count() * 2 > voters.len()
            })
        };
        if possible.any(is_quorum) {
            return Ok(());
        }
        let holders: Vec<_> = ledgers.keys().filter(|node| has_it(node)).collect();
        Err(format!(
            "index {index} is applied and durable only on {holders:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn held(configs: Option<Configs>) -> Held {
        Held {
            term: 1,
            stamp: 1,
            configs,
        }
    }

    #[test]
    fn a_minority_a_learner_and_an_unsynced_log_are_no_quorum() {
        let mut it = Quorum::default();
        let founding = held(Some(vec![BTreeSet::from([1, 2, 3])]));
        let mut ledgers = BTreeMap::from([1, 2, 3, 4].map(|node| (node, Ledger::default())));
        let mut give = |node: u64, index: u64, held: &Held, is_synced: bool| {
            let ledger = ledgers.get_mut(&node).unwrap();
            ledger.append(index, held.clone());
            if is_synced {
                ledger.sync();
            }
            ledgers
                .values()
                .map(|it| it.written.entries.len())
                .sum::<usize>()
        };
        give(1, 0, &founding, true);
        give(2, 0, &founding, true);
        give(1, 1, &held(None), true);
        give(4, 1, &held(None), true);
        give(2, 1, &held(None), false);
        assert!(it.on_first(0, &founding, &ledgers).is_ok());
        assert!(it.on_first(1, &held(None), &ledgers).is_err());
        ledgers.get_mut(&2).unwrap().sync();
        assert!(it.on_first(1, &held(None), &ledgers).is_ok());
    }
}
