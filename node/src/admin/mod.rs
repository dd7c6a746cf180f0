//! Administration over a local socket: what `yin status` and its kin ask a running node.
//!
//! The socket lies in the data directory, for its owner only; the kernel tells who is at the other
//! end, and anyone but the node's own user and root is refused.
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod shapes;
pub(crate) mod table;
