//! Changes of the membership and of who leads. They happen at the leader; other nodes ask it.
//!
//! Every change says how things shall be, so it may be asked for twice: an answer that was lost is
//! asked for again.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{ChangeMembers, ServerState};
use tokio::time::Instant;
use transport::network::{Error as NetworkError, PeerId};

use crate::codec;
use crate::core::Core;
use crate::health;
use crate::message::{Admin, AdminOutcome, service};
use crate::replica::Error;
use crate::types::{Member, Raft, Types, index_of};
use crate::whole::whole;

/// How long a change may take: a new voter has to be sent what it lacks.
const WITHIN: Duration = Duration::from_secs(30);

/// Gets `admin` done at whoever leads.
///
/// # Errors
/// As [`crate::replica::Replica::add_learner`].
pub(crate) async fn change(core: &Arc<Core>, admin: Admin) -> Result<(), Error> {
    let deadline = Instant::now() + WITHIN;
    let mut leadership = core.leadership.subscribe();
    let mut doubt = None;
    let mut why_not = "no leader took it".to_owned();
    loop {
        let leader = leadership.borrow_and_update().leader;
        let outcome = match leader {
            Some(leader) if leader == core.me() => {
                let within = deadline.saturating_duration_since(Instant::now());
                here(core, admin.clone(), within).await
            }
            Some(leader) => ask(core, leader, &admin, deadline).await,
            None => {
                if let Some(why) = core.stopped() {
                    return Err(Error::Stopped { why });
                }
                AdminOutcome::NotLeader { leader: None }
            }
        };
        match outcome {
            AdminOutcome::Done => return Ok(()),
            AdminOutcome::Refused { why } => return Err(core.unavailable(why)),
            AdminOutcome::NotLeader { .. } => {}
            AdminOutcome::Later { why } => why_not = why,
            AdminOutcome::Unknown { why } => doubt = Some(why),
        }
        let until = deadline.min(Instant::now() + core.heartbeat());
        let _ = tokio::time::timeout_at(until, leadership.changed()).await;
        if Instant::now() >= deadline {
            return Err(match doubt {
                Some(why) => Error::Unknown { why },
                None => core.unavailable(why_not),
            });
        }
    }
}

/// Starts a new cluster with this node as its only voter.
///
/// # Errors
/// As [`crate::replica::Replica::bootstrap`].
pub(crate) async fn bootstrap(core: &Core, address: SocketAddr) -> Result<(), Error> {
    let raft = core.raft()?;
    let members = BTreeMap::from([(core.me(), Member { address })]);
    match raft.initialize(members).await {
        Ok(()) => {}
        // There is a cluster already, of this life or an earlier one.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => return Ok(()),
        Err(RaftError::APIError(error)) => return Err(core.unavailable(error.to_string())),
        Err(RaftError::Fatal(fatal)) => {
            return Err(Error::Stopped {
                why: fatal.to_string(),
            });
        }
    }
    let mut leadership = core.leadership.subscribe();
    let leads = leadership.wait_for(|now| now.leader == Some(core.me()));
    let deadline = Instant::now() + core.election() * 4;
    // What the wait gives is a lock on the watch: it must not live any longer than this line.
    let leads = tokio::time::timeout_at(deadline, leads).await.is_ok();
    // The first entry of its own says that it can commit.
    if leads && core.bench.progress.reach(1, deadline).await {
        return Ok(());
    }
    Err(core.unavailable("this node did not become leader in time"))
}

async fn ask(core: &Core, leader: u64, admin: &Admin, deadline: Instant) -> AdminOutcome {
    let within = deadline.saturating_duration_since(Instant::now());
    let body = codec::encode(admin);
    let request = core
        .network
        .request(PeerId(leader), service::ADMIN, body, within);
    match request.await {
        Ok(answer) => codec::decode("an admin outcome", &answer).unwrap_or_else(|error| {
            AdminOutcome::Unknown {
                why: error.to_string(),
            }
        }),
        Err(NetworkError::Unreachable { .. } | NetworkError::Refused { .. }) => {
            AdminOutcome::NotLeader { leader: None }
        }
        Err(error @ NetworkError::NoAnswer { .. }) => AdminOutcome::Unknown {
            why: error.to_string(),
        },
    }
}

