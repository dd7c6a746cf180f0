//! How a replica stands, from openraft's metrics.
use std::collections::{BTreeMap, BTreeSet};

use model::id::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, RaftMetrics, ServerState};

use crate::core::Core;
use crate::replica::{Role, Status};
use crate::types::{Types, index_of};

/// How a replica stands before openraft runs.
pub(crate) fn before_start() -> Status {
    Status {
        role: Role::Outside,
        leader: None,
        term: 0,
        last_log_index: 0,
        committed_index: 0,
        applied_index: 0,
        snapshot_index: 0,
        purged_index: 0,
        voters: Vec::new(),
        learners: Vec::new(),
        addresses: BTreeMap::new(),
        replicated: BTreeMap::new(),
        quorum_age_ms: None,
        stopped: None,
        is_disk_low: false,
        is_recovered: false,
    }
}

/// How it stands now; the last known membership while openraft does not run.
pub(crate) fn now(core: &Core) -> Status {
    let mut status = match core.raft() {
        Ok(raft) => of(core.me(), &raft.metrics().borrow_watched()),
        Err(_) => {
            let known = core.status.borrow().clone();
            Status {
                leader: None,
                quorum_age_ms: None,
                replicated: BTreeMap::new(),
                role: at_rest(known.role),
                ..known
            }
        }
    };
    status.applied_index = core.bench.progress.applied();
    status.committed_index = status.committed_index.max(status.applied_index);
    status.stopped = core.stopped();
    status.is_disk_low = core.is_disk_low();
    status.is_recovered = *core.is_recovered.borrow();
    status
}

/// Tells those who watch, unless nothing changed but the time.
pub(crate) fn tell(core: &Core) {
    let mut status = now(core);
    core.status.send_if_modified(|known| {
        let age = std::mem::replace(&mut known.quorum_age_ms, status.quorum_age_ms);
        let is_changed = *known != status;
        // An age that comes or goes is news; that it grows is not.
        let is_news = is_changed || age.is_some() != status.quorum_age_ms.is_some();
        std::mem::swap(known, &mut status);
        is_news
    });
}

/// What a node is that cannot take part just now.
fn at_rest(role: Role) -> Role {
    match role {
        Role::Leader | Role::Voter => Role::Voter,
        Role::Learner => Role::Learner,
        Role::Outside => Role::Outside,
    }
}

fn of(me: u64, metrics: &RaftMetrics<Types>) -> Status {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let role = if metrics.state == ServerState::Leader {
        Role::Leader
    } else if voters.contains(&me) {
        Role::Voter
    } else if membership.get_node(&me).is_some() {
        Role::Learner
    } else {
        Role::Outside
    };
    let committed = metrics.cluster_committed.max(metrics.local_committed);
    Status {
        role,
        leader: metrics.current_leader.map(NodeId),
        term: metrics.current_term,
        last_log_index: metrics.last_log_index.unwrap_or(0),
        committed_index: index_of(committed.as_ref()),
        applied_index: index_of(metrics.last_applied.as_ref()),
        snapshot_index: index_of(metrics.snapshot.as_ref()),
        purged_index: index_of(metrics.purged.as_ref()),
        voters: voters.into_iter().map(NodeId).collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
        addresses: membership
            .nodes()
            .map(|(node, member)| (NodeId(*node), member.address))
            .collect(),
        replicated: metrics
            .replication
            .iter()
            .flatten()
            .filter(|(node, _)| **node != me)
            .map(|(node, id)| (NodeId(*node), index_of(id.as_ref())))
            .collect(),
        quorum_age_ms: metrics.last_quorum_acked.map(|acked| {
            let age = acked.into_inner().elapsed().as_millis();
            u64::try_from(age).unwrap_or(u64::MAX)
        }),
        stopped: None,
        is_disk_low: false,
        is_recovered: false,
    }
}
