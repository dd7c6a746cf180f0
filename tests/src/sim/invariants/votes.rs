//! A node gives one vote in a term, never goes back to an earlier one, and has it on its disk before
//! anybody hears of it; also across power cuts.
use std::collections::BTreeMap;

use crate::sim::wire::Vote;

#[derive(Default)]
pub(super) struct Votes {
    /// By voter: the newest vote that was on its disk.
    synced: BTreeMap<u64, Vote>,
    /// By voter and term: who was told to have the vote.
    granted: BTreeMap<(u64, u64), u64>,
}

impl Votes {
    pub(super) fn on_synced(&mut self, voter: u64, vote: Vote) -> Result<(), String> {
        let Some(known) = self.synced.insert(voter, vote) else {
            return Ok(());
        };
        let is_back = vote.term < known.term;
        // Who hears from the term's leader, whom a quorum elected, notes that instead.
        let is_other = vote.term == known.term && vote.node != known.node && !vote.committed;
        if is_back || is_other {
            return Err(format!(
                "node {voter} had {known:?} on its disk and now has {vote:?}"
            ));
        }
        Ok(())
    }

    pub(super) fn on_granted(&mut self, voter: u64, vote: Vote) -> Result<(), String> {
        match self.granted.insert((voter, vote.term), vote.node) {
            Some(known) if known != vote.node => Err(format!(
                "node {voter} gave its vote in term {} to node {known} and to node {}",
                vote.term, vote.node
            )),
            _ => Ok(()),
        }
    }
}

/// What was told is on the disk, or something newer is.
pub(super) fn is_durable(voter: u64, told: Vote, durable: Option<Vote>) -> Result<(), String> {
    let is_there = durable.is_some_and(|durable| {
        let is_it = durable.node == told.node || durable.committed;
        durable.term > told.term || durable.term == told.term && is_it
    });
    if is_there {
        return Ok(());
    }
    Err(format!(
        "node {voter} told of {told:?} and has {durable:?} on its disk"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(term: u64, node: u64) -> Vote {
        Vote {
            term,
            node,
            committed: false,
        }
    }

    #[test]
    fn a_second_vote_is_found() {
        let mut it = Votes::default();
        assert!(it.on_granted(1, vote(3, 2)).is_ok());
        assert!(it.on_granted(1, vote(3, 2)).is_ok());
        assert!(it.on_granted(2, vote(3, 3)).is_ok());
        assert!(it.on_granted(1, vote(3, 3)).is_err());
    }

    #[test]
    fn a_vote_that_goes_back_or_changes_is_found() {
        let mut it = Votes::default();
        assert!(it.on_synced(1, vote(3, 2)).is_ok());
        assert!(it.on_synced(1, vote(4, 1)).is_ok());
        assert!(it.on_synced(1, vote(3, 2)).is_err());
        assert!(it.on_synced(2, vote(3, 2)).is_ok());
        assert!(it.on_synced(2, vote(3, 1)).is_err());
        let elected = Vote {
            committed: true,
            ..vote(5, 3)
        };
        assert!(it.on_synced(3, vote(5, 2)).is_ok());
        assert!(it.on_synced(3, elected).is_ok());
    }

    #[test]
    fn a_vote_that_is_told_too_early_is_found() {
        assert!(is_durable(1, vote(3, 2), Some(vote(3, 2))).is_ok());
        assert!(is_durable(1, vote(3, 2), Some(vote(4, 1))).is_ok());
        assert!(is_durable(1, vote(3, 2), Some(vote(2, 2))).is_err());
        assert!(is_durable(1, vote(3, 2), None).is_err());
    }
}
