//! Reasons not to lead although a majority would have it: this node's disk is nearly full, its wall
//! clock is not the majority's, or it is no voter any more.
//!
//! Raft itself needs none of it. But a leader that cannot write takes every write down with it, and
//! the leader's clock is everyone's: it stamps what the state machine calls time.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;
use transport::network::PeerId;

use crate::codec;
use crate::core::Core;
use crate::membership;
use crate::message::{Admin, AdminOutcome, Peek, service};
use crate::stamp::Tick;
use crate::status;
use crate::types::Raft;

/// A round trip longer than this says too little about the other clock.
const PEEK_WITHIN: Duration = Duration::from_millis(600);
/// How long a hand-over may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);

/// What a peer said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    node: u64,
    /// Its clock less ours, in milliseconds.
    ahead_ms: i64,
    is_disk_low: bool,
}

/// Looks at disk and clocks until the replica stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let every = Duration::from_millis(core.options.timing.watch_ms);
    let mut every = tokio::time::interval(every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut half_way = None;
    let mut leadership = core.leadership.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            _ = every.tick() => {}
            // A new leader learns at once whether its clock is the majority's.
            _ = leadership.changed() => {}
            () = core.stamps.in_question(core.heartbeat()) => {}
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            () = look(&core, &mut half_way) => {}
        }
    }
}

async fn look(core: &Arc<Core>, half_way: &mut Option<u64>) {
    look_at_disk(core);
    let Ok(raft) = core.raft() else {
        return;
    };
    // Said again each time, since openraft may have been opened anew.
    raft.runtime_config().elect(!core.is_disk_low());
    if core.leader().leader != Some(core.me()) {
        core.is_quorum_low.store(false, Ordering::Relaxed);
        *half_way = None;
        return;
    }
    membership::finish(core, &raft, half_way).await;
    let voters: BTreeSet<u64> = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().collect()
    };
    if voters.is_empty() {
        // A cluster that is being founded: this leader's own membership is not in force yet.
        return;
    }
    let tick = Tick::now(&*core.clock);
    let seen = peek_all(core, &voters, tick).await;
    let is_low = core.is_disk_low();
    let low = seen.iter().filter(|it| it.is_disk_low).count() + usize::from(is_low);
    let is_quorum_low = is_quorum_low(voters.len(), low);
    if core.is_quorum_low.swap(is_quorum_low, Ordering::Relaxed) != is_quorum_low {
        tracing::warn!(is_quorum_low, "room on the voters' disks changed");
    }
    let skew_ms_max = core.options.timing.clock_skew_ms_max;
    if is_confirmed(voters.len(), &seen, skew_ms_max) {
        core.stamps.confirm(tick);
    }
    let middle = middle_clock(voters.len(), &seen);
    if let Some((why, fit)) = unfit(core, &voters, &seen, middle) {
        hand_over(core, &raft, why, &fit).await;
    }
}

/// Is too little room on so many of the voters that the rest is no majority?
fn is_quorum_low(voters: usize, low: usize) -> bool {
    voters > 0 && voters.saturating_sub(low) <= voters / 2
}

/// Asks whether there is room, and says so when that changed.
pub(crate) fn look_at_disk(core: &Core) {
    let is_low = core.bench.room.as_ref().is_some_and(|is_low| is_low());
    if core.is_disk_low.swap(is_low, Ordering::Relaxed) == is_low {
        return;
    }
    if is_low {
        tracing::error!("the disk is nearly full: this node takes no writes until there is room");
    } else {
        tracing::info!("there is room on the disk again");
    }
    status::tell(core);
}

/// Why this leader should not lead, and who might instead.
fn unfit(
    core: &Core,
    voters: &BTreeSet<u64>,
    seen: &[Seen],
    middle: Option<i64>,
) -> Option<(&'static str, BTreeSet<u64>)> {
    let with_room = seen.iter().filter(|it| !it.is_disk_low);
    if !voters.contains(&core.me()) {
        let why = "it has no vote any more";
        return Some((why, with_room.map(|it| it.node).collect()));
    }
    let max = i64::try_from(core.options.timing.clock_skew_ms_max).unwrap_or(i64::MAX);
    if let Some(middle) = middle.filter(|middle| middle.abs() > max) {
        tracing::error!(
            ahead_ms = -middle,
            "this leader's clock is not the majority's"
        );
        metrics::counter!("yin_raft_clock_handovers_total").increment(1);
        let near = with_room.filter(|it| (it.ahead_ms - middle).abs() <= max);
        return Some(("its clock is off", near.map(|it| it.node).collect()));
    }
    if core.is_disk_low() {
        return Some((
            "its disk is nearly full",
            with_room.map(|it| it.node).collect(),
        ));
    }
    None
}

/// Do a majority's clocks, ours among them, agree with ours? Where [`middle_clock`] is in doubt the
/// leader stays, but then its clock is not confirmed either.
fn is_confirmed(voters: usize, seen: &[Seen], skew_ms_max: u64) -> bool {
    let near = seen.iter();
    let near = near.filter(|it| it.ahead_ms.unsigned_abs() <= skew_ms_max);
    near.count() + 1 > voters / 2
}

