//! How much room this node's disk has, for all who ask.
use std::sync::Arc;

use storage::disk::{Reserve, Room};

/// Looks at the disk. One that does not answer counts as full: writing on it would stop the node.
pub(crate) fn look(reserve: &Reserve) -> Room {
    reserve.check().unwrap_or_else(|error| {
        tracing::error!(%error, "the data disk does not answer");
        Room {
            free_bytes: 0,
            is_low: true,
        }
    })
}

/// "Is it low?" as the replica asks it.
pub(crate) fn is_low(reserve: &Arc<Reserve>) -> raft::options::Room {
    let reserve = reserve.clone();
    Arc::new(move || look(&reserve).is_low)
}
