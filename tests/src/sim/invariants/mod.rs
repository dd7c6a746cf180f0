//! What must hold at any moment of a run, one invariant a file. The disks, the wire and the driver
//! tell what happens; the first invariant that is broken ends the run.
mod applied;
mod blobs;
mod counters;
mod log_matching;
mod once;
mod one_leader;
mod quorum;
mod same_state;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::overlay::Changes;
use storage::state::SharedView;

use super::clock;
use super::ledger::{Held, Ledger};
use super::trace::{Trace, note};
use super::wire::{LogId, Vote};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at_ms: u64,
    pub invariant: &'static str,
    pub detail: String,
}

/// How often things happened that a run must have, or it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub elections: u64,
    pub faults: u64,
    pub kills: u64,
    pub power_cuts: u64,
    /// Changes of logs that power cuts took.
    pub lost_writes: u64,
    pub snapshots_installed: u64,
    pub purges: u64,
    pub memberships: u64,
    pub applied: u64,
    pub ok_operations: u64,
    pub unknown_operations: u64,
    pub failed_operations: u64,
}

/// Watches a run. Clones share it.
#[derive(Clone)]
pub(crate) struct Watch {
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    violation: Option<Violation>,
    coverage: Coverage,
    ledgers: BTreeMap<u64, Ledger>,
    one_leader: one_leader::OneLeader,
    votes: votes::Votes,
    log_matching: log_matching::LogMatching,
    quorum: quorum::Quorum,
    applied: applied::Applied,
    same_state: same_state::SameState,
    once: once::Once,
}

type Judged = Result<(), String>;

impl Inner {
    fn ledger(&mut self, node: u64) -> &mut Ledger {
        self.ledgers.entry(node).or_default()
    }

    fn judge(&mut self, invariant: &'static str, judged: Judged) {
        if let Err(detail) = judged
            && self.violation.is_none()
        {
            self.violation = Some(Violation {
                at_ms: clock::now_ms(),
                invariant,
                detail,
            });
        }
    }
}

/// What a round of commits did.
pub(crate) struct Round<'a> {
    pub(crate) node: u64,
    pub(crate) to: LogId,
    pub(crate) changes: &'a Changes,
    /// Of the state with these changes.
    pub(crate) hash: u64,
}

