//! The handle on this node's replica: write, read, membership, status.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use model::command::{Operation, Reply, RequestId};
use model::id::NodeId;
use model::time::Timestamp;
use model::token::TokenHash;
use storage::state::SharedView;

use crate::position::Position;

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
}
// Options { node: NodeId, timing: Timing{heartbeat_ms, election_min_ms, election_max_ms}, disk reserve, limits … }
// Parts { network: Arc<dyn Network>, log: Arc<dyn LogStore>, state: Arc<dyn StateStore>, clock: Arc<dyn Clock>, room: Option<..> }
// Replica::start(Options, Parts) -> Result<(Replica, Handlers /* services to serve on the network */), Error>
// impl Replica (cheap clone):
//   bootstrap(address) — first node of a new cluster
//   write(Proposal, within) -> Result<Written, Error>          (forwards to the leader in one hop, retries with the same id)
//   read(Consistency, within) -> Result<Reading, Error>
//   position_key() / decode/encode of positions with the replicated key: encode_position(Position) -> String, decode_position(&str) -> Result<Position, Invalid>
//   status() -> Status; watch() -> watch::Receiver<Status>
//   events() -> broadcast::Receiver<Arc<Vec<Event>>> (bounded; lagging receivers are told)
//   add_learner(NodeId, SocketAddr), set_voters(BTreeSet<NodeId>), remove(NodeId), set_address(NodeId, SocketAddr), transfer_leader(NodeId), snapshot_now()
//   stop().await
