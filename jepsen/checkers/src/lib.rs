//! Judges histories of what clients asked and were told. No I/O, no clock: a history goes in, a
//! verdict comes out.
//!
//! Read [`history`] first, then any checker: [`set_full`] (nothing acknowledged is lost or doubled),
//! [`ordered_log`] (one total order per conversation), [`register`] (linearizable per key),
//! [`counter`] (a count stays within what is possible).
pub mod counter;
pub mod history;
pub mod members;
pub mod ordered_log;
pub mod register;
pub mod set_full;
pub mod verdict;
