//! The blob seam: an S3-compatible bucket.
//!
//! The one invariant: *what [`Writer::finish`] or [`Blobs::put`] has answered is whole and safe in
//! the bucket, and whatever happens to the bucket, a caller hears of it in bounded time.*
//!
//! [`Bucket`] is the real one (object_store over HTTP), [`MemoryBlobs`] its twin with faults to
//! switch. Both read ranges, cut them and fail by the same rules; the tests that run the two side by
//! side stand in the crate `s3`, where a server is at hand.
//!
//! How a request goes through `bucket`: its key is checked; the `breaker` lets it pass or refuses
//! it at once; it runs under a deadline; each of its attempts runs under a shorter one in
//! `transport`, which also tells a refusal (403, no such bucket) from a failure (5xx, no
//! connection); object_store repeats failures at most three times.
//!
//! # Decisions (2026-11-22)
//!
//! **Time limits are per answer, not per transfer.** A connection must be made in 3 s, an answer must
//! begin in 4 s an attempt and come in 10 s in all, a body must bring its next bytes in 10 s. What is
//! sent adds its size at 1 MiB/s, so a slow line is not a dead one, and putting an upload together
//! adds its size at 16 MiB/s, since some stores copy it. object_store's own timeout covers a body
//! from first to last byte, which would cut every long video: it is off. Given up: a store that
//! sends one byte every nine seconds is never given up on.
//!
//! **Small blobs in one request, large ones in parts of 8 MiB, two in flight.** Memory per upload
//! stays below 24 MiB whatever its size; the parts are of equal size, as some stores demand. An
//! upload that is dropped is aborted by a task of its own; what a killed process leaves behind is
//! removed by the bucket's lifecycle rule for incomplete uploads, which an operator has to set
//! (`yin dev s3` does it by itself).
//!
//! **No conditional requests.** Keys are written once by whoever made them up, and some stores answer
//! 501 to `If-None-Match`. Deleting goes one by one: not every store has the bulk request.
//!
//! **A finish that failed may have happened.** Its answer can be lost after the store has put the
//! blob together. It counts as failed; the blob is then nobody's, and the sweep of orphans finds it.
//!
//! **A breaker of our own.** Sixty lines against a dependency: after five failures in a row requests
//! fail at once for three seconds, then one of them tries. A refusal is an answer, not a failure.
//! What was given up: it is per node, so each node finds out by itself.
//!
//! **What the keys of the bucket need**: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`,
//! `s3:AbortMultipartUpload` on its objects and `s3:ListBucket` on it; without the last a missing blob
//! is a 403 on AWS and looks like a refusal.
//!
//! **The process installs a TLS provider** (`rustls`' ring) before the first [`Bucket`] is made, also
//! for plain HTTP: the HTTP client asks for it when it is built.
mod breaker;
mod bucket;
mod config;
mod memory;
mod transport;
mod upload;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use self::bucket::Bucket;
pub use self::config::{Config, Invalid};
pub use self::memory::MemoryBlobs;

/// Why the bucket did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no blob {key}")]
    NotFound { key: String },
    /// The store is down, slow or refuses: try again later.
    #[error("the blob store does not answer: {why}")]
    Unavailable { why: String },
    /// The store's answer makes no sense: credentials, bucket or configuration.
    #[error("the blob store refuses: {why}; check endpoint, bucket and keys")]
    Refused { why: String },
}

/// A blob that is being read.
pub struct Reading {
    /// Size of the whole blob in bytes.
    pub bytes: u64,
    /// Which part of it the stream gives.
    pub range: Range<u64>,
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// What part of a blob is asked for.
///
/// A part in which the blob has no byte (it begins at or behind the end, it ends before it begins,
/// or the blob is empty) is read as an empty range at the end of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// From the first to the last byte, both included; past the end is cut.
    Bounded(u64, u64),
    /// From a byte on.
    From(u64),
    /// The last so many bytes.
    Last(u64),
}

/// A blob that is being written; dropping it unfinished aborts it.
#[async_trait]
pub trait Writer: Send {
    /// Sends the next bytes; waits while too much is in flight.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error>;
    /// Returns when the blob is whole and safe in the bucket.
    async fn finish(self: Box<Self>) -> Result<(), Error>;
    /// Leaves nothing behind.
    async fn abort(self: Box<Self>) -> Result<(), Error>;
}

/// The bucket. Keys are written once.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    async fn create(&self, key: &str, content_type: &str) -> Result<Box<dyn Writer>, Error>;
    async fn put(&self, key: &str, content_type: &str, body: Bytes) -> Result<(), Error>;
    async fn read(&self, key: &str, part: Part) -> Result<Reading, Error>;
    /// Size in bytes.
    async fn size(&self, key: &str) -> Result<u64, Error>;
    /// Deleting what is not there is fine.
    async fn delete(&self, key: &str) -> Result<(), Error>;
    /// All keys under a prefix, with their age in seconds.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<(String, u64), Error>>;
    /// Asks the store for a sign of life.
    async fn probe(&self) -> Result<(), Error>;
}

impl Part {
    /// The bytes of a blob of a size that are meant.
    pub(crate) fn of(self, bytes: u64) -> Range<u64> {
        let range = match self {
            Part::Whole => 0..bytes,
            Part::Bounded(first, last) => first..last.saturating_add(1).min(bytes),
            Part::From(first) => first..bytes,
            Part::Last(count) => bytes.saturating_sub(count)..bytes,
        };
        if range.start < range.end {
            range
        } else {
            bytes..bytes
        }
    }
}

impl Error {
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Error::Unavailable { why: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Part;

    #[test]
    fn parts_are_cut_at_the_end() {
        for (part, expected) in [
            (Part::Whole, 0..10),
            (Part::Bounded(2, 4), 2..5),
            (Part::Bounded(2, 99), 2..10),
            (Part::Bounded(9, u64::MAX), 9..10),
            (Part::From(3), 3..10),
            (Part::Last(4), 6..10),
            (Part::Last(99), 0..10),
        ] {
            assert_eq!(part.of(10), expected, "{part:?}");
        }
    }

    #[test]
    fn parts_without_bytes_are_empty_at_the_end() {
        for part in [
            Part::Bounded(10, 12),
            Part::Bounded(5, 4),
            Part::From(10),
            Part::From(u64::MAX),
            Part::Last(0),
        ] {
            assert_eq!(part.of(10), 10..10, "{part:?}");
        }
        for part in [
            Part::Whole,
            Part::From(0),
            Part::Bounded(0, 0),
            Part::Last(5),
        ] {
            assert_eq!(part.of(0), 0..0, "{part:?}");
        }
    }
}
