//! Judges histories of what clients asked and were told. No I/O, no clock: a history goes in, a
//! verdict comes out.
//!
//! Read [`history`] first, then any checker: [`set_full`] (nothing acknowledged is lost or doubled),
//! [`members`] (elements that come and go), [`counter`] (a count stays within what is possible),
//! [`register`] (linearizable per key), [`ordered_log`] (one total order per conversation),
//! [`session`] (a client that roams reads its writes), [`graph`] (both ends of an edge agree),
//! [`unique`] (one winner per name), [`pages`] (paging shows each once), [`blob`] (no listing
//! without its bytes).
pub mod blob;
pub mod counter;
pub mod graph;
pub mod history;
pub mod members;
pub mod ordered_log;
pub mod pages;
mod possible;
pub mod register;
pub mod session;
pub mod set_full;
mod shrink;
pub mod unique;
pub mod verdict;
