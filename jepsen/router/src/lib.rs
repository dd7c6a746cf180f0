//! A network of our own between network namespaces: every packet between members goes through one
//! thread here, that delays, drops, doubles and reorders as it is told.
//!
//! Nothing outlives the process: namespaces are anonymous and devices are bound to our descriptors.
//!
//! Read `switch` first: what happens to a packet is decided there, without clock or
//! sockets. `forward` is the thread that moves packets, `namespace` a thread that lives in a
//! member's namespace and starts processes there, `system` the few calls that need `unsafe`.
mod decision;
mod forward;
mod interface;
mod link;
mod member;
mod namespace;
mod network;
mod switch;
mod system;

pub use link::{Count, Link};
pub use member::{Member, NODES_MAX};
pub use network::{Error, Network};
