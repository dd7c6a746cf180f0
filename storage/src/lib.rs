//! Bytes on this disk and in the bucket. Knows what a key and a batch are, not what they mean.
//!
//! Three seams, each with a real engine and a twin in memory:
//! [`log`] (what was acknowledged is never lost), [`state`] (one atomic commit per applied batch),
//! [`blob`] (an S3-compatible bucket).
pub mod blob;
pub mod disk;
pub mod log;
pub mod owner;
pub mod state;
