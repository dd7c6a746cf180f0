//! One QUIC endpoint a node: who a peer is, and how bytes get to it. Knows nothing of Raft, gossip
//! or commands.
//!
//! Read [`network`] first: it is the seam that everything above runs on, real or simulated. Then
//! [`identity`] (certificates, join tokens), [`endpoint`] (quinn), [`join`] (the one protocol that
//! a peer without a certificate may speak), [`memory`] (the seam without sockets).
//!
//! What knows nothing of quinn in [`frame`], [`lane`], [`serve`], [`tls`] and [`writer`] is open to
//! whoever carries the same frames over something else, to compare.
pub mod endpoint;
pub mod frame;
pub mod identity;
pub mod join;
pub mod lane;
pub mod memory;
pub mod network;
pub mod order;
pub mod serve;
pub mod tls;
pub mod writer;

mod codes;
mod counters;
mod link;
mod routes;
mod transfer;
