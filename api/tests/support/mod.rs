//! Nodes that serve HTTP, and what clients do to them.
pub(crate) mod client;
pub(crate) mod clip;
pub(crate) mod node;