/// Does it here, if this node leads. It goes on when the caller goes away: a change by joint
/// consensus that stops half way would leave two majorities in force.
pub(crate) async fn here(core: &Arc<Core>, admin: Admin, within: Duration) -> AdminOutcome {
    let raft = match core.raft() {
        Ok(raft) => raft,
        Err(_) => return AdminOutcome::NotLeader { leader: None },
    };
    let leader = core.leader().leader;
    if leader != Some(core.me()) {
        return AdminOutcome::NotLeader { leader };
    }
    let doing = {
        let core = Arc::clone(core);
        tokio::spawn(async move { run(&core, &raft, admin).await })
    };
    match tokio::time::timeout(within, doing).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => AdminOutcome::Unknown {
            why: format!("it broke off: {error}"),
        },
        Err(_) => AdminOutcome::Unknown {
            why: "it did not end in time".to_owned(),
        },
    }
}

async fn run(core: &Core, raft: &Raft, admin: Admin) -> AdminOutcome {
    tracing::info!(?admin, "membership change");
    if let Some(why_not) = not_now(core, raft, &admin) {
        return why_not;
    }
    let done = match admin {
        Admin::TransferLeader { to } => return transfer(core, raft, to).await,
        Admin::AddLearner { node, address } => {
            // An id that is a member already keeps its address: say the new one first.
            let member = Member { address };
            match member_of(raft, node) {
                Some(known) if known == member => return AdminOutcome::Done,
                Some(_) => set_address(raft, node, member).await,
                None => raft.add_learner(node, member, false).await,
            }
        }
        Admin::SetVoters { voters } => {
            let is_leaving = !voters.contains(&core.me());
            let done = raft.change_membership(voters, true).await;
            if done.is_ok() && is_leaving {
                step_down(core, raft).await;
            }
            done
        }
        Admin::Remove { node } => {
            if member_of(raft, node).is_none() {
                return AdminOutcome::Done;
            }
            let nodes = BTreeSet::from([node]);
            let change = if voters_of(raft).contains(&node) {
                // Not kept as a learner: it goes altogether.
                ChangeMembers::RemoveVoters(nodes)
            } else {
                ChangeMembers::RemoveNodes(nodes)
            };
            raft.change_membership(change, false).await
        }
        Admin::SetAddress { node, address } => {
            let member = Member { address };
            match member_of(raft, node) {
                None => {
                    return AdminOutcome::Refused {
                        why: format!("node {node} is no member"),
                    };
                }
                Some(known) if known == member => return AdminOutcome::Done,
                Some(_) => set_address(raft, node, member).await,
            }
        }
    };
    match done {
        Ok(_) => AdminOutcome::Done,
        Err(error) => not_done(error),
    }
}

/// Why this leader begins no change of members now, if it should not.
///
/// Out of a half-way change whose new voters lack this node, another one would drop this node
/// altogether while it still leads, and openraft holds that only members do.
fn not_now(core: &Core, raft: &Raft, admin: &Admin) -> Option<AdminOutcome> {
    if matches!(admin, Admin::TransferLeader { .. }) {
        return None;
    }
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let config = &metrics.membership_config;
    if config.get_joint_config().len() > 1 {
        // Its leader is at it, or `finish` will be.
        return Some(AdminOutcome::Later {
            why: "an earlier change of the voters is not at its end".to_owned(),
        });
    }
    // Taken out a moment ago: whoever leads next does it.
    let is_member = config.get_node(&core.me()).is_some();
    (!is_member).then_some(AdminOutcome::NotLeader { leader: None })
}

type Changed =
    Result<openraft::raft::ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>;

async fn set_address(raft: &Raft, node: u64, member: Member) -> Changed {
    let nodes = BTreeMap::from([(node, member)]);
    raft.change_membership(ChangeMembers::SetNodes(nodes), true)
        .await
}

/// Ends a change of the voters that another leader began and did not live to end: as long as it
/// stands half way, a majority of the old voters has to agree as well, so that the loss of one node
/// may be one too many. `seen` is the index at which it stood the last time: one that moves on is
/// somebody's who is still at work.
pub(crate) async fn finish(core: &Core, raft: &Raft, seen: &mut Option<u64>) {
    let (index, voters) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let config = &metrics.membership_config;
        let configs = config.get_joint_config();
        let voters = configs.last().filter(|_| configs.len() > 1).cloned();
        let index = config.log_id().map(|id| index_of(Some(&id)));
        (index.filter(|_| voters.is_some()), voters)
    };
    let is_stuck = std::mem::replace(seen, index) == index;
    let Some(voters) = voters.filter(|_| is_stuck) else {
        return;
    };
    tracing::warn!(?voters, "ending a membership change that was left half way");
    let asked = raft.clone();
    let finishing = async move { asked.change_membership(voters, true).await };
    let finishing = whole(raft, finishing);
    match tokio::time::timeout(core.election() * 4, finishing).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the membership change is still half way"),
        Err(_) => tracing::warn!("the membership change is still half way: no quorum"),
    }
}

