//! The handle on this node's replica: write, read, membership, status.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::command::{Operation, Reply, RequestId};
use model::event::Event;
use model::id::NodeId;
use model::time::Timestamp;
use model::token::TokenHash;
use storage::state::SharedView;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use transport::network::Handlers;

use crate::core::{Core, Running};
use crate::message::Admin;
use crate::options::{Options, Parts};
use crate::position::{Invalid, Position};
use crate::{
    barrier, forward, health, membership, outbox, proposer, read, schedule, server, status,
    supervisor,
};

/// One request to change something.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The same for every retry.
    pub request: RequestId,
    pub issued: Timestamp,
    pub actor: Option<TokenHash>,
    pub operation: Operation,
}

/// A change that is committed, and applied on this node.
#[derive(Clone, Debug)]
pub struct Written {
    pub reply: Reply,
    pub position: Position,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What this node has applied.
    Local,
    /// At least this position; none: what was committed when the read began (a shared barrier).
    Session(Option<Position>),
    /// What was committed when the read began.
    Linearizable,
}

/// A view that is fresh enough, and where it stands.
#[derive(Clone)]
pub struct Reading {
    pub view: SharedView,
    pub position: Position,
}

/// Why a write or read did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Certainly not applied: no leader, no quorum, no room, overload. Try again after `retry_after`.
    #[error("not done: {why}")]
    Unavailable { why: String, retry_after: Duration },
    /// The answer was lost: it may or may not have been applied. The same request id may be retried.
    #[error("the outcome is not known: {why}")]
    Unknown { why: String },
    /// The position is ahead of everything this cluster has.
    #[error("the session position lies in the future of this cluster: drop it and ask without")]
    FuturePosition,
    /// The replica stopped for a fault of this machine.
    #[error("this replica has stopped: {why}")]
    Stopped { why: String },
}

/// A node's part in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Voter,
    Learner,
    /// Not (or no longer) in the cluster's membership.
    Outside,
}

/// How this replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub role: Role,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    pub addresses: BTreeMap<NodeId, SocketAddr>,
    /// How far each follower has replicated; only the leader knows.
    pub replicated: BTreeMap<NodeId, u64>,
    /// When a quorum last confirmed the leader, milliseconds ago; only the leader knows.
    pub quorum_age_ms: Option<u64>,
    /// Why it stopped, if it did.
    pub stopped: Option<String>,
    /// Writes are refused: too little room on this node's disk.
    pub is_disk_low: bool,
    /// Since it started, this node has applied all that was committed before: local reads do not
    /// go back in time.
    pub is_recovered: bool,
}

/// What one batch of applied entries did, in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The last index of the batch: a view that is read now is at least this new.
    pub index: u64,
    pub events: Vec<Event>,
    /// The state was replaced by a snapshot: every cache of it must be dropped, since what happened
    /// in between is not told.
    pub is_replaced: bool,
}

/// The handle on this node's replica. Clones share it; when the last is dropped, it stops.
#[derive(Clone)]
pub struct Replica {
    life: Arc<Life>,
}

/// The replica and the tasks that run it.
struct Life {
    core: Arc<Core>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.core.stopping.send_replace(true);
    }
}

impl Replica {
    /// Opens the replica on its stores and starts it. Serve the handlers on the network (together
    /// with everyone else's) before anything else: without them this node has no voice.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the options contradict themselves or the stores cannot be read.
    pub async fn start(options: Options, parts: Parts) -> Result<(Self, Handlers), Error> {
        let stopped = |why: String| Error::Stopped { why };
        if parts.network.me().0 != options.node.0 {
            let why = format!(
                "this is node {}, but the network's certificate is node {}'s",
                options.node,
                parts.network.me()
            );
            return Err(stopped(why));
        }
        let (proposals, proposed) = mpsc::channel(options.limits.waiting_writes_max.max(1));
        let (outbox, handed) = mpsc::channel(options.limits.writes_max.max(1));
        let (barriers, reading) = mpsc::channel(barrier::WAITING_MAX);
        let core = Arc::new(Core::new(options, parts, proposals, outbox, barriers));
        health::look_at_disk(&core);
        let (raft, ended) = supervisor::open(&core).await.map_err(stopped)?;
        core.set_running(Running::Raft(raft.clone()));
        let handlers = server::handlers(&core);
        let tasks = vec![
            tokio::spawn(supervisor::recover(Arc::clone(&core), raft.clone())),
            tokio::spawn(supervisor::supervise(Arc::clone(&core), raft, ended)),
            tokio::spawn(proposer::run(Arc::clone(&core), proposed)),
            tokio::spawn(outbox::run(Arc::clone(&core), handed)),
            tokio::spawn(barrier::run(Arc::clone(&core), reading)),
            tokio::spawn(health::run(Arc::clone(&core))),
            tokio::spawn(schedule::run(Arc::clone(&core))),
        ];
        let tasks = Mutex::new(tasks);
        let life = Arc::new(Life { core, tasks });
        Ok((Self { life }, handlers))
    }