impl Watch {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            trace,
            inner: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic ends the run, whatever is half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.lock().violation.clone()
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.lock().coverage
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Coverage)) {
        count(&mut self.lock().coverage);
    }

    /// Something that is judged elsewhere.
    pub(crate) fn judge(&self, invariant: &'static str, judged: Judged) {
        self.lock().judge(invariant, judged);
    }

    pub(crate) fn appended(&self, node: u64, id: LogId, held: Held) {
        let mut inner = self.lock();
        let judged = inner.log_matching.on_append(node, id, &held);
        inner.judge("log matching", judged);
        inner.ledger(node).append(id.index, held);
    }

    pub(crate) fn vote_written(&self, node: u64, vote: Vote) {
        note!(self.trace, "n{node} votes {vote:?}");
        self.lock().ledger(node).vote(vote);
    }

    pub(crate) fn truncated(&self, node: u64, index: u64) {
        note!(self.trace, "n{node} truncates from {index}");
        let mut inner = self.lock();
        let judged = inner.log_matching.on_truncate(node, index);
        inner.judge("log matching", judged);
        inner.ledger(node).truncate(index);
    }

    pub(crate) fn committed_written(&self, node: u64) {
        self.lock().ledger(node).committed();
    }

    pub(crate) fn purged(&self, node: u64, index: u64) {
        note!(self.trace, "n{node} purges to {index}");
        let mut inner = self.lock();
        inner.coverage.purges += 1;
        inner.ledger(node).purge(index);
    }

    /// The disk has everything that is written; what waited for that is told next.
    pub(crate) fn synced(&self, node: u64) {
        let mut inner = self.lock();
        inner.ledger(node).sync();
        let Some(vote) = inner.ledger(node).synced.vote else {
            return;
        };
        let judged = inner.votes.on_synced(node, vote);
        inner.judge("one vote per term", judged);
        let elected = inner.one_leader.on_vote(vote);
        if elected == Ok(true) {
            inner.coverage.elections += 1;
        }
        inner.judge("one leader per term", elected.map(|_| ()));
    }

    /// `voter` told `candidate` that it has its vote.
    pub(crate) fn granted(&self, voter: u64, vote: Vote) {
        let mut inner = self.lock();
        let judged = inner.votes.on_granted(voter, vote);
        inner.judge("one vote per term", judged);
        let durable = inner.ledger(voter).synced.vote;
        let judged = votes::is_durable(voter, vote, durable);
        inner.judge("a vote is durable before it is given", judged);
    }

    pub(crate) fn applied(&self, round: &Round<'_>, state_from: Option<u64>) {
        let Round { node, to, hash, .. } = *round;
        note!(self.trace, "n{node} applies to {} {hash:016x}", to.index);
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.coverage.applied += 1;
        let judged = inner.applied.on_commit(node, state_from, to.index);
        inner.judge("the applied position only rises", judged);
        let from = state_from.map_or(0, |index| index + 1);
        for index in from..=to.index {
            let held = inner.ledgers.entry(node).or_default();
            let Some(held) = held.written.entries.get(&index).cloned() else {
                let why = format!("node {node} applied {index}, which its log does not hold");
                inner.judge("applied entries are in the log", Err(why));
                continue;
            };
            let judged = inner.log_matching.on_applied(node, index, &held);
            inner.judge("committed entries never change", judged.clone().map(|_| ()));
            if judged == Ok(true) {
                let judged = inner.quorum.on_first(index, &held, &inner.ledgers);
                inner.judge("committed is synced on a quorum", judged);
            }
        }
        let judged = inner.once.on_commit(node, from, to.index, round.changes);
        inner.judge("a request is applied at most once", judged);
        let judged = inner.same_state.at(node, to.index, hash);
        inner.judge("equal index, equal state", judged);
    }

    /// A snapshot replaced the state, durably.
    pub(crate) fn installed(&self, node: u64, to: LogId, hash: u64) {
        note!(self.trace, "n{node} installs {} {hash:016x}", to.index);
        let mut inner = self.lock();
        inner.coverage.snapshots_installed += 1;
        let judged = inner.applied.on_install(node, to.index);
        inner.judge("the applied position only rises", judged);
        let judged = inner.same_state.at(node, to.index, hash);
        inner.judge("equal index, equal state", judged);
        let ledger = inner.ledger(node);
        ledger.covered = ledger.covered.max(Some(to.index));
    }

    /// The state up to here survives kills and power cuts.
    pub(crate) fn state_durable(&self, node: u64, to: Option<LogId>) {
        let mut inner = self.lock();
        let index = to.map(|id| id.index);
        inner.applied.on_durable(node, index);
        let ledger = inner.ledger(node);
        ledger.covered = ledger.covered.max(index);
    }

    /// A node's disk after its process died; after a power cut that left so many of the writes that
    /// were not synced.
    pub(crate) fn reborn(&self, node: u64, left: Option<usize>, to: Option<LogId>, hash: u64) {
        let mut inner = self.lock();
        let is_power_cut = left.is_some();
        let lost = match left {
            Some(left) => inner.ledger(node).power_cut(left),
            None => {
                inner.ledger(node).kill();
                0
            }
        };
        inner.coverage.lost_writes += lost as u64;
        let index = to.map(|id| id.index);
        note!(
            self.trace,
            "n{node} died, power cut {is_power_cut}, lost {lost}, state at {index:?} {hash:016x}"
        );
        let judged = inner.applied.on_reborn(node, index);
        inner.judge("a crash leaves a durable prefix", judged);
        if let Some(index) = index {
            let judged = inner.same_state.at(node, index, hash);
            inner.judge("equal index, equal state", judged);
        }
    }

    /// Do exactly these vote, as far as each of their disks knows?
    pub(crate) fn is_settled(&self, voters: &BTreeSet<u64>) -> bool {
        let inner = self.lock();
        let ledgers = voters.iter().filter_map(|voter| inner.ledgers.get(voter));
        let wanted = [voters.clone()];
        if inner.quorum.newest().is_none_or(|it| it[..] != wanted) {
            return false;
        }
        // Who has purged its newest membership has applied it.
        let mut newest =
            ledgers.map(|ledger| (ledger.written.membership(), ledger.synced.membership()));
        newest
            .all(|(written, synced)| written == synced && written.is_none_or(|it| it[..] == wanted))
    }

    /// Counts everything in a state anew.
    pub(crate) fn recount(&self, node: u64, view: &SharedView) {
        let judged = counters::check(node, view);
        self.judge("counters equal their sets", judged);
    }
}

/// Every video that is in a state has its bytes in the bucket.
pub(crate) fn blobs(node: u64, view: &SharedView, stored: &[String]) -> Judged {
    blobs::check(node, view, stored)
}
