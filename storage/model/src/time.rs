//! Time as a value. Nothing in this crate reads a clock.
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::key;
use crate::read::Read;
use crate::view::View;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Log time as of `view`: the time by which things expire. Zero before the first command.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn log_time(view: &impl View) -> Result<Timestamp, Fault> {
    let totals = view.read(&key::Watermarks {})?;
    Ok(totals.unwrap_or_default().clock)
}
