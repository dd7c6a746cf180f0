//! A blob on its way into the bucket: in one request if it is small, in parts if not.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMultipartOptions, PutPayloadMut};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::bucket::{Bucket, attributes, not_missing};
use super::transport::COMPLETE_TIMEOUT;
use super::{Error, Writer};

/// Memory is taken in steps of this while a part fills.
const BLOCK_BYTES: usize = 256 << 10;
/// How long to wait after each try to abort an upload before the next.
const ABORT_WAITS_S: [u64; 4] = [5, 15, 45, 0];
/// How fast a store copies the parts of an upload together, at the slowest.
const COMPLETE_BYTES_PER_S_MIN: u64 = 16 << 20;

pub(super) struct Upload {
    bucket: Bucket,
    key: String,
    path: Path,
    content_type: String,
    /// The part that fills.
    filling: PutPayloadMut,
    sent_bytes: u64,
    /// Set from the first part on, and until the upload is complete or aborted.
    parts: Option<Parts>,
    /// What went wrong: it stays wrong.
    failed: Option<Error>,
}

struct Parts {
    upload: Box<dyn MultipartUpload>,
    in_flight: JoinSet<Result<(), Error>>,
}

impl Upload {
    pub(super) fn new(bucket: Bucket, key: &str, path: Path, content_type: &str) -> Self {
        Self {
            bucket,
            key: key.into(),
            path,
            content_type: content_type.into(),
            filling: filling(),
            sent_bytes: 0,
            parts: None,
            failed: None,
        }
    }

    async fn take(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        let part_bytes = self.bucket.config().part_bytes;
        while !chunk.is_empty() {
            let room = part_bytes - self.filling.content_length();
            // Copied: a chunk may be a small piece of a large buffer that it would keep alive.
            self.filling
                .extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            if self.filling.content_length() == part_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends the filled part, once there is a place in flight for it.
    async fn send(&mut self) -> Result<(), Error> {
        let places = self.bucket.config().parts_in_flight;
        if self.parts.is_none() {
            self.parts = Some(self.begin().await?);
        }
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        parts.land(places - 1).await?;
        let payload = std::mem::replace(&mut self.filling, filling()).freeze();
        let bytes = payload.content_length() as u64;
        self.sent_bytes += bytes;
        let (bucket, key, part) = (
            self.bucket.clone(),
            self.key.clone(),
            parts.upload.put_part(payload),
        );
        parts
            .in_flight
            .spawn(async move { bucket.ask(&key, bytes, part).await });
        Ok(())
    }

    async fn begin(&mut self) -> Result<Parts, Error> {
        let options = PutMultipartOptions {
            attributes: attributes(&self.content_type),
            ..Default::default()
        };
        let begun = self.bucket.ask(
            &self.key,
            0,
            self.bucket.store().put_multipart_opts(&self.path, options),
        );
        let upload = begun.await.map_err(not_missing)?;
        Ok(Parts {
            upload,
            in_flight: JoinSet::new(),
        })
    }

    async fn complete(&mut self) -> Result<(), Error> {
        if self.parts.is_none() {
            let payload = std::mem::take(&mut self.filling).freeze();
            return self
                .bucket
                .put_payload(&self.key, &self.path, &self.content_type, payload)
                .await;
        }
        if !self.filling.is_empty() {
            self.send().await?;
        }
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        parts.land(0).await?;
        let copying = Duration::from_secs(self.sent_bytes / COMPLETE_BYTES_PER_S_MIN);
        let completed = self.bucket.ask_within(
            &self.key,
            COMPLETE_TIMEOUT + copying,
            parts.upload.complete(),
        );
        completed.await.map_err(not_missing)?;
        self.parts = None;
        Ok(())
    }
}

impl Parts {
    /// Waits until at most so many parts are in flight.
    async fn land(&mut self, in_flight_max: usize) -> Result<(), Error> {
        while self.in_flight.len() > in_flight_max {
            if let Some(part) = self.in_flight.join_next().await {
                part.map_err(broken)?.map_err(not_missing)?;
            }
        }
        Ok(())
    }

    async fn abort(&mut self, bucket: &Bucket, key: &str) -> Result<(), Error> {
        self.in_flight.shutdown().await;
        match bucket.ask(key, 0, self.upload.abort()).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }

    /// Aborts in a task of its own, again after a while if the store is away just now.
    fn abandon(mut self, bucket: Bucket, key: String) {
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!(
                key,
                "an upload was dropped outside of the runtime and stays unfinished"
            );
            return;
        };
        runtime.spawn(async move {
            for wait_s in ABORT_WAITS_S {
                match self.abort(&bucket, &key).await {
                    Ok(()) => return tracing::debug!(key, "aborted an upload that was given up"),
                    Err(error) => tracing::warn!(key, %error, wait_s, "can't abort an upload that was given up"),
                }
                tokio::time::sleep(Duration::from_secs(wait_s)).await;
            }
            tracing::error!(key, "parts of an upload stay in the bucket until its lifecycle rule removes them");
        });
    }
}

#[async_trait]
impl Writer for Upload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // If the caller drops this call half-way, nobody knows how much of the chunk was taken.
        self.failed = Some(Error::unavailable("an earlier write was given up"));
        let taken = self.take(chunk).await;
        self.failed = taken.clone().err();
        taken
    }

    async fn finish(mut self: Box<Self>) -> Result<(), Error> {
        // What fails is aborted as `self` is dropped: the caller need not wait for that as well.
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.complete().await,
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<(), Error> {
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        parts.abort(&self.bucket, &self.key).await?;
        self.parts = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.abandon(self.bucket.clone(), std::mem::take(&mut self.key));
        }
    }
}

fn filling() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK_BYTES)
}

/// A part's task panicked or was stopped with the runtime.
fn broken(error: JoinError) -> Error {
    Error::unavailable(format!("the upload of a part broke off: {error}"))
}