fn not_done(error: RaftError<Types, ClientWriteError<Types>>) -> AdminOutcome {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            AdminOutcome::NotLeader {
                leader: forward.leader_id,
            }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            error @ (ChangeMembershipError::InProgress(_)
            | ChangeMembershipError::UncommittedLeaderLog(_)),
        )) => AdminOutcome::Later {
            why: error.to_string(),
        },
        RaftError::APIError(
            error @ (ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => AdminOutcome::Refused {
            why: error.to_string(),
        },
        RaftError::APIError(error @ ClientWriteError::LogEntryDiscarded(_)) => {
            AdminOutcome::Unknown {
                why: error.to_string(),
            }
        }
        RaftError::Fatal(error) => AdminOutcome::Unknown {
            why: error.to_string(),
        },
    }
}

/// How a member is reached, as far as this node knows the membership.
pub(crate) fn member_of(raft: &Raft, node: u64) -> Option<Member> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.get_node(&node).cloned()
}

fn voters_of(raft: &Raft) -> BTreeSet<u64> {
    raft.metrics()
        .borrow_watched()
        .membership_config
        .voter_ids()
        .collect()
}

/// Hands leadership over; returns when another node leads.
async fn transfer(core: &Core, raft: &Raft, to: Option<u64>) -> AdminOutcome {
    let me = core.me();
    if to == Some(me) {
        return AdminOutcome::Done;
    }
    let others: BTreeSet<u64> = voters_of(raft).into_iter().filter(|it| *it != me).collect();
    let target = match to {
        Some(to) if others.contains(&to) => to,
        Some(to) => {
            return AdminOutcome::Refused {
                why: format!("node {to} has no vote, so it cannot lead"),
            };
        }
        // Of those that are there: one that died a moment ago may have been the furthest.
        None => match furthest(raft, &health::with_room(core, &others).await) {
            Some(target) => target,
            None => {
                return AdminOutcome::Refused {
                    why: "no other voter is there and could lead".to_owned(),
                };
            }
        },
    };
    if let Err(error) = raft.trigger().transfer_leader(target).await {
        return AdminOutcome::Unknown {
            why: error.to_string(),
        };
    }
    tracing::info!(target, "handing leadership over");
    let mut leadership = core.leadership.subscribe();
    let is_other = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != me));
    if tokio::time::timeout(core.election(), is_other)
        .await
        .is_ok()
    {
        return AdminOutcome::Done;
    }
    resume(raft).await;
    AdminOutcome::Refused {
        why: format!("node {target} did not take over in time"),
    }
}

/// Hands over since this node votes no more: openraft would let it lead on as a learner.
async fn step_down(core: &Core, raft: &Raft) {
    match transfer(core, raft, None).await {
        AdminOutcome::Done | AdminOutcome::NotLeader { .. } => {}
        // The watch over the leader's fitness tries again.
        AdminOutcome::Refused { why }
        | AdminOutcome::Later { why }
        | AdminOutcome::Unknown { why } => {
            tracing::warn!(why, "leadership was not handed over");
        }
    }
}

/// A leader that began to hand over takes no writes until another leads, and openraft never ends
/// that by itself: if nobody took over, be elected anew.
async fn resume(raft: &Raft) {
    let is_leader = raft.metrics().borrow_watched().state == ServerState::Leader;
    if is_leader && let Err(error) = raft.trigger().elect(false).await {
        tracing::warn!(%error, "no election after a failed handover");
    }
}

/// Which of `nodes` has replicated most.
pub(crate) fn furthest(raft: &Raft, nodes: &BTreeSet<u64>) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let replication = metrics.replication.as_ref()?;
    let known = replication.iter().filter(|(node, _)| nodes.contains(node));
    known
        .max_by_key(|(_, id)| index_of(id.as_ref()))
        .map(|(node, _)| *node)
}
