//! The judgement in one word, with its reasons; never better than the worst of what was seen.
use checkers::history::Kind;
use checkers::verdict::Verdict;
use serde_json::{Value, json};

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
    let red = judgement.coverage.iter().find(|gate| !gate.is_green());
    let judged = judged.and(red.map_or(Verdict::Valid, |gate| Verdict::Unknown {
        why: format!(
            "coverage: {} was seen {} times, wanted {}",
            gate.name, gate.seen, gate.wanted
        ),
    }));
    let mut events = evidence.histories.values().flatten();
    if events.any(|event| event.kind == Kind::Ok) {
        return judged;
    }
    judged.and(Verdict::Unknown {
        why: "nothing succeeded".into(),
    })
}

/// `valid`, `invalid` or `unknown`.
pub(super) fn word(evidence: &Evidence) -> &'static str {
    match overall(evidence) {
        Verdict::Valid => "valid",
        Verdict::Invalid { .. } => "invalid",
        Verdict::Unknown { .. } => "unknown",
    }
}

/// What `verdict.json` holds.
pub(super) fn machine(evidence: &Evidence) -> Value {
    json!({
        "verdict": word(evidence),
        "run": evidence.run,
        "judgement": evidence.judgement,
    })
}
