//! When a snapshot is due: by the entries and by the bytes that were applied since the last one.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::Core;
use crate::replica::Error;
use crate::status;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long a snapshot that was asked for may take.
const NOW_WITHIN: Duration = Duration::from_secs(600);
/// How often one that was asked for is asked for again, in case another was just being taken.
const AGAIN: Duration = Duration::from_millis(200);

/// Has snapshots taken when they are due, until the replica stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What had been applied when the last one was asked for.
    let (mut index, mut bytes) = (0, 0);
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            _ = every.tick() => {}
        }
        let status = status::now(&core);
        let limits = &core.options.limits;
        let applied_bytes = core.bench.applied_bytes.load(Ordering::Relaxed);
        let since = status
            .applied_index
            .saturating_sub(status.snapshot_index.max(index));
        let is_due = since >= limits.snapshot_entries
            || (since > 0 && applied_bytes - bytes >= limits.snapshot_bytes);
        if is_due && let Ok(raft) = core.raft() {
            (index, bytes) = (status.applied_index, applied_bytes);
            if let Err(error) = raft.trigger().snapshot().await {
                tracing::warn!(%error, "no snapshot was taken");
            }
        }
    }
}

/// Takes a snapshot of at least what is applied now.
///
/// # Errors
/// As [`crate::replica::Replica::snapshot_now`].
pub(crate) async fn now(core: &Core) -> Result<(), Error> {
    let deadline = Instant::now() + NOW_WITHIN;
    let target = core.bench.progress.applied();
    loop {
        let raft = core.raft()?;
        if status::now(core).snapshot_index >= target {
            return Ok(());
        }
        raft.trigger()
            .snapshot()
            .await
            .map_err(|fatal| core.unavailable(fatal.to_string()))?;
        let mut status = core.status.subscribe();
        let taken = status.wait_for(|status| status.snapshot_index >= target);
        let again = deadline.min(Instant::now() + AGAIN);
        if matches!(tokio::time::timeout_at(again, taken).await, Ok(Ok(_))) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(core.unavailable("the snapshot was not finished in time"));
        }
    }
}
