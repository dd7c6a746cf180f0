//! The blob seam: an S3-compatible bucket.
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

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
