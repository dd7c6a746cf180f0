//! The membership plan: a pure function from how the cluster stands to the one next step.
//!
//! Only the leader acts on it. It never shrinks the set of voters for a node that is merely silent:
//! that is for an operator, or for the node itself when it comes back under a new id.
use std::collections::{BTreeMap, BTreeSet};

use model::id::NodeId;

/// What the plan looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) me: u64,
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
    /// How far each follower has replicated.
    pub(crate) replicated: BTreeMap<NodeId, u64>,
    pub(crate) last_log_index: u64,
    /// Nodes that the log calls gone for ever.
    pub(crate) retired: BTreeSet<NodeId>,
    /// Nodes that gossip sees alive.
    pub(crate) alive: BTreeSet<NodeId>,
    /// How many voters there should be.
    pub(crate) voters_wanted: usize,
}

/// The one next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These are the voters from now on; `promoted` gets the seal key first.
    SetVoters {
        voters: BTreeSet<NodeId>,
        promoted: Option<NodeId>,
    },
    /// A retired node that no longer votes is forgotten.
    Remove(NodeId),
}

/// A learner that lags by more entries than this is not promoted yet.
pub(crate) const PROMOTION_LAG_MAX: u64 = 1_000;

/// What to do next; `None` when all is as it should be.
pub(crate) fn next(standing: &Standing) -> Option<Step> {
    retire(standing).or_else(|| promote(standing))
}

/// A retired voter leaves as soon as those that stay and live are a majority without it.
fn retire(standing: &Standing) -> Option<Step> {
    let stay: BTreeSet<NodeId> = standing
        .voters
        .difference(&standing.retired)
        .copied()
        .collect();
    if stay.len() < standing.voters.len() {
        let alive = stay.intersection(&standing.alive).count();
        return (!stay.is_empty() && alive * 2 > stay.len()).then_some(Step::SetVoters {
            voters: stay,
            promoted: None,
        });
    }
    standing
        .learners
        .intersection(&standing.retired)
        .next()
        .copied()
        .map(Step::Remove)
}

fn promote(standing: &Standing) -> Option<Step> {
    if standing.voters.len() >= standing.voters_wanted {
        return None;
    }
    let caught_up = |node: &&NodeId| {
        let replicated = standing.replicated.get(*node).copied().unwrap_or(0);
        replicated + PROMOTION_LAG_MAX >= standing.last_log_index
    };
    let node = standing
        .learners
        .intersection(&standing.alive)
        .filter(caught_up)
        .max_by_key(|node| standing.replicated.get(*node).copied())?;
    let mut voters = standing.voters.clone();
    voters.insert(*node);
    Some(Step::SetVoters {
        voters,
        promoted: Some(*node),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn standing(voters: &[u64], learners: &[u64]) -> Standing {
        let mut alive = ids(voters);
        alive.extend(ids(learners));
        Standing {
            me: 1,
            voters: ids(voters),
            learners: ids(learners),
            replicated: alive.iter().map(|id| (*id, 5_000)).collect(),
            last_log_index: 5_000,
            retired: BTreeSet::new(),
            alive,
            voters_wanted: 3,
        }
    }

    fn voters(step: Option<Step>) -> Option<BTreeSet<NodeId>> {
        match step {
            Some(Step::SetVoters { voters, .. }) => Some(voters),
            Some(Step::Remove(_)) | None => None,
        }
    }

    #[test]
    fn a_learner_that_caught_up_votes_while_voters_are_wanted() {
        assert_eq!(voters(next(&standing(&[1], &[2]))), Some(ids(&[1, 2])));
        assert_eq!(next(&standing(&[1, 2, 3], &[4])), None);
    }

    #[test]
    fn a_learner_that_lags_or_is_silent_waits() {
        let mut lagging = standing(&[1], &[2]);
        lagging.replicated.insert(NodeId(2), 3_999);
        assert_eq!(next(&lagging), None);
        let mut silent = standing(&[1], &[2]);
        silent.alive.remove(&NodeId(2));
        assert_eq!(next(&silent), None);
    }

    #[test]
    fn a_retired_voter_leaves_then_is_forgotten() {
        let mut gone = standing(&[1, 2, 3], &[4]);
        gone.retired = ids(&[3]);
        gone.alive.remove(&NodeId(3));
        assert_eq!(voters(next(&gone)), Some(ids(&[1, 2])));
        let mut after = standing(&[1, 2], &[3, 4]);
        after.retired = ids(&[3]);
        assert_eq!(next(&after), Some(Step::Remove(NodeId(3))));
    }

    #[test]
    fn nobody_leaves_when_the_rest_could_not_decide() {
        let mut cut = standing(&[1, 2, 3], &[]);
        cut.retired = ids(&[3]);
        cut.alive = ids(&[1]);
        assert_eq!(next(&cut), None);
    }

    #[test]
    fn a_silent_voter_is_never_removed() {
        let mut silent = standing(&[1, 2, 3], &[4]);
        silent.alive = ids(&[1, 2, 4]);
        assert_eq!(next(&silent), None);
    }
}
