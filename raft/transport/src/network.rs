//! The network seam: requests, transfers and messages between peers.
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// A node of the cluster, as its certificate names it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What urgency a request has: votes and heartbeats before the log, the log before forwarded
/// requests, those before snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats, leader transfer: a stream each.
    Urgent,
    /// Log appends: one long-lived pipelined stream per peer, begun and answered in order.
    Log,
    /// Forwarded reads and writes: one long-lived pipelined stream per peer, answers in any order.
    Forward,
    /// Snapshots: a stream each, last in line.
    Bulk,
}

/// A kind of request: its number on the wire is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    pub number: u8,
    pub lane: Lane,
    pub name: &'static str,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Certainly not delivered: no connection to the peer.
    #[error("node {peer} cannot be reached: {why}")]
    Unreachable { peer: PeerId, why: String },
    /// Fate unknown: the connection broke or the time was up after the request was sent.
    #[error("node {peer} gave no answer: {why}")]
    NoAnswer { peer: PeerId, why: String },
    /// The peer's handler refused, in its own words.
    #[error("node {peer} refused: {why}")]
    Refused { peer: PeerId, why: String },
}

/// A handler's own "no", carried to the caller as [`Error::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Answers one service's requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// `left` is how long the caller still waits. When it is over the future is dropped, since
    /// nobody waits for its answer any more; what must be finished anyway runs in a task.
    ///
    /// In [`Lane::Log`] one peer's requests begin in the order in which they were sent: what a
    /// handler does before its first wait, and its place in a queue that is fair, are in order.
    async fn handle(&self, from: PeerId, body: Bytes, left: Duration) -> Result<Bytes, Refusal>;
}

/// Receives one service's transfers.
#[async_trait]
pub trait Receiver: Send + Sync + 'static {
    /// `chunks` ends with `None` after a complete transfer, and with an error when it broke off.
    /// What this returns goes back to the sender.
    async fn receive(
        &self,
        from: PeerId,
        head: Bytes,
        chunks: mpsc::Receiver<Result<Bytes, Error>>,
    ) -> Result<Bytes, Refusal>;
}

/// Everything a node answers to. Filled before the network starts.
#[derive(Clone, Default)]
pub struct Handlers {
    pub requests: Vec<(Service, Arc<dyn Handler>)>,
    pub transfers: Vec<(Service, Arc<dyn Receiver>)>,
}

/// A message that came from an authenticated peer.
#[derive(Clone, Debug)]
pub struct Message {
    pub from: PeerId,
    pub address: SocketAddr,
    pub body: Bytes,
}

/// Counts of what this node asked of its peers, to show that a read asked nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub requests: u64,
    pub transfers: u64,
    pub messages: u64,
}

/// The network of one node.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// This node.
    fn me(&self) -> PeerId;

    /// Where others reach this node.
    fn local_addr(&self) -> SocketAddr;

    /// Tells where `peer` is. A changed address drops the old connection.
    fn set_address(&self, peer: PeerId, address: SocketAddr);

    /// Where `peer` was last said to be.
    fn address(&self, peer: PeerId) -> Option<SocketAddr>;

    /// Asks `peer` and waits at most `within` for its answer.
    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error>;

    /// Sends a long body in chunks on a stream of its own and waits for the answer.
    ///
    /// Fails when no chunk could be sent, or no answer came, for `stalled`. Dropping the future
    /// cancels the transfer at the other end.
    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error>;

    /// Sends a small message to whoever of this cluster lives at `address`; best effort, never
    /// blocks: dropped when too many wait.
    fn message(&self, address: SocketAddr, body: Bytes);

    /// The messages that arrive. Can be taken once; later calls give `None`.
    fn messages(&self) -> Option<mpsc::Receiver<Message>>;

    /// Smoothed round-trip time to `peer`, if there is a connection.
    fn round_trip(&self, peer: PeerId) -> Option<Duration>;

    /// What this node sent since it started, without messages' and connections' own upkeep.
    fn sent(&self) -> Sent;

    /// Starts answering with `handlers`. Called once; until then peers' requests wait.
    fn serve(&self, handlers: Handlers);

    /// Closes all connections and stops.
    async fn close(&self);
}
