//! Measurements inside one process, without HTTP and Raft: what model and state cost, and how that
//! grows with what is stored.
//!
//! Shared by the micro-benchmarks (`benches`), by `depth` and by `fill`: a [`store`] that takes
//! commands as the replicated state machine does, a [`world`] of users and videos, how much there is
//! of what ([`plan`]), [`mod@fill`] that puts it in, a [`roster`] of it for clients over HTTP, and
//! [`dice`].
pub mod dice;
pub mod fill;
pub mod plan;
pub mod rest;
pub mod roster;
pub mod store;
pub mod world;
