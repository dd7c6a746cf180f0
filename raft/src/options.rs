//! What a replica is started with: who it is, how fast the cluster's clockwork ticks, every limit
//! with its unit, and the seams it stands on.
use std::sync::Arc;
use std::time::Duration;

use model::id::NodeId;
use storage::log::LogStore;
use storage::state::StateStore;
use transport::network::Network;

use crate::clock::Clock;

/// Tells whether too little room is left on the disk under the log and the state.
pub type Room = Arc<dyn Fn() -> bool + Send + Sync>;

/// Who this replica is, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub node: NodeId,
    pub timing: Timing,
    pub limits: Limits,
    pub blocking: Blocking,
}

/// Where work on the state is done that may take long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On threads that may block.
    #[default]
    Threads,
    /// Where it comes up: a simulation has one thread, and a run must be the same every time.
    InPlace,
}

impl Options {
    /// The defaults for a cluster whose nodes are near each other.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            timing: Timing::lan(),
            limits: Limits::default(),
            blocking: Blocking::default(),
        }
    }
}

/// The clockwork. All nodes of a cluster should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader tells that it lives. Must exceed the worst round trip and sync.
    pub heartbeat_ms: u64,
    /// A failover takes `election_max_ms` and a random time between the two.
    pub election_min_ms: u64,
    pub election_max_ms: u64,
    /// A leader whose wall clock is further than this from the majority's hands over.
    pub clock_skew_ms_max: u64,
    /// How often the leader compares clocks, and how often every node looks at its disk.
    pub watch_ms: u64,
}

impl Timing {
    /// Round trips of a few milliseconds: failover in 1.2 to 1.6 s.
    pub fn lan() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            clock_skew_ms_max: 5_000,
            watch_ms: 2_000,
        }
    }

    /// Round trips of 100 to 150 ms: failover in 3 to 3.6 s.
    pub fn wan() -> Self {
        Self {
            heartbeat_ms: 400,
            election_min_ms: 1_200,
            election_max_ms: 1_800,
            ..Self::lan()
        }
    }
}

/// Every bound of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Writes that wait at the leader to be proposed; more are refused.
    pub waiting_writes_max: usize,
    /// Writes of this node's clients that may be under way at once; more are refused.
    pub writes_max: usize,
    /// Commands in one log entry.
    pub entry_commands_max: usize,
    /// Encoded bytes in one log entry, unless a single command is larger.
    pub entry_bytes_max: usize,
    /// Entries that are proposed and not yet applied. More of them cost more syncs and processor
    /// time; fewer leave the log idle between two batches. Far apart nodes want more.
    pub entries_in_flight_max: usize,
    /// A snapshot is due after this many applied entries.
    pub snapshot_entries: u64,
    /// A snapshot is due after this many bytes of applied entries.
    pub snapshot_bytes: u64,
    /// Entries kept behind the snapshot, so that followers catch up from the log.
    pub keep_entries: u64,
    /// Encoded bytes of entries in one append, unless a single entry is larger.
    pub append_bytes_max: usize,
    /// A snapshot transfer that moves nothing for this long is given up.
    pub transfer_stall: Duration,
    /// Batches of events that wait for a slow listener before it misses some.
    pub events_waiting_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_writes_max: 8_192,
            writes_max: 16_384,
            entry_commands_max: 512,
            entry_bytes_max: 256 << 10,
            entries_in_flight_max: 3,
            snapshot_entries: 100_000,
            snapshot_bytes: 256 << 20,
            keep_entries: 20_000,
            append_bytes_max: 1 << 20,
            transfer_stall: Duration::from_secs(30),
            events_waiting_max: 1_024,
        }
    }
}

/// The seams a replica stands on.
#[derive(Clone)]
pub struct Parts {
    pub network: Arc<dyn Network>,
    pub log: Arc<dyn LogStore>,
    pub state: Arc<dyn StateStore>,
    pub clock: Arc<dyn Clock>,
    /// None: there is always room.
    pub room: Option<Room>,
}
