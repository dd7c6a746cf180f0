//! What nodes tell of themselves, as everyone sees it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use transport::network::PeerId;

/// What a node tells of itself. Small: under 2 kB on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where clients reach this node, e.g. `http://10.0.0.3:8080`.
    pub http_url: String,
    pub zone: String,
    /// `leader`, `voter`, `learner`, `joining`, `draining` or `damaged`.
    pub role: String,
    /// The node's release.
    pub version: String,
    /// Index of the last applied log entry.
    pub applied: u64,
    /// Requests in flight.
    pub load: u32,
    /// Free bytes on the data disk.
    pub disk_free_bytes: u64,
    /// Wall clock, ms since the epoch, when this was told (to compare clocks; never trusted).
    pub clock_ms: u64,
}

/// One node as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub peer: PeerId,
    /// The cluster endpoint (QUIC).
    pub address: SocketAddr,
    pub is_alive: bool,
    pub told: Told,
    /// Smoothed round-trip time from here; `None` for this node itself or without a connection.
    pub round_trip: Option<Duration>,
}

/// All nodes that gossip knows, this one included.
pub type Members = BTreeMap<PeerId, Member>;
// Gossip: start(Options{ cluster_id, interval, dead_grace, seeds: Vec<SocketAddr>, incarnation/generation }, Arc<dyn Network>) -> Result<Gossip>;
// Gossip::members() -> watch::Receiver<Arc<Members>>; tell(Told); add_seeds(Vec<SocketAddr>); stop().await
