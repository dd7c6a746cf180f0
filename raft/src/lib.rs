//! Order and durability: one replicated log under the state machine. No openraft type leaves this
//! crate, and nothing here looks into an operation.
//!
//! Read [`replica`] first: it is all that the floors above see.
pub mod clock;
pub mod position;
pub mod replica;
