//! From what was seen to the evidence with its judgement.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use checkers::history::{Action, Event, Kind};
use checkers::verdict::Verdict;

use super::Running;
use crate::coverage::{self, Seen};
use crate::evidence::{Evidence, Found, Judgement, LinkCount, Run, Sample};
use crate::nemesis::journal::Trouble;
use crate::workload;
use crate::world::logs::{self, Log};

/// As `YIN_PLANT` names it: see `jepsen/plants`.
const CANARY: &str = "canary";

/// Checks of the harness itself that troubles are told under.
const CHECKS: [&str; 4] = ["liveness", "exits", "damage", "stderr"];

impl Running {
    pub(super) async fn evidence(
        &self,
        histories: BTreeMap<String, Vec<Event>>,
        samples: Vec<Sample>,
        mut found: Vec<Found>,
    ) -> Result<Evidence> {
        let plant = std::env::var("YIN_PLANT").ok();
        let plant = plant.filter(|plant| !plant.is_empty());
        let mut histories = histories;
        if plant.as_deref() == Some(CANARY) {
            alter(&mut histories);
        }
        let (histories, judged) = tokio::task::spawn_blocking(move || {
            let judged = workload::judge(&histories);
            (histories, judged)
        })
        .await
        .context("judging the histories")?;
        let logs: BTreeMap<String, Log> = self
            .world
            .nodes()
            .iter()
            .map(|node| (node.name.clone(), logs::read(&node.log)))
            .collect();
        found.extend(CHECKS.map(|check| self.trouble(check)));
        found.push(panics(&logs));
        let (events, links) = (self.journal.events(), self.links());
        let coverage = coverage::gates(&Seen {
            seconds: self.chaos.seconds,
            kinds: &self.faults.kinds,
            planned: &self.faults.planned,
            events: &events,
            samples: &samples,
            links: &links,
            judged: &judged,
            snapshots_installed: logs.values().map(|log| log.snapshots_installed).sum(),
        });
        let mut evidence = Evidence {
            run: Run {
                seed: self.seed,
                profile: self.chaos.profile_name(),
                command: self.command(),
                version: self.version().await?,
                plant,
                nodes: self
                    .world
                    .nodes()
                    .iter()
                    .map(|node| node.name.clone())
                    .collect(),
                off: self.faults.off.clone(),
                seconds: self.chaos.seconds,
            },
            phases: self.phases.clone(),
            faults: events,
            samples,
            links,
            histories,
            logs: logs::for_report(&logs),
            judgement: Judgement {
                workloads: judged,
                cluster: found,
                coverage,
                overall: self.harness_failures(),
            },
        };
        evidence.judgement.overall = crate::report::overall(&evidence);
        Ok(evidence)
    }

    /// A run that the harness itself spoiled proves nothing, nor does one without its faults.
    fn harness_failures(&self) -> Verdict {
        let mut failures = self.journal.failures();
        if !self.faults.off.is_empty() {
            let off: Vec<&str> = self.faults.off.keys().map(String::as_str).collect();
            failures.push(format!("off on this machine: {}", off.join(", ")));
        }
        if failures.is_empty() {
            return Verdict::Valid;
        }
        Verdict::Unknown {
            why: failures.join("; "),
        }
    }

    fn trouble(&self, check: &'static str) -> Found {
        let troubles = self.journal.troubles().into_iter();
        let verdict = troubles
            .filter(|trouble| trouble.check == check)
            .map(|trouble| {
                let stalled_ms = self.probe.worst_ms(trouble.from_ns, trouble.until_ns);
                weigh(&trouble, stalled_ms, self.stall_max_ms())
            })
            .fold(Verdict::Valid, Verdict::and);
        Found {
            check: check.to_owned(),
            verdict,
        }
    }

    fn links(&self) -> Vec<LinkCount> {
        let Some(network) = self.world.net.router() else {
            return Vec::new();
        };
        let members = network.members();
        let pairs = members
            .iter()
            .flat_map(|from| members.iter().map(move |to| (*from, *to)));
        pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| {
                let count = network.count(from, to);
                LinkCount {
                    from: from.to_string(),
                    to: to.to_string(),
                    sent: count.sent,
                    cut: count.cut,
                    lost: count.lost,
                    delayed: count.delayed,
                    duplicated: count.duplicated,
                    reordered: count.reordered,
                }
            })
            .collect()
    }
}

/// The canary: the last read of a set loses an element that was acknowledged. A judge that does not
/// see it sees nothing.
fn alter(histories: &mut BTreeMap<String, Vec<Event>>) {
    let events = histories.get_mut("comments").into_iter().flatten();
    let mut reads = events.filter_map(|event| match &mut event.action {
        Action::ReadSet {
            elements: Some(elements),
            ..
        } if event.kind == Kind::Ok && !elements.is_empty() => Some(elements),
        _ => None,
    });
    if let Some(elements) = reads.next_back() {
        elements.remove(0);
    }
}

fn panics(logs: &BTreeMap<String, Log>) -> Found {
    let first = logs
        .iter()
        .find_map(|(node, log)| Some((node, log.panics.first()?)));
    let verdict = match first {
        None => Verdict::Valid,
        Some((node, line)) => Verdict::Invalid {
            why: format!("{node} printed: {line}"),
            operations: vec![],
        },
    };
    Found {
        check: "panics".into(),
        verdict,
    }
}

/// Slowness that this machine caused is no broken promise.
fn weigh(trouble: &Trouble, stalled_ms: u64, stall_max_ms: u64) -> Verdict {
    let is_slowness = matches!(trouble.check, "liveness" | "stderr");
    if is_slowness && stalled_ms > stall_max_ms {
        return Verdict::Unknown {
            why: format!(
                "{}; but this machine stalled for {stalled_ms} ms",
                trouble.why
            ),
        };
    }
    Verdict::Invalid {
        why: format!(
            "at {:.1} s: {}",
            std::time::Duration::from_nanos(trouble.from_ns).as_secs_f64(),
            trouble.why
        ),
        operations: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_machine_excuses_slowness_and_nothing_else() {
        let trouble = |check| Trouble {
            check,
            why: "n3".to_owned(),
            from_ns: 1_000_000_000,
            until_ns: 31_000_000_000,
        };
        for slow in ["liveness", "stderr"] {
            let verdict = weigh(&trouble(slow), 501, 500);
            assert!(matches!(verdict, Verdict::Unknown { .. }), "{slow}");
            let verdict = weigh(&trouble(slow), 500, 500);
            assert!(matches!(verdict, Verdict::Invalid { .. }), "{slow}");
        }
        for wrong in ["exits", "damage"] {
            let verdict = weigh(&trouble(wrong), 9_000, 500);
            assert!(matches!(verdict, Verdict::Invalid { .. }), "{wrong}");
        }
    }
}
