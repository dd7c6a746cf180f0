//! openraft's configuration, from ours.
use openraft::{Config, SnapshotPolicy};

use crate::options::Options;

/// More than any snapshot takes: progress is watched instead (`Limits::transfer_stall`).
const SNAPSHOT_TIMEOUT_MS: u64 = 600_000;
/// Entries in one append; the bytes are bounded by the log store's reader.
const APPEND_ENTRIES_MAX: u64 = 1_024;
/// A follower this far behind still catches up from the log.
const LAG_MAX: u64 = 100_000;
/// Purging a few at a time would be a write for each.
const PURGE_BATCH: u64 = 256;
const CHANNEL: u64 = 4_096;
/// Applies and snapshots under way between the core and the state machine.
const MACHINE_CHANNEL: u64 = 256;

/// # Errors
/// When the timing contradicts itself, in words for the one who set it.
pub(crate) fn config(options: &Options) -> Result<Config, String> {
    let timing = &options.timing;
    Config {
        cluster_name: "yin".to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        // Without it a node that comes back raises the term and unseats a good leader.
        enable_pre_vote: Some(true),
        // Else a leader that reaches only a bridge node would keep that node's lease alive for ever.
        quorum_loss_probe_interval: Some(2 * timing.election_max_ms),
        // A restarted leader's state may be rolled back: it has to be elected anew.
        enable_leader_restore: Some(false),
        allow_log_reversion: None,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.limits.keep_entries,
        purge_batch_size: PURGE_BATCH.min(options.limits.keep_entries.max(1)),
        replication_lag_threshold: LAG_MAX.max(4 * options.limits.keep_entries),
        max_payload_entries: APPEND_ENTRIES_MAX,
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        api_channel_size: Some(CHANNEL),
        notification_channel_size: Some(CHANNEL),
        state_machine_channel_size: Some(MACHINE_CHANNEL),
        heartbeat_min_interval: Some(0),
        backoff: format!("{}ms", 2 * timing.heartbeat_ms),
        ..Config::default()
    }
    .validate()
    .map_err(|error| error.to_string())
}
