//! Gets a view that is as fresh as asked for, or none.
use std::time::Duration;

use tokio::time::Instant;

use crate::barrier;
use crate::core::Core;
use crate::position::Position;
use crate::replica::{Consistency, Error, Reading};

/// # Errors
/// As [`crate::replica::Replica::read`].
pub(crate) async fn read(
    core: &Core,
    consistency: Consistency,
    within: Duration,
) -> Result<Reading, Error> {
    let deadline = Instant::now() + within;
    if let Some(why) = core.stopped() {
        return Err(Error::Stopped { why });
    }
    match consistency {
        Consistency::Local => recovered(core, deadline).await?,
        Consistency::Session(Some(position)) => reach(core, position, deadline).await?,
        Consistency::Session(None) | Consistency::Linearizable => {
            let index = barrier::index(core, deadline).await?;
            applied(core, index, deadline).await?;
        }
    }
    core.reading()
}

/// A restarted node may stand behind what it showed before it stopped.
async fn recovered(core: &Core, deadline: Instant) -> Result<(), Error> {
    if *core.is_recovered.borrow() {
        return Ok(());
    }
    let mut recovered = core.is_recovered.subscribe();
    let recovered = recovered.wait_for(|is_recovered| *is_recovered);
    match tokio::time::timeout_at(deadline, recovered).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            Err(core.unavailable("this node has not caught up since it started"))
        }
    }
}

async fn reach(core: &Core, position: Position, deadline: Instant) -> Result<(), Error> {
    if plants::is(plants::SESSION_IGNORED) {
        return Ok(());
    }
    if core
        .seal()?
        .is_some_and(|seal| seal.epoch != position.epoch)
    {
        return Err(Error::FuturePosition);
    }
    let soon = deadline.min(Instant::now() + barrier::patience(core));
    if core.bench.progress.reach(position.index, soon).await {
        return Ok(());
    }
    // This node lags, or there is no such position: whoever wrote it waited for its commit, so a
    // barrier that begins now covers it if it is real.
    if barrier::index(core, deadline).await? < position.index {
        return Err(Error::FuturePosition);
    }
    applied(core, position.index, deadline).await
}

async fn applied(core: &Core, index: u64, deadline: Instant) -> Result<(), Error> {
    if core.bench.progress.reach(index, deadline).await {
        return Ok(());
    }
    Err(core.unavailable("this node is behind and did not catch up in time"))
}
