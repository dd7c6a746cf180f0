//! Load on any server of the client contract, and what came of it.
//!
//! Knows the public HTTP API and no crate of the product: whatever is measured with it, anybody
//! could measure. Read [`world`] for the data that requests are about, [`scenario`] for what one
//! operation is, [`mod@drive`] for how operations are started (closed loop, or an open one whose
//! arrivals are fixed beforehand), [`record`] for how their latencies are kept, [`figures`] for the
//! result.
mod alarm;
pub mod client;
pub mod cpu;
pub mod dice;
pub mod drive;
pub mod figures;
mod liked;
mod record;
pub mod scenario;
mod schedule;
mod shift;
pub mod trouble;
pub mod work;
pub mod world;

pub use crate::client::Node;
pub use crate::drive::{Moment, Pace, Plan, Until, drive};
pub use crate::figures::Figures;
pub use crate::liked::Liked;
pub use crate::scenario::Scenario;
pub use crate::trouble::Trouble;
pub use crate::work::{Api, Work};
pub use crate::world::{CLIP, Progress, Sizes, User, Video, World};
