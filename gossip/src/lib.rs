//! Who is alive, where, how far and how loaded: chitchat over the cluster's own transport.
//!
//! Gossip is for hints only; membership is decided in the log.
//!
//! Read [`members`] for what nodes tell each other, then [`Gossip`] for how to take part. `wire`
//! carries chitchat's messages over the network seam, `keeper` turns its state into members.
pub mod members;

mod handle;
mod keeper;
mod wire;

pub use handle::{Error, Gossip, Options};
