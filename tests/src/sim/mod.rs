//! The simulator: a whole cluster in one thread, driven by one seed, the same every time.
//!
//! The product's own code runs: model, raft and its adapters, forwarding, barriers, sessions, the
//! HTTP router called as a service. Network, disks, clocks and randomness are made by the seed, so
//! that a run of many virtual seconds takes one, and whatever goes wrong goes wrong again.
//!
//! Read [`world`] first: it moves the time. Every node ([`host`]) has a tokio runtime of its own with
//! paused time, so that it can be killed or stopped in the middle of anything. [`network`] and
//! [`disk`] are the twins of QUIC and of a disk with two tiers; [`faults`] says what is done to
//! them, [`clients`] what users do meanwhile, [`invariants`] what must hold all the time.
//!
//! Only a process whose randomness and clocks are the seed's too repeats bit for bit: the program
//! `sim` (`src/bin/sim`).
mod clients;
pub mod clock;
pub mod dice;
mod disk;
mod doors;
mod faults;
mod host;
pub mod invariants;
mod ledger;
mod network;
pub mod panics;
mod record;
mod seams;
pub mod shape;
pub mod trace;
mod wire;
pub mod world;
