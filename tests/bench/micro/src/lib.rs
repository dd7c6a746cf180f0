//! Measurements inside one process, without HTTP and Raft: what model and state cost, and how that
//! grows with what is stored.
//!
//! Shared by the micro-benchmarks (`benches`) and by `depth`: a [`store`] that takes commands as the
//! replicated state machine does, a [`world`] of users and videos, and [`dice`].
pub mod dice;
pub mod store;
pub mod world;
