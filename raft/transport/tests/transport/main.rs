//! The transport over real QUIC on loopback, its enemies included, and its twin in memory.
#![allow(
    clippy::unwrap_used,
    reason = "helpers and handlers outside of test functions may fail the test too"
)]
mod identity;
mod join;
mod memory;
mod messages;
mod requests;
mod strangers;
mod support;
mod transfers;
mod trouble;
