//! Everything that the page and the summary draw from, worked out once.
use super::faults::{self, Fault};
use super::operations::{self, Operation, Tally};
use super::outages::{self, Gap, Reign, Writes};
use crate::evidence::Evidence;

/// A run, looked at.
pub(super) struct View<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) operations: Vec<Operation<'a>>,
    pub(super) tally: Tally,
    pub(super) gaps: Vec<Gap>,
    pub(super) faults: Vec<Fault<'a>>,
    pub(super) reigns: Vec<Reign>,
    /// The last moment that anything is known of; never zero.
    pub(super) end_ns: u64,
}

impl<'a> View<'a> {
    pub(super) fn of(evidence: &'a Evidence) -> Self {
        let operations = operations::of(evidence);
        let end_ns = end_ns(evidence, &operations);
        let writes = Writes::of(&operations, end_ns);
        let gaps = writes.gaps();
        Self {
            evidence,
            tally: Tally::of(&operations),
            faults: faults::of(&evidence.faults, &writes, &gaps),
            reigns: outages::reigns(&evidence.samples),
            gaps,
            operations,
            end_ns,
        }
    }

    /// Faults that were really done to the cluster.
    pub(super) fn installed(&self) -> impl Iterator<Item = &Fault<'a>> + Clone {
        self.faults.iter().filter(|fault| fault.is_installed)
    }

    pub(super) fn leader_changes(&self) -> usize {
        self.reigns.len().saturating_sub(1)
    }

    /// Names of the nodes, and of any that joined later.
    pub(super) fn nodes(&self) -> Vec<&'a str> {
        let mut nodes: Vec<&str> = self.evidence.run.nodes.iter().map(String::as_str).collect();
        for sample in &self.evidence.samples {
            if !nodes.contains(&sample.node.as_str()) {
                nodes.push(&sample.node);
            }
        }
        nodes
    }
}

fn end_ns(evidence: &Evidence, operations: &[Operation<'_>]) -> u64 {
    let phases = evidence.phases.iter().map(|phase| phase.until_ns);
    let faults = evidence.faults.iter().map(|event| event.time_ns);
    let samples = evidence.samples.iter().map(|sample| sample.time_ns);
    let ends = operations
        .iter()
        .map(|operation| operation.ended_ns.unwrap_or(operation.invoked_ns));
    let last = phases.chain(faults).chain(samples).chain(ends).max();
    last.unwrap_or(0).max(1_000_000_000)
}
