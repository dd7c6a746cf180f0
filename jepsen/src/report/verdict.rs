//! The judgement in one word and one sentence, with its reasons; never better than the worst of
//! what was seen.
use checkers::history::Kind;
use checkers::verdict::Verdict;
use serde_json::{Value, json};

use super::faults::{Class, classes};
use super::operations::Tally;
use super::outages::Recovery;
use super::text::{count, duration};
use super::view::View;
use crate::evidence::Evidence;

/// The worst of everything that was judged; a red gate makes it unknown, and so does silence.
pub(crate) fn overall(evidence: &Evidence) -> Verdict {
    let judgement = &evidence.judgement;
    let workloads = judgement.workloads.iter().map(|judged| &judged.verdict);
    let cluster = judgement.cluster.iter().map(|found| &found.verdict);
    let judged = workloads
        .chain(cluster)
        .cloned()
        .fold(judgement.overall.clone(), Verdict::and);
    red_gates(evidence)
        .chain(silence(evidence))
        .map(|why| Verdict::Unknown { why })
        .fold(judged, Verdict::and)
}

fn red_gates(evidence: &Evidence) -> impl Iterator<Item = String> {
    let red = evidence.judgement.coverage.iter();
    red.filter(|gate| !gate.is_green()).map(|gate| {
        format!(
            "coverage: {} was seen {}, wanted at least {}",
            gate.name,
            count(gate.seen, "time"),
            gate.wanted
        )
    })
}

fn silence(evidence: &Evidence) -> Option<String> {
    let mut events = evidence.histories.values().flatten();
    (!events.any(|event| event.kind == Kind::Ok)).then(|| "no operation succeeded".into())
}

/// Everything that speaks against a pass, violations first: where it was found, and why.
pub(super) fn reasons(evidence: &Evidence) -> Vec<(bool, String)> {
    let judgement = &evidence.judgement;
    let workloads = judgement.workloads.iter();
    let workloads = workloads.map(|judged| (judged.workload.as_str(), &judged.verdict));
    let cluster = judgement.cluster.iter();
    let cluster = cluster.map(|found| (found.check.as_str(), &found.verdict));
    let mut reasons: Vec<(bool, String)> = workloads
        .chain(cluster)
        .filter_map(|(place, verdict)| {
            let why = why(verdict)?;
            Some((verdict.is_invalid(), format!("{place}: {why}")))
        })
        .collect();
    let red = red_gates(evidence).chain(silence(evidence));
    reasons.extend(red.map(|why| (false, why)));
    // What was said of the whole may repeat one of its parts.
    if let Some(why) = why(&judgement.overall)
        && !reasons.iter().any(|(_, reason)| reason.contains(why))
    {
        reasons.push((judgement.overall.is_invalid(), why.to_owned()));
    }
    reasons.sort_by_key(|(is_violation, _)| !is_violation);
    reasons
}

/// Why it is no pass.
pub(super) fn why(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Valid => None,
        Verdict::Invalid { why, .. } | Verdict::Unknown { why } => Some(why),
    }
}

/// `valid`, `invalid` or `unknown`.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid { .. } => "invalid",
        Verdict::Unknown { .. } => "unknown",
    }
}

/// What is claimed, and no more.
pub(super) fn headline(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "No violation found",
        Verdict::Invalid { .. } => "Violation found",
        Verdict::Unknown { .. } => "Unknown: this run proves nothing",
    }
}

/// What the claim rests on.
pub(super) fn ground(view: &View<'_>) -> String {
    let run = &view.evidence.run;
    format!(
        "in {} under {}, with {}, seed {}",
        count(view.tally.all(), "operation"),
        count(view.installed().count() as u64, "fault"),
        run.version,
        run.seed
    )
}

/// What `verdict.json` holds.
pub(super) fn machine(view: &View<'_>) -> Value {
    let evidence = view.evidence;
    let (run, judgement) = (&evidence.run, &evidence.judgement);
    let verdict = overall(evidence);
    let reasons = reasons(evidence);
    let gates = judgement.coverage.iter().map(|gate| {
        json!({ "name": gate.name, "wanted": gate.wanted, "seen": gate.seen, "is_green": gate.is_green() })
    });
    let gaps = view
        .gaps
        .iter()
        .map(|gap| json!({ "from_ns": gap.from_ns, "until_ns": gap.until_ns }));
    let Tally {
        ok,
        failed,
        unknown,
    } = view.tally;
    json!({
        "verdict": word(&verdict),
        "exit_code": exit_code(&verdict),
        "claim": format!("{} {}", headline(&verdict), ground(view)),
        "reasons": reasons.iter().map(|(_, reason)| reason).collect::<Vec<_>>(),
        "seed": run.seed,
        "profile": run.profile,
        "version": run.version,
        "plant": run.plant,
        "command": run.command,
        "nodes": run.nodes,
        "seconds": run.seconds,
        "off": run.off,
        "operations": { "ok": ok, "failed": failed, "unknown": unknown },
        "workloads": judgement.workloads,
        "cluster": judgement.cluster,
        "coverage": gates.collect::<Vec<_>>(),
        "leader_changes": view.leader_changes(),
        "gaps": gaps.collect::<Vec<_>>(),
        "faults": classes(&view.faults).iter().map(class).collect::<Vec<_>>(),
    })
}

/// 0 no violation found, 1 violation, 2 unknown.
fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid { .. } => 1,
        Verdict::Unknown { .. } => 2,
    }
}

fn class(class: &Class<'_>) -> Value {
    json!({
        "fault": class.name,
        "installed": class.installed,
        "bitten": class.bitten,
        "skipped": class.skipped,
        "recovery_median_ns": recovery_ns(class.median),
        "recovery_worst_ns": recovery_ns(class.worst),
        "recovered_always": class.worst.map(|worst| worst != Recovery::Never),
        "longest_gap_ns": class.longest_gap_ns,
    })
}

fn recovery_ns(recovery: Option<Recovery>) -> Option<u64> {
    match recovery? {
        Recovery::After(ns) => Some(ns),
        Recovery::Never | Recovery::Untried => None,
    }
}

/// How long it took, in words.
pub(super) fn recovery(recovery: Option<Recovery>) -> String {
    match recovery {
        None => "–".into(),
        Some(Recovery::Untried) => "not tried".into(),
        Some(Recovery::Never) => "never".into(),
        Some(Recovery::After(ns)) => duration(ns),
    }
}
