//! All that a run leaves behind: what was done to the cluster, what clients saw, what was measured,
//! and the judgement. The report and every later look at a run read only this.
//!
//! Times are nanoseconds since the run began, on the one clock of the harness ([`Begun`]).
use std::collections::BTreeMap;
use std::time::Instant;

use checkers::history::Event;
use checkers::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// The moment that all times of a run count from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(Instant);

impl Begun {
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since then.
    pub(crate) fn elapsed_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) run: Run,
    pub(crate) phases: Vec<Phase>,
    pub(crate) faults: Vec<FaultEvent>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) links: Vec<LinkCount>,
    /// By workload. Not written with the rest: each is a file of its own (`histories/NAME.jsonl`).
    #[serde(default, skip_serializing)]
    pub(crate) histories: BTreeMap<String, Vec<Event>>,
    /// The last lines of each node's log, by node name, and any line that tells of a panic.
    pub(crate) logs: BTreeMap<String, Vec<String>>,
    pub(crate) judgement: Judgement,
}

/// How the run was set up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) profile: String,
    /// The command that repeats it.
    pub(crate) command: String,
    /// Version of `yin` under test, as it prints it.
    pub(crate) version: String,
    /// The planted bug, if one was chosen.
    pub(crate) plant: Option<String>,
    /// Names of the nodes, as histories and fault events name them.
    pub(crate) nodes: Vec<String>,
    /// Faults that this machine does not allow, with the reason.
    pub(crate) off: BTreeMap<String, String>,
    pub(crate) seconds: u64,
}

/// Part of a run: `setup`, `quiet`, `main`, `heal`, `converge`, `final`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
}

/// One step in the life of a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FaultEvent {
    pub(crate) time_ns: u64,
    /// Dense, from 0; the same for all events of one fault.
    pub(crate) id: usize,
    /// `kill`, `pause`, `partition-halves`, … as the schedule names them.
    pub(crate) fault: String,
    pub(crate) step: FaultStep,
    /// Nodes or links it was done to, e.g. `n1` or `n1>n2`.
    pub(crate) targets: Vec<String>,
    /// In words, for a person: what was done, or why not.
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultStep {
    /// It is in effect from here on.
    Installed,
    /// It was seen to bite (a packet dropped, a byte lost, a process gone); the detail says by what.
    Bit,
    /// It ended.
    Healed,
    /// It was not installed; the detail says why.
    Skipped,
}

/// What one node said of itself at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) time_ns: u64,
    pub(crate) node: String,
    /// `None`: it did not answer.
    pub(crate) status: Option<NodeStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// `leader`, `follower`, `candidate`, `learner`, …
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) applied_index: u64,
    pub(crate) snapshot_index: u64,
}

/// What happened to packets of one directed link, over the whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkCount {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) sent: u64,
    pub(crate) cut: u64,
    pub(crate) lost: u64,
    pub(crate) delayed: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

/// The judgement over everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Judgement {
    pub(crate) workloads: Vec<Judged>,
    /// What the harness itself found beside the histories: `convergence`, `recount`, `panics`, `liveness`.
    pub(crate) cluster: Vec<Found>,
    pub(crate) coverage: Vec<Gate>,
    pub(crate) overall: Verdict,
}

/// The judgement over one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) workload: String,
    pub(crate) ok: usize,
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// One check of the harness.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) check: String,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// Something that must have happened for the run to prove anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) name: String,
    pub(crate) wanted: u64,
    pub(crate) seen: u64,
}

impl Gate {
    pub(crate) fn is_green(&self) -> bool {
        self.seen >= self.wanted
    }
}
