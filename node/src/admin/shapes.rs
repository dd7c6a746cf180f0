//! What goes over the admin socket: JSON, the same that `--output json` prints.
use serde::{Deserialize, Serialize};

/// How a node and its cluster stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatusShape {
    pub(crate) cluster_id: String,
    pub(crate) node: u64,
    pub(crate) version: String,
    pub(crate) role: String,
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) last_log_index: u64,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) snapshot_index: u64,
    pub(crate) purged_index: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    /// Voters that gossip sees alive, this one included.
    pub(crate) voters_alive: usize,
    /// How many more voters may fail before writes stop; negative: they have stopped.
    pub(crate) failures_left: i64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) is_disk_low: bool,
    /// Why this replica stopped, if it did.
    pub(crate) stopped: Option<String>,
    /// What an operator should know; empty when all is well.
    pub(crate) warnings: Vec<String>,
}

/// One member as the asked node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemberShape {
    pub(crate) node: u64,
    pub(crate) is_alive: bool,
    pub(crate) role: String,
    pub(crate) cluster_address: String,
    pub(crate) http_url: String,
    pub(crate) zone: String,
    pub(crate) version: String,
    pub(crate) applied: u64,
    pub(crate) load: u32,
    pub(crate) disk_free_bytes: u64,
    pub(crate) round_trip_ms: Option<f64>,
    /// How far this member's clock is from the asked node's; only as exact as gossip is quick.
    pub(crate) clock_offset_ms: i64,
}

/// One thing that does not agree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DifferenceShape {
    pub(crate) what: String,
    pub(crate) stored: String,
    pub(crate) recounted: String,
}

/// What a recount found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VerifyShape {
    pub(crate) node: u64,
    /// The log index up to which the recounted view goes.
    pub(crate) index: u64,
    pub(crate) users: u64,
    pub(crate) videos: u64,
    pub(crate) comments: u64,
    pub(crate) follows: u64,
    pub(crate) favorites: u64,
    pub(crate) messages: u64,
    pub(crate) difference_count: u64,
    /// The first thousand.
    pub(crate) differences: Vec<DifferenceShape>,
}

/// Asks for a join token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TokenAsk {
    pub(crate) uses: u32,
    pub(crate) ttl_hours: u32,
}

/// A join token, shown once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TokenShape {
    pub(crate) token: String,
    /// Where to join: this node's cluster address.
    pub(crate) join: String,
}

/// Asks to hand leadership over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    pub(crate) to: u64,
}

/// What went wrong, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}