/// How far the middle one of all clocks is ahead of ours. None when too few answered to call it
/// the majority's.
fn middle_clock(voters: usize, seen: &[Seen]) -> Option<i64> {
    let mut ahead: Vec<i64> = seen.iter().map(|it| it.ahead_ms).chain([0]).collect();
    if ahead.len() <= voters / 2 {
        return None;
    }
    ahead.sort_unstable();
    // Of two in the middle, the one nearer to ours: in doubt, stay.
    let (low, high) = (ahead[(ahead.len() - 1) / 2], ahead[ahead.len() / 2]);
    Some(if low.abs() <= high.abs() { low } else { high })
}

/// Which of `voters`, besides this node, answer and have room: they may lead.
pub(crate) async fn with_room(core: &Core, voters: &BTreeSet<u64>) -> BTreeSet<u64> {
    let seen = peek_all(core, voters, Tick::now(&*core.clock)).await;
    let with_room = seen.iter().filter(|it| !it.is_disk_low);
    with_room.map(|it| it.node).collect()
}

/// Asks all others at once; their clocks are held against ours as it was at `tick`.
async fn peek_all(core: &Core, voters: &BTreeSet<u64>, tick: Tick) -> Vec<Seen> {
    let others = voters.iter().copied().filter(|it| *it != core.me());
    let seen = join_all(others.map(|node| peek(core, node, tick))).await;
    seen.into_iter().flatten().collect()
}

async fn peek(core: &Core, node: u64, tick: Tick) -> Option<Seen> {
    let began = Instant::now();
    let answer = core
        .network
        .request(PeerId(node), service::PEEK, codec::encode(&()), PEEK_WITHIN)
        .await;
    let half_way = began + began.elapsed() / 2;
    let peek: Peek = match answer.map(|answer| codec::decode("a peek", &answer)) {
        Ok(Ok(peek)) => peek,
        Ok(Err(error)) => {
            tracing::warn!(%error, node, "cannot read how a peer is");
            return None;
        }
        Err(error) => {
            tracing::debug!(%error, node, "a peer does not say how it is");
            return None;
        }
    };
    let ours = tick.after(half_way).0;
    Some(Seen {
        node,
        ahead_ms: i64::try_from(i128::from(peek.now.0) - i128::from(ours)).unwrap_or(i64::MAX),
        is_disk_low: peek.is_disk_low,
    })
}

async fn hand_over(core: &Arc<Core>, raft: &Raft, why: &str, fit: &BTreeSet<u64>) {
    let Some(to) = membership::furthest(raft, fit) else {
        tracing::warn!(
            why,
            "this node should not lead, but there is no one to hand over to"
        );
        return;
    };
    tracing::warn!(why, to, "this node should not lead");
    let transfer = Admin::TransferLeader { to: Some(to) };
    match membership::here(core, transfer, HAND_OVER_WITHIN).await {
        AdminOutcome::Done | AdminOutcome::NotLeader { .. } => {}
        AdminOutcome::Refused { why }
        | AdminOutcome::Later { why }
        | AdminOutcome::Unknown { why } => {
            tracing::warn!(why, "leadership was not handed over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ahead: &[i64]) -> Vec<Seen> {
        let seen = ahead.iter().zip(2..).map(|(ahead_ms, node)| Seen {
            node,
            ahead_ms: *ahead_ms,
            is_disk_low: false,
        });
        seen.collect()
    }

    #[test]
    fn the_middle_clock_is_the_majoritys() {
        assert_eq!(middle_clock(3, &seen(&[9_000, 9_100])), Some(9_000));
        assert_eq!(middle_clock(3, &seen(&[-9_000, -9_100])), Some(-9_000));
        assert_eq!(middle_clock(3, &seen(&[9_000, 100])), Some(100));
        assert_eq!(middle_clock(3, &seen(&[9_000, -9_000])), Some(0));
    }

    #[test]
    fn a_clock_is_confirmed_by_a_majority_and_never_in_doubt() {
        assert!(is_confirmed(1, &[], 5_000));
        assert!(is_confirmed(3, &seen(&[100]), 5_000));
        assert!(is_confirmed(3, &seen(&[-5_000, 9_000_000]), 5_000));
        // Seed 1795420423285 of the simulator: of two clocks that disagree either may be wild.
        assert!(!is_confirmed(3, &seen(&[-9_000_000]), 5_000));
        assert!(!is_confirmed(3, &seen(&[]), 5_000));
        assert!(!is_confirmed(2, &seen(&[]), 5_000));
        assert!(!is_confirmed(5, &seen(&[0, 9_000_000]), 5_000));
    }

    #[test]
    fn a_quorum_is_low_when_the_rest_is_no_majority() {
        let is_low = |cases: &[(usize, usize)]| -> Vec<bool> {
            let cases = cases.iter();
            cases
                .map(|&(voters, low)| is_quorum_low(voters, low))
                .collect()
        };
        assert_eq!(is_low(&[(1, 0), (3, 1), (4, 1), (5, 2)]), [false; 4]);
        assert_eq!(is_low(&[(1, 1), (3, 2), (4, 2), (5, 3)]), [true; 4]);
        // While a cluster is founded nobody is known to vote: no reason to refuse its first write.
        assert_eq!(is_low(&[(0, 0), (0, 1)]), [false; 2]);
    }

    #[test]
    fn in_doubt_the_leader_stays() {
        assert_eq!(middle_clock(3, &seen(&[9_000])), Some(0));
        assert_eq!(middle_clock(3, &seen(&[-9_000])), Some(0));
        assert_eq!(middle_clock(3, &seen(&[])), None);
        assert_eq!(middle_clock(5, &seen(&[9_000])), None);
        assert_eq!(middle_clock(1, &seen(&[])), Some(0));
    }
}
