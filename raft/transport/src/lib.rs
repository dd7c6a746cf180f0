//! One QUIC endpoint a node: who a peer is, and how bytes get to it. Knows nothing of Raft, gossip
//! or commands.
//!
//! Read [`network`] first: it is the seam that everything above runs on, real or simulated. Then
//! [`identity`] (certificates, join tokens), [`endpoint`] (quinn), [`join`] (the one protocol that
//! a peer without a certificate may speak), [`memory`] (the seam without sockets).
pub mod endpoint;
pub mod identity;
pub mod join;
pub mod memory;
pub mod network;
pub mod order;

mod codes;
mod counters;
mod frame;
mod lane;
mod link;
mod routes;
mod serve;
mod tls;
mod transfer;
mod writer;
