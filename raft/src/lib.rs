//! Order and durability: one replicated log under the state machine. No openraft type leaves this
//! crate, and nothing here looks into an operation.
//!
//! Read [`replica`] first: it is all that the floors above see. [`options`] is what it is started
//! with.
mod barrier;
pub mod clock;
mod codec;
mod config;
mod core;
mod fit;
mod forward;
mod health;
mod life;
mod log_store;
mod machine;
mod membership;
mod message;
mod network;
pub mod options;
mod outbox;
pub mod position;
mod progress;
mod proposer;
mod read;
pub mod replica;
mod schedule;
mod server;
mod snapshot;
mod stamp;
mod status;
mod supervisor;
mod types;
mod waiting;
mod whole;

#[cfg(test)]
#[path = "../tests/main.rs"]
mod tests;