    /// Makes this node the first voter of a new cluster. Does nothing if that was done before.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Unavailable`] when this node did not become leader in time.
    pub async fn bootstrap(&self, address: SocketAddr) -> Result<(), Error> {
        membership::bootstrap(&self.life.core, address).await
    }

    /// Changes something: here if this node leads, else in one hop at the leader. Retries with the
    /// same request id until `within` is used up, and answers once this node has applied it, so that
    /// a read that follows here sees it.
    ///
    /// A rejection is a [`Reply`], not an error.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when certainly nothing was changed, [`Error::Unknown`] when that
    /// cannot be told, [`Error::Stopped`].
    pub async fn write(&self, proposal: Proposal, within: Duration) -> Result<Written, Error> {
        forward::write(&self.life.core, proposal, within).await
    }

    /// A view that is as fresh as `consistency` asks for, or nothing: never silently an older one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be had `within`, [`Error::FuturePosition`],
    /// [`Error::Stopped`].
    pub async fn read(&self, consistency: Consistency, within: Duration) -> Result<Reading, Error> {
        read::read(&self.life.core, consistency, within).await
    }

    /// A position as text for clients; none before the cluster's identity has reached this node.
    pub fn encode_position(&self, position: Position) -> Option<String> {
        match self.life.core.seal() {
            Ok(seal) => seal.map(|seal| self.life.core.told.encode(position, &seal.key)),
            Err(error) => {
                tracing::warn!(%error, "cannot read the key of session positions");
                None
            }
        }
    }

    /// Reads a position that a client sent.
    ///
    /// # Errors
    /// [`Invalid`] says why it is none.
    pub fn decode_position(&self, text: &str) -> Result<Position, Invalid> {
        match self.life.core.seal() {
            Ok(Some(seal)) => self.life.core.told.decode(text, &seal.key, seal.epoch),
            Ok(None) => Err(Invalid::NotReady),
            Err(error) => {
                tracing::warn!(%error, "cannot read the key of session positions");
                Err(Invalid::NotReady)
            }
        }
    }

    /// How this replica stands now.
    pub fn status(&self) -> Status {
        status::now(&self.life.core)
    }

    /// Follows how this replica stands.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.life.core.status.subscribe()
    }

    /// What happens from now on, in log order. Bounded: a listener that lags is told so, and must
    /// then drop what it derived from events.
    pub fn events(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.life.core.bench.events.subscribe()
    }

    /// Adds a node that replicates and does not vote. Returns once that is committed; how far it
    /// has caught up is in [`Status::replicated`]. Works on any node, as all membership changes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] (also when another membership change does not come to an end),
    /// [`Error::Unknown`], [`Error::Stopped`].
    pub async fn add_learner(&self, node: NodeId, address: SocketAddr) -> Result<(), Error> {
        let node = node.0;
        self.change(Admin::AddLearner { node, address }).await
    }

    /// Makes exactly `voters` vote, by joint consensus; voters that are no longer become learners.
    /// All of them must be members already.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), Error> {
        let voters = voters.into_iter().map(|node| node.0).collect();
        self.change(Admin::SetVoters { voters }).await
    }

    /// Takes a node out of the cluster's membership, voter or learner.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn remove(&self, node: NodeId) -> Result<(), Error> {
        self.change(Admin::Remove { node: node.0 }).await
    }

    /// Notes that a member now lives at `address`.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn set_address(&self, node: NodeId, address: SocketAddr) -> Result<(), Error> {
        let node = node.0;
        self.change(Admin::SetAddress { node, address }).await
    }

    /// Hands leadership to `to`, or to the voter that is furthest if there is none named. Returns
    /// when another node leads.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<(), Error> {
        let to = to.map(|node| node.0);
        self.change(Admin::TransferLeader { to }).await
    }

    /// Takes a snapshot of what this node has applied and lets the log behind it go.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Unavailable`].
    pub async fn snapshot_now(&self) -> Result<(), Error> {
        schedule::now(&self.life.core).await
    }

    /// Stops; hand over first with [`Replica::transfer_leader`] if others should not notice. Waits
    /// until nothing of it runs any more, so that the stores may be closed.
    pub async fn stop(&self) {
        self.life.core.stopping.send_replace(true);
        let tasks = {
            let mut tasks = self
                .life
                .tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the replica broke off");
            }
        }
    }

    async fn change(&self, admin: Admin) -> Result<(), Error> {
        membership::change(&self.life.core, admin).await
    }
}
