//! Before openraft starts: has the log confirmed by the disk, and makes log and state fit each other.
//!
//! The state can be ahead of the log. An entry is applied as soon as a quorum has synced it, and
//! this node's own log may not have been among them; the state's write needs no sync to outlive a
//! killed process, while what waited to be written to the log is gone with it. openraft takes such a
//! state for a snapshot that was installed: it wants no other entry to stand where the state is,
//! purges the log up to there, and wants a snapshot that reaches as far. Both are seen to here.
use std::io;
use std::sync::Arc;

use storage::log::LogStore;

use crate::codec;
use crate::snapshot::Durability;
use crate::types::LogId;

/// Has the disk confirm what the log holds, before openraft tells others that it is there.
///
/// A log whose sync failed goes on showing what it took, and so does one that was killed before its
/// sync. openraft gives a vote that it finds again, and acknowledges entries, without a write.
///
/// # Errors
/// When the disk fails, or did before.
pub(crate) async fn confirm(log: &dyn LogStore) -> io::Result<()> {
    match log.held().vote {
        // All writes are one order: when this one is on the disk, all before it are.
        Some(vote) => log.save_vote(vote).await,
        None => Ok(()),
    }
}

/// Cuts off entries that stand where the state has others, and takes a snapshot of a state that the
/// log does not reach.
///
/// # Errors
/// When the disk fails.
pub(crate) async fn fit(durability: &Arc<Durability>, log: &dyn LogStore) -> io::Result<()> {
    let this = Arc::clone(durability);
    let Some(applied) = durability.work(move || this.applied()).await? else {
        return Ok(());
    };
    cut_off_others(log, applied).await?;
    if reach(log)? >= applied.index() {
        return Ok(());
    }
    tracing::info!(
        index = applied.index(),
        "the state is ahead of the log: a snapshot takes the log's place"
    );
    let this = Arc::clone(durability);
    durability.work(move || this.cover(applied)).await
}

/// Up to which index the log goes, purged entries counted.
fn reach(log: &dyn LogStore) -> io::Result<u64> {
    let held = log.held();
    let purged = match &held.purged {
        Some(marker) => codec::decode_log_id(marker)?.index(),
        None => 0,
    };
    Ok(held.last.unwrap_or(0).max(purged))
}

async fn cut_off_others(log: &dyn LogStore, applied: LogId) -> io::Result<()> {
    let index = applied.index();
    let held = log.held();
    let is_there = held.first.is_some_and(|first| first <= index)
        && held.last.is_some_and(|last| last >= index);
    if !is_there {
        return Ok(());
    }
    let entries = log.read(index..index + 1, 1)?;
    let Some((_, bytes)) = entries.first() else {
        return Ok(());
    };
    if codec::decode_entry(bytes)?.log_id != applied {
        tracing::warn!(
            index,
            "the log differs from what is applied and is cut off there"
        );
        log.truncate_from(index).await?;
    }
    Ok(())
}
