//! What a seed makes of a run: how many nodes, how fast, how bad the network and the disks are, and
//! which faults come how often. Small limits, so that rare paths are frequent ones.
use model::id::NodeId;
use raft::options::{Blocking, Limits, Options, Timing};
use std::time::Duration;

use super::dice::Dice;
use super::disk::Manner;
use super::network::{Cut, Link};

/// Which faults a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Everything, mixed by the seed.
    #[default]
    Mixed,
    /// Nothing at all: many bugs need no fault.
    Calm,
    /// Processes die, power goes.
    Crashes,
    /// The network alone.
    Partitions,
}

impl Profile {
    /// By its name on the command line.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "mixed" => Self::Mixed,
            "calm" => Self::Calm,
            "crashes" => Self::Crashes,
            "partitions" => Self::Partitions,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Calm => "calm",
            Self::Crashes => "crashes",
            Self::Partitions => "partitions",
        }
    }
}

/// A run's options.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: u64,
    pub(crate) clients: usize,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) usual: Link,
    pub(crate) manner: Manner,
    /// Between two faults.
    pub(crate) fault_every_ms: (u64, u64),
    /// How long one lasts.
    pub(crate) fault_lasts_ms: (u64, u64),
    /// Between two operations of one client.
    pub(crate) think_ms: (u64, u64),
    pub(crate) write_timeout_ms: u64,
    pub(crate) read_timeout_ms: u64,
    /// Whether members come and go in this run, or lose their disks: both at once may take more
    /// than Raft can bear, since a change that is under way may count on the disk that is lost.
    pub(crate) is_resized: bool,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "shape");
        let nodes = match dice.roll(20) {
            0..=11 => 3,
            12..=16 => 5,
            17..=18 => 4,
            _ => 7,
        };
        let heartbeat_ms = dice.between(30, 100);
        let election_min_ms = heartbeat_ms * dice.between(3, 5);
        Self {
            nodes,
            clients: usize::try_from(dice.between(3, 7)).expect("a handful"),
            timing: Timing {
                heartbeat_ms,
                election_min_ms,
                election_max_ms: election_min_ms * 2,
                clock_skew_ms_max: 2_000,
                watch_ms: dice.between(500, 2_000),
            },
            limits: limits(&mut dice),
            usual: Link {
                cut: Cut::No,
                delay_ms: dice.between(0, 4),
                jitter_ms: dice.between(0, 8),
                losses: dice.roll(3) * dice.roll(30),
                breaks: dice.roll(2) * dice.roll(8),
            },
            manner: Manner {
                sync_ms: (0, dice.between(0, 6)),
                stall_ms: dice.between(50, 400),
                stalls: dice.roll(2) * dice.roll(10),
            },
            fault_every_ms: (100, dice.between(400, 2_500)),
            fault_lasts_ms: (50, dice.between(300, 3_000)),
            think_ms: (0, dice.between(4, 60)),
            write_timeout_ms: dice.between(500, 3_000),
            read_timeout_ms: dice.between(500, 2_000),
            is_resized: dice.roll(2) == 0,
        }
    }

    pub(crate) fn replica(&self, node: u64) -> Options {
        Options {
            timing: self.timing.clone(),
            limits: self.limits.clone(),
            blocking: Blocking::InPlace,
            ..Options::new(NodeId(node))
        }
    }

    /// HTTP settings: hashes that cost nothing, and no limits on how often.
    pub(crate) fn api(&self) -> api::Options {
        let free = api::Rate {
            per_second: 0,
            burst: 1,
        };
        api::Options {
            public_url: Some("http://yin.test".to_owned()),
            write_timeout_ms: self.write_timeout_ms,
            read_timeout_ms: self.read_timeout_ms,
            password: api::Password {
                memory_kib: 8,
                passes: 1,
                ..api::Password::default()
            },
            limits: api::Limits {
                register_per_address: free,
                login_per_address: free,
                login_per_name: free,
                upload_per_address: free,
                upload_per_user: free,
                write_per_address: free,
                write_per_user: free,
            },
            ..api::Options::default()
        }
    }
}

fn limits(dice: &mut Dice) -> Limits {
    let is_short = dice.roll(3) > 0;
    Limits {
        entry_commands_max: usize::try_from(dice.between(1, 16)).expect("a handful"),
        entries_in_flight_max: usize::try_from(dice.between(1, 6)).expect("a handful"),
        snapshot_entries: if is_short {
            dice.between(20, 100)
        } else {
            dice.between(100, 1_000)
        },
        keep_entries: dice.between(0, 40),
        append_bytes_max: usize::try_from(dice.between(200, 8_000)).expect("some thousand"),
        transfer_stall: Duration::from_millis(dice.between(300, 2_000)),
        ..Limits::default()
    }
}
