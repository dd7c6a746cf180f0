//! The replicated state machine, as pure functions.
//!
//! Every replica feeds the same commands, in the same order, to [`apply::apply`] and gets the same
//! bytes. Nothing here reads a clock, a random source, a file or a socket: ids are counted in
//! state, times and hashes come in with the command.
//!
//! Read [`key`] first (what is stored), then one noun, say [`favorite`], then [`mod@apply`].
pub mod adjacency;
pub mod apply;
pub mod cluster;
pub mod command;
pub mod comment;
pub mod error;
pub mod event;
pub mod favorite;
pub mod feed;
pub mod id;
pub mod key;
pub mod marks;
pub mod memory;
pub mod message;
pub mod overlay;
pub mod read;
pub mod record;
pub mod relation;
pub mod slot;
pub mod sweep;
pub mod time;
pub mod token;
mod transaction;
pub mod user;
pub mod verify;
pub mod video;
pub mod view;
