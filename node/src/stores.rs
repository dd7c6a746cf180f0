//! Opening what is on this disk: made once, from then on expected to be there.
use std::sync::Arc;

use anyhow::{Context, Result};
use storage::log::OpenError as LogError;
use storage::log::segment::SegmentLog;
use storage::state::{OpenError as StateError, RocksState};

use crate::config::Config;
use crate::directory::{Directory, Who};

/// This node's log and state.
pub(crate) struct Stores {
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) state: Arc<RocksState>,
}

/// What opening the stores came to.
pub(crate) enum Opened {
    Ready(Stores),
    /// What was durable is gone or changed: this node must not vote under its id again.
    Damaged(String),
}

/// Opens log and state, or makes them for a node that has none yet.
///
/// # Errors
/// When they are another node's, were wiped, or the disk fails.
pub(crate) fn open(config: &Config, directory: &Directory, who: &mut Who) -> Result<Opened> {
    let owner = who.owner()?;
    let log_options = storage::log::segment::Options {
        segment_bytes: config.storage.log_segment_bytes,
        ..Default::default()
    };
    let state_options = storage::state::Options {
        block_cache_bytes: usize::try_from(config.storage.block_cache_bytes)
            .context("storage.block_cache_bytes is too large for this machine")?,
        value_cache_bytes: usize::try_from(config.storage.value_cache_bytes)
            .context("storage.value_cache_bytes is too large for this machine")?,
        ..Default::default()
    };
    if !who.is_established {
        // Whatever is here comes from a first start that was cut short: nothing of it was ever
        // acknowledged, since the node takes part only after this.
        for leftover in [directory.log(), directory.state()] {
            if leftover.exists() {
                std::fs::remove_dir_all(&leftover)
                    .with_context(|| format!("removing {}", leftover.display()))?;
            }
        }
        let log =
            SegmentLog::create(&directory.log(), &owner, log_options).context("making the log")?;
        let state = RocksState::create(&directory.state(), &owner, state_options)
            .context("making the state")?;
        who.is_established = true;
        directory.save_who(who)?;
        return Ok(Opened::Ready(Stores {
            log: Arc::new(log),
            state: Arc::new(state),
        }));
    }
    let log = match SegmentLog::open(&directory.log(), &owner, log_options) {
        Ok(log) => log,
        Err(LogError::Damaged { .. } | LogError::Missing { .. })
            if plants::is(plants::WIPED_KEEPS_ID) =>
        {
            who.is_established = false;
            return open(config, directory, who);
        }
        Err(LogError::Damaged { what }) => return Ok(Opened::Damaged(what)),
        Err(error) => return Err(error.into()),
    };
    let state = match RocksState::open(&directory.state(), &owner, state_options) {
        Ok(state) => state,
        Err(error @ (StateError::Damaged { .. } | StateError::Behind { .. })) => {
            return Ok(Opened::Damaged(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Opened::Ready(Stores {
        log: Arc::new(log),
        state: Arc::new(state),
    }))
}
