//! Availability: when no write succeeded although clients tried, and how long after a fault's end
//! writes succeeded again; and who led when.
use checkers::history::Outcome;

use super::operations::Operation;
use crate::evidence::{Phase, Sample};

/// A pause of successful writes longer than this is a gap.
pub(super) const GAP_NS: u64 = 1_000_000_000;

/// A time in which clients tried to write and no write succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

impl Gap {
    pub(super) fn length_ns(self) -> u64 {
        self.until_ns - self.from_ns
    }

    /// What of it lies within the given time.
    pub(super) fn within_ns(self, from_ns: u64, until_ns: u64) -> u64 {
        let until = self.until_ns.min(until_ns);
        until.saturating_sub(self.from_ns.max(from_ns))
    }
}

/// When writes were tried and when they succeeded.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    /// Invocation and end of every write; without an end the last moment of all.
    tried: Vec<(u64, u64)>,
    /// Ends of those that succeeded, sorted.
    ok_ns: Vec<u64>,
    last_tried_ns: u64,
}

impl Writes {
    pub(super) fn of(operations: &[Operation<'_>], end_ns: u64) -> Self {
        let writes = operations.iter().filter(|operation| operation.is_write);
        let tried: Vec<(u64, u64)> = writes
            .clone()
            .map(|write| (write.invoked_ns, write.ended_ns.unwrap_or(end_ns)))
            .collect();
        let mut ok_ns: Vec<u64> = writes
            .filter(|write| write.outcome == Outcome::Ok)
            .filter_map(|write| write.ended_ns)
            .collect();
        ok_ns.sort_unstable();
        let last_tried_ns = tried.iter().map(|&(invoked, _)| invoked).max();
        Self {
            tried,
            ok_ns,
            last_tried_ns: last_tried_ns.unwrap_or(0),
        }
    }

    /// All gaps, in order of time.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let Some(first) = self.tried.iter().map(|&(invoked, _)| invoked).min() else {
            return Vec::new();
        };
        let mut gaps = Vec::new();
        let mut from_ns = first;
        let ends = self.ok_ns.iter().copied();
        // When clients stop for good that is no gap, so the last one ends with their last attempt.
        for until_ns in ends.chain([self.last_tried_ns]) {
            if until_ns.saturating_sub(from_ns) > GAP_NS {
                gaps.extend(self.gap(from_ns, until_ns));
            }
            from_ns = from_ns.max(until_ns);
        }
        gaps
    }

    /// The gap between two successes, if it is one once the time before the first attempt is left
    /// out: a client that does nothing is no outage.
    fn gap(&self, from_ns: u64, until_ns: u64) -> Option<Gap> {
        let attempts = self.tried.iter();
        let began_ns = attempts
            .filter(|&&(invoked, ended)| invoked < until_ns && ended > from_ns)
            .map(|&(invoked, _)| invoked.max(from_ns))
            .min()?;
        let gap = Gap {
            from_ns: began_ns,
            until_ns,
        };
        (gap.length_ns() > GAP_NS).then_some(gap)
    }

    /// How long after this moment a write succeeded.
    pub(super) fn recovery(&self, healed_ns: u64) -> Recovery {
        let next = self.ok_ns.partition_point(|&ok| ok < healed_ns);
        match self.ok_ns.get(next) {
            Some(ok) => Recovery::After(ok - healed_ns),
            None if self.last_tried_ns > healed_ns => Recovery::Never,
            None => Recovery::Untried,
        }
    }
}

/// What came of writes after a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Recovery {
    /// Nobody tried to write any more.
    Untried,
    /// The first success came so many nanoseconds later.
    After(u64),
    /// Clients tried and none succeeded.
    Never,
}

/// A leader was seen that was not the leader before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reign {
    pub(super) time_ns: u64,
    pub(super) node: String,
    pub(super) term: u64,
}

/// Who led from when on, as the nodes said of themselves; the first is the first leader seen, every
/// further one is a change.
pub(super) fn reigns(samples: &[Sample]) -> Vec<Reign> {
    let mut said: Vec<(&Sample, u64)> = samples
        .iter()
        .filter_map(|sample| {
            let status = sample.status.as_ref()?;
            (status.role == "leader").then_some((sample, status.term))
        })
        .collect();
    said.sort_by_key(|(sample, _)| sample.time_ns);
    let mut reigns: Vec<Reign> = Vec::new();
    for (sample, term) in said {
        // A deposed leader that does not know it yet speaks of an older term.
        let is_new = reigns
            .last()
            .is_none_or(|last| term > last.term || (term == last.term && sample.node != last.node));
        let is_known = reigns
            .iter()
            .any(|reign| reign.term == term && reign.node == sample.node);
        if is_new && !is_known {
            reigns.push(Reign {
                time_ns: sample.time_ns,
                node: sample.node.clone(),
                term,
            });
        }
    }
    reigns
}

/// The phase that this moment belongs to.
pub(super) fn phase_at(phases: &[Phase], time_ns: u64) -> Option<&Phase> {
    phases
        .iter()
        .find(|phase| (phase.from_ns..phase.until_ns).contains(&time_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn writes(tried: &[(u64, u64)], ok: &[u64]) -> Writes {
        Writes {
            tried: tried
                .iter()
                .map(|&(a, b)| (a * SECOND, b * SECOND))
                .collect(),
            ok_ns: ok.iter().map(|ok| ok * SECOND).collect(),
            last_tried_ns: tried.iter().map(|&(a, _)| a).max().unwrap_or(0) * SECOND,
        }
    }

    #[test]
    fn a_gap_needs_somebody_who_tries() {
        let idle = writes(&[(0, 1), (8, 9)], &[1, 9]);
        assert_eq!(idle.gaps(), Vec::new());
        let blocked = writes(&[(0, 1), (2, 7), (8, 9)], &[1, 9]);
        let gap = Gap {
            from_ns: 2 * SECOND,
            until_ns: 9 * SECOND,
        };
        assert_eq!(blocked.gaps(), vec![gap]);
    }

    #[test]
    fn an_outage_to_the_end_is_a_gap() {
        let dead = writes(&[(0, 1), (1, 6), (6, 11)], &[1]);
        assert_eq!(dead.gaps().len(), 1);
        assert_eq!(dead.recovery(2 * SECOND), Recovery::Never);
        assert_eq!(dead.recovery(SECOND / 2), Recovery::After(SECOND / 2));
        assert_eq!(dead.recovery(7 * SECOND), Recovery::Untried);
    }

    #[test]
    fn a_deposed_leader_is_no_change() {
        let sample = |time_ns, node: &str, term| Sample {
            time_ns,
            node: node.into(),
            status: Some(crate::evidence::NodeStatus {
                role: "leader".into(),
                term,
                applied_index: 1,
                snapshot_index: 0,
            }),
        };
        let samples = [
            sample(1, "n1", 1),
            sample(2, "n2", 2),
            sample(3, "n1", 1),
            sample(4, "n2", 2),
        ];
        let seen = reigns(&samples);
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}
