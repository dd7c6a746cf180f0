//! The wire contract: requests in, responses out, on real replicas with twins of disk and bucket.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; helpers are not #[test] functions"
)]
mod contract;
mod support;
