//! What must have happened for a run to prove anything. A red gate makes it *unknown*.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::evidence::{FaultEvent, FaultStep, Gate, Judged, LinkCount, Sample};
use crate::nemesis::{Class, Nemesis};
use crate::schedule::Planned;

/// From here on a run is long: more is wanted of it.
const LONG_S: u64 = 300;
/// Operations that have to succeed in each workload, per minute of a run.
const OK_PER_MINUTE: u64 = 20;

/// What the gates look at.
pub(crate) struct Seen<'a> {
    pub(crate) seconds: u64,
    pub(crate) kinds: &'a [Arc<dyn Nemesis>],
    pub(crate) planned: &'a [Planned],
    pub(crate) events: &'a [FaultEvent],
    pub(crate) samples: &'a [Sample],
    pub(crate) links: &'a [LinkCount],
    pub(crate) judged: &'a [Judged],
    pub(crate) snapshots_installed: u64,
}

/// All gates, green and red.
pub(crate) fn gates(seen: &Seen<'_>) -> Vec<Gate> {
    let mut gates = Vec::new();
    for judged in seen.judged {
        gates.push(Gate {
            name: format!("{} operations that succeeded", judged.workload),
            wanted: (OK_PER_MINUTE * seen.seconds / 60).max(5),
            seen: judged.ok as u64,
        });
    }
    let is_long = seen.seconds >= LONG_S;
    for (class, names) in by_class(seen.kinds) {
        let wanted = if is_long { 2 } else { 1 };
        let mut gate = |what: &str, step| {
            gates.push(Gate {
                name: format!("{} faults {what}", class.name()),
                wanted,
                seen: count(seen.events, &names, step),
            });
        };
        gate("installed", FaultStep::Installed);
        gate("seen to bite", FaultStep::Bit);
    }
    if is_long {
        gates.extend(each_kind(seen));
    }
    let classes = by_class(seen.kinds);
    if [Class::Kill, Class::Pause, Class::Partition]
        .iter()
        .any(|class| classes.contains_key(class))
    {
        gates.push(Gate {
            name: "changes of the leader".into(),
            wanted: if is_long { 2 } else { 1 },
            seen: leader_changes(seen.samples),
        });
    }
    if classes.contains_key(&Class::Membership) {
        gates.push(Gate {
            name: "snapshots installed".into(),
            wanted: 1,
            seen: seen.snapshots_installed,
        });
    }
    if !seen.links.is_empty() {
        gates.push(Gate {
            name: "packets routed".into(),
            wanted: 1_000,
            seen: seen.links.iter().map(|link| link.sent).sum(),
        });
    }
    gates
}

/// In a long run, what was planned several times has to bite once.
fn each_kind(seen: &Seen<'_>) -> Vec<Gate> {
    let mut planned: BTreeMap<&str, u64> = BTreeMap::new();
    for one in seen.planned {
        *planned.entry(&one.fault).or_default() += 1;
    }
    let often = planned.into_iter().filter(|(_, count)| *count >= 3);
    often
        .map(|(name, _)| Gate {
            name: format!("{name} seen to bite"),
            wanted: 1,
            seen: count(seen.events, &[name], FaultStep::Bit),
        })
        .collect()
}

fn by_class(kinds: &[Arc<dyn Nemesis>]) -> BTreeMap<Class, Vec<&'static str>> {
    let mut classes: BTreeMap<Class, Vec<&'static str>> = BTreeMap::new();
    for kind in kinds {
        classes.entry(kind.class()).or_default().push(kind.name());
    }
    classes
}

fn count(events: &[FaultEvent], names: &[&str], step: FaultStep) -> u64 {
    let hits = events
        .iter()
        .filter(|event| event.step == step && names.contains(&event.fault.as_str()));
    hits.count() as u64
}

/// How often another node led in a higher term than the one before.
fn leader_changes(samples: &[Sample]) -> u64 {
    let mut last: Option<(u64, &str)> = None;
    let mut changes = 0;
    for sample in samples {
        let Some(status) = &sample.status else {
            continue;
        };
        if status.role != "leader" || last.is_some_and(|(term, _)| status.term <= term) {
            continue;
        }
        if last.is_some() {
            changes += 1;
        }
        last = Some((status.term, &sample.node));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::NodeStatus;

    fn sample(node: &str, role: &str, term: u64) -> Sample {
        Sample {
            time_ns: 0,
            node: node.into(),
            status: Some(NodeStatus {
                role: role.into(),
                term,
                applied_index: 1,
                snapshot_index: 0,
            }),
        }
    }

    #[test]
    fn a_leader_that_stays_is_no_change_and_an_old_one_neither() {
        let samples = [
            sample("n1", "leader", 1),
            sample("n1", "leader", 1),
            sample("n2", "leader", 2),
            sample("n1", "leader", 1),
            sample("n1", "follower", 2),
            sample("n3", "leader", 4),
        ];
        assert_eq!(leader_changes(&samples), 2);
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_red_everywhere() {
        let kinds = crate::nemesis::of_profile("kill").unwrap();
        let gates = gates(&Seen {
            seconds: 60,
            kinds: &kinds,
            planned: &[],
            events: &[],
            samples: &[],
            links: &[],
            judged: &[],
            snapshots_installed: 0,
        });
        assert!(gates.len() >= 7);
        assert!(gates.iter().all(|gate| !gate.is_green()), "{gates:?}");
    }
}
