//! What the storage promises, shown on its real engines: one binary, since each links RocksDB.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the lint's own exception covers test functions only"
)]

mod children;
mod log_calls;
mod log_crash;
mod log_damage;
mod log_twin;
mod state_cache;
mod state_crash;
mod state_snapshot;
mod state_twin;
mod tools;
