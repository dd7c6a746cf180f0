//! The nodes' configuration: small, so that rare paths run often.

/// How quickly a lost leader is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Election {
    /// As shipped: 400 to 800 ms.
    Normal,
    /// Half of that: more elections, and more of them for want of processor time.
    Fast,
    /// Three times that, for a machine that is busy with other things.
    Slow,
}

impl Election {
    /// Heartbeat, shortest and longest election timeout, in milliseconds.
    pub(crate) fn timing_ms(self) -> (u64, u64, u64) {
        match self {
            Self::Fast => (50, 200, 400),
            Self::Normal => (100, 400, 800),
            Self::Slow => (200, 1_200, 2_400),
        }
    }
}

/// The file.
pub(crate) fn text(election: Election) -> String {
    let (heartbeat, shortest, longest) = election.timing_ms();
    format!(
        "[raft]
heartbeat_ms = {heartbeat}
election_min_ms = {shortest}
election_max_ms = {longest}
snapshot_entries = 400
keep_entries = 100
[storage]
disk_reserve_bytes = 33554432
spool_reserve_bytes = 33554432
log_segment_bytes = 2097152
block_cache_bytes = 8388608
[api.upload]
covers_parallel_max = 1
[api.limits]
register_per_address = {{ per_second = 0, burst = 0 }}
login_per_address = {{ per_second = 0, burst = 0 }}
login_per_name = {{ per_second = 0, burst = 0 }}
upload_per_address = {{ per_second = 0, burst = 0 }}
upload_per_user = {{ per_second = 0, burst = 0 }}
write_per_address = {{ per_second = 0, burst = 0 }}
write_per_user = {{ per_second = 0, burst = 0 }}
"
    )
}
