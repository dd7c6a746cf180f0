//! Who is alive, where, how far and how loaded: chitchat over the cluster's own transport.
//!
//! Gossip is for hints only; membership is decided in the log.
pub mod members;
