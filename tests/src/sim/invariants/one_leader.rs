//! At most one leader in a term: a vote that is marked as committed names who leads.
use std::collections::BTreeMap;

use crate::sim::wire::Vote;

#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<u64, u64>,
}

impl OneLeader {
    /// True when this tells of a leader that was not known.
    pub(super) fn on_vote(&mut self, vote: Vote) -> Result<bool, String> {
        if !vote.committed {
            return Ok(false);
        }
        match self.leaders.insert(vote.term, vote.node) {
            None => Ok(true),
            Some(known) if known == vote.node => Ok(false),
            Some(known) => Err(format!(
                "in term {} both node {known} and node {} lead",
                vote.term, vote.node
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_of_a_term_is_found() {
        let vote = |term, node, committed| Vote {
            term,
            node,
            committed,
        };
        let mut it = OneLeader::default();
        assert_eq!(it.on_vote(vote(1, 1, false)), Ok(false));
        assert_eq!(it.on_vote(vote(1, 2, true)), Ok(true));
        assert_eq!(it.on_vote(vote(1, 2, true)), Ok(false));
        assert_eq!(it.on_vote(vote(2, 1, true)), Ok(true));
        assert!(it.on_vote(vote(2, 3, true)).is_err());
    }
}
