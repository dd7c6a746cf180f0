//! Read barriers: how far a read has to wait so that it sees all that was committed when it began.
//!
//! Rounds are shared. One is in flight at a time; whoever comes while it is waits for the next one,
//! since a round answers only those who came before it began. However many read, a node asks the
//! leader once per round.
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Instant as _, ReadPolicy};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use transport::network::PeerId;

use crate::codec;
use crate::core::Core;
use crate::message::{ReadIndex, service};
use crate::replica::Error;
use crate::types::{Raft, index_of};
use crate::whole::whole;

/// A read that waits for the next round; it is told the index to wait for, or that the round
/// brought none.
pub(crate) type Waiting = oneshot::Sender<Option<u64>>;

/// Reads that wait for the next round; more are refused.
pub(crate) const WAITING_MAX: usize = 16_384;
/// Far longer than an election takes.
const LONG_LEASE: Duration = Duration::from_secs(10);

/// The index up to which everything was committed before this was called.
///
/// # Errors
/// [`Error::Unavailable`] when no leader with a quorum answered by `deadline`.
pub(crate) async fn index(core: &Core, deadline: Instant) -> Result<u64, Error> {
    let mut leadership = core.leadership.subscribe();
    loop {
        leadership.mark_unchanged();
        core.raft()?;
        let (waiting, answer) = oneshot::channel();
        core.barriers
            .try_send(waiting)
            .map_err(|_| core.unavailable("too many reads wait for the leader"))?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(Some(index))) => return Ok(index),
            Ok(Ok(None)) => {}
            Ok(Err(_)) => return Err(core.unavailable("this replica is stopping")),
            Err(_) => return Err(no_quorum(core)),
        }
        // Another leader is worth another try at once; the same one a moment later.
        let pause = deadline.min(Instant::now() + core.heartbeat() / 2);
        if pause == deadline {
            return Err(no_quorum(core));
        }
        let _ = tokio::time::timeout_at(pause, leadership.changed()).await;
    }
}

fn no_quorum(core: &Core) -> Error {
    core.unavailable("no leader with a quorum answered in time")
}

/// Runs rounds until the replica stops.
pub(crate) async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Waiting>) {
    let mut stopping = core.stopping.subscribe();
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            count = queue.recv_many(&mut waiting, WAITING_MAX) => if count == 0 { return },
        }
        metrics::counter!("yin_raft_barrier_rounds_total").increment(1);
        let index = tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            index = round(&core) => index,
        };
        for reader in waiting.drain(..) {
            // Whoever gave up waiting does not need to know.
            let _ = reader.send(index);
        }
    }
}

/// Asks the leader once. None when there is none, it changed meanwhile or it gave no good answer.
async fn round(core: &Core) -> Option<u64> {
    let mut leadership = core.leadership.subscribe();
    let leader = leadership.borrow_and_update().leader?;
    let asking = async {
        if leader == core.me() {
            return here(&core.raft().ok()?).await;
        }
        let request = core.network.request(
            PeerId(leader),
            service::READ_INDEX,
            codec::encode(&()),
            core.election(),
        );
        match request.await {
            Ok(answer) => codec::decode("a read index", &answer).ok(),
            Err(error) => {
                tracing::debug!(%error, leader, "the leader did not answer a read barrier");
                None
            }
        }
    };
    let answer = tokio::select! {
        answer = asking => answer?,
        // Whatever the old leader still says, it may be too late for it.
        _ = leadership.changed() => return None,
    };
    match answer {
        ReadIndex::At(index) => Some(index),
        ReadIndex::NotLeader { .. } | ReadIndex::NoQuorum => None,
    }
}

/// The leader's side: confirms with a quorum that it still leads.
pub(crate) async fn here(raft: &Raft) -> Option<ReadIndex> {
    let is_hasty = plants::is(plants::STALE_LINEARIZABLE_READ) || plants::is(plants::LONG_LEASE);
    if is_hasty && let Some(index) = unconfirmed(raft) {
        return Some(ReadIndex::At(index));
    }
    // Never `LeaseRead`: a follower that restarts forgets the lease it gave.
    let asked = raft.clone();
    let asking = async move { asked.get_read_linearizer(ReadPolicy::ReadIndex).await };
    match whole(raft, asking).await {
        Ok(linearizer) => Some(ReadIndex::At(linearizer.read_log_id().index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Some(ReadIndex::NotLeader {
                leader: forward.leader_id,
            })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Some(ReadIndex::NoQuorum)
        }
        Err(RaftError::Fatal(error)) => {
            tracing::debug!(%error, "no read index");
            None
        }
    }
}

/// What a leader that does not ask its quorum answers.
fn unconfirmed(raft: &Raft) -> Option<u64> {
    let metrics = raft.metrics().borrow_watched().clone();
    let is_trusted = match metrics.last_quorum_acked {
        _ if plants::is(plants::STALE_LINEARIZABLE_READ) => true,
        Some(acked) if plants::is(plants::LONG_LEASE) => acked.into_inner().elapsed() < LONG_LEASE,
        _ => false,
    };
    let is_leader = metrics.current_leader == Some(metrics.id);
    (is_trusted && is_leader).then(|| index_of(metrics.last_applied.as_ref()))
}

/// How long a read at a position waits for this node to get there by itself before it asks the
/// leader whether there is such a position at all.
pub(crate) fn patience(core: &Core) -> Duration {
    core.heartbeat() * 2
}
