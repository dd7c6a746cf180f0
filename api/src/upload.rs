//! Takes a video in: to this disk, to the bucket, and only then into the log.
//!
//! The fields of the form come in any order. As long as the sender has not shown a token, the bytes
//! go to this disk only and count against a budget; from then on they also stream to the bucket.
//! Metadata never points at missing bytes: the command follows when video and cover are safe there.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use model::time::Timestamp;
use model::video::BlobRef;
use sha2::{Digest, Sha256};
use storage::blob::{Blobs, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;
use tokio_util::io::ReaderStream;

use crate::app::App;
use crate::body::too_large;
use crate::error::{Code, Failure};
use crate::options::{Invalid, Upload};
use crate::picture::{Cover, Kind, SNIFF_BYTES, sniff};
use crate::seam::{self, Random};
use crate::spool::{Budget, Received, Receiving, Share, Spool};

/// What keys of videos and covers begin with.
pub(crate) const VIDEO_PREFIX: &str = "v/";
pub(crate) const COVER_PREFIX: &str = "c/";

const COPY_BYTES: usize = 1 << 20;
/// How often an upload looks whether the disk still has room.
const ROOM_BYTES: u64 = 16 << 20;

/// Where uploads come in.
pub(crate) struct Intake {
    pub(crate) spool: Spool,
    turns: Arc<Semaphore>,
    wait: Duration,
    unproven: Budget,
}

impl Intake {
    pub(crate) fn new(options: &Upload, spool: &Path) -> Result<Self, Invalid> {
        Ok(Self {
            spool: Spool::open(spool).map_err(|error| Invalid {
                name: "spool",
                why: format!("{}: {error}", spool.display()),
            })?,
            turns: Arc::new(Semaphore::new(options.parallel_max)),
            wait: Duration::from_millis(options.wait_ms),
            unproven: Budget::new(options.unproven_bytes_max),
        })
    }

    /// Waits for a turn to upload.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let turn = time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Failure::after(Code::Overloaded, self.wait))?;
        Ok(turn.expect("the semaphore is never closed"))
    }
}

/// A video that is coming in: to the spool, and to the bucket once its sender is known.
pub(crate) struct Tee {
    app: App,
    file: Receiving,
    /// What an unknown sender takes of the budget.
    share: Share,
    /// The first bytes, until it is clear what they are.
    head: BytesMut,
    kind: Option<Kind>,
    is_proven: bool,
    bucket: Option<Bucket>,
}

/// A video that is on its way to the bucket.
struct Bucket {
    key: String,
    writer: Box<dyn Writer>,
}

impl Tee {
    pub(crate) fn new(app: &App, is_proven: bool) -> Result<Self, Failure> {
        Ok(Self {
            file: app.intake.spool.create()?,
            share: app.intake.unproven.share(),
            head: BytesMut::new(),
            kind: None,
            is_proven,
            bucket: None,
            app: app.clone(),
        })
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Failure> {
        let bytes_max = self.app.options.upload.bytes_max;
        let size = chunk.len() as u64;
        if self.file.bytes() + size > bytes_max {
            return Err(too_large(bytes_max));
        }
        if !self.is_proven && !self.share.take(size) {
            return Err(Code::Overloaded.into());
        }
        let before = self.file.bytes();
        if before / ROOM_BYTES < (before + size) / ROOM_BYTES && !(self.app.parts.room)() {
            return Err(Code::DiskLow.into());
        }
        self.file.write(&chunk).await?;
        if let Some(bucket) = &mut self.bucket {
            return Ok(bucket.writer.write(chunk).await?);
        }
        if self.kind.is_none() {
            self.head.extend_from_slice(&chunk);
            if self.head.len() >= SNIFF_BYTES {
                self.begin().await?;
            }
        }
        Ok(())
    }

    /// All bytes have come.
    pub(crate) async fn end(mut self) -> Result<Spooled, Failure> {
        if self.kind.is_none() {
            self.begin().await?;
        }
        let kind = self.kind.ok_or(Code::NotAVideo)?;
        Ok(Spooled {
            video: Video {
                file: self.file.finish().await?,
                kind,
                _share: self.share,
            },
            bucket: self.bucket,
        })
    }

    /// Leaves nothing in the bucket.
    pub(crate) async fn abort(self) {
        abort(self.bucket).await;
    }

    /// Looks what it is, and opens the way to the bucket if that may be.
    async fn begin(&mut self) -> Result<(), Failure> {
        let kind = sniff(&self.head).ok_or(Code::NotAVideo)?;
        self.kind = Some(kind);
        let head = std::mem::take(&mut self.head).freeze();
        if self.is_proven {
            let mut bucket = Bucket::open(&self.app, kind).await?;
            bucket.writer.write(head).await?;
            self.bucket = Some(bucket);
        }
        Ok(())
    }
}

impl Bucket {
    async fn open(app: &App, kind: Kind) -> Result<Self, Failure> {
        let now = app.parts.clock.now();
        let key = key(VIDEO_PREFIX, now, &*app.parts.random, kind.extension);
        let writer = app.parts.blobs.create(&key, kind.content_type).await?;
        Ok(Self { key, writer })
    }
}

async fn abort(bucket: Option<Bucket>) {
    if let Some(Bucket { key, writer }) = bucket
        && let Err(error) = writer.abort().await
    {
        tracing::warn!(%error, key, "an unfinished blob could not be aborted");
    }
}

/// A video that is whole on this disk, and perhaps nearly in the bucket.
pub(crate) struct Spooled {
    video: Video,
    bucket: Option<Bucket>,
}

struct Video {
    file: Received,
    kind: Kind,
    /// Held until the file is gone.
    _share: Share,
}

/// A video and its cover, safe in the bucket.
pub(crate) struct Stored {
    pub(crate) video: BlobRef,
    pub(crate) cover: BlobRef,
}

impl Spooled {
    /// Leaves nothing in the bucket.
    pub(crate) async fn abort(self) {
        abort(self.bucket).await;
    }

    /// Brings the video and its cover into the bucket; leaves nothing there when it fails.
    pub(crate) async fn store(self, app: &App) -> Result<Stored, Failure> {
        let bucket = match self.bucket {
            Some(bucket) => bucket,
            None => self.video.copy(app).await?,
        };
        let key = bucket.key.clone();
        let stored = self.video.finish(app, bucket).await;
        if stored.is_err() {
            remove(&*app.parts.blobs, &key).await;
        }
        stored
    }
}

impl Video {
    /// For a sender who showed the token last: all bytes still have to go.
    async fn copy(&self, app: &App) -> Result<Bucket, Failure> {
        let mut bucket = Bucket::open(app, self.kind).await?;
        let copied = async {
            let file = tokio::fs::File::open(&self.file.path).await?;
            let mut chunks = ReaderStream::with_capacity(file, COPY_BYTES);
            while let Some(chunk) = chunks.next().await {
                bucket.writer.write(chunk?).await?;
            }
            Ok(())
        };
        match copied.await {
            Ok(()) => Ok(bucket),
            Err(failure) => {
                abort(Some(bucket)).await;
                Err(failure)
            }
        }
    }

    /// Looks at the video while its last bytes go to the bucket, then puts the cover beside it.
    async fn finish(&self, app: &App, bucket: Bucket) -> Result<Stored, Failure> {
        let scratch = app.intake.spool.scratch()?;
        let [a, b, c, d, e, f, g, h, ..] = self.file.sha256;
        let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let looked = app.pictures.look(&self.file.path, &scratch, seed);
        let Bucket { key, writer } = bucket;
        let safe = async {
            if plants::is(plants::ROW_BEFORE_BYTES) {
                drop(tokio::spawn(writer.finish()));
                return Ok(());
            }
            writer.finish().await.map_err(Failure::from)
        };
        let (cover, ()) = tokio::try_join!(looked, safe)?;
        let video = BlobRef {
            key,
            bytes: self.file.bytes,
            sha256: self.file.sha256,
            content_type: self.kind.content_type.to_owned(),
        };
        let cover = put(app, cover).await?;
        Ok(Stored { video, cover })
    }
}

impl Stored {
    /// Removes both from the bucket: certainly no video will ever name them.
    pub(crate) async fn remove(self, app: &App) {
        for key in [&self.video.key, &self.cover.key] {
            remove(&*app.parts.blobs, key).await;
        }
    }
}

async fn put(app: &App, cover: Cover) -> Result<BlobRef, Failure> {
    let parts = &app.parts;
    let key = key(
        COVER_PREFIX,
        parts.clock.now(),
        &*parts.random,
        cover.extension,
    );
    let blob = BlobRef {
        bytes: cover.bytes.len() as u64,
        sha256: Sha256::digest(&cover.bytes).into(),
        content_type: cover.content_type.to_owned(),
        key,
    };
    let put = parts
        .blobs
        .put(&blob.key, cover.content_type, cover.bytes)
        .await;
    if let Err(error) = put {
        // It may have arrived all the same.
        remove(&*parts.blobs, &blob.key).await;
        return Err(error.into());
    }
    Ok(blob)
}

/// What cannot be deleted now is swept later.
async fn remove(blobs: &dyn Blobs, key: &str) {
    if let Err(error) = blobs.delete(key).await {
        tracing::warn!(%error, key, "a blob that is not needed is left to the sweeper");
    }
}

/// A key that nobody can guess, under the day it was made.
fn key(prefix: &str, now: Timestamp, random: &dyn Random, extension: &str) -> String {
    let millis = i64::try_from(now.0).unwrap_or(i64::MAX);
    let day = jiff::Timestamp::from_millisecond(millis)
        .unwrap_or(jiff::Timestamp::MAX)
        .strftime("%Y%m%d");
    let secret = URL_SAFE_NO_PAD.encode(seam::random::<16>(random));
    format!("{prefix}{day}/{secret}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::SystemRandom;

    #[test]
    fn keys_are_by_day_and_not_guessable() {
        let one = key(
            VIDEO_PREFIX,
            Timestamp(1_704_038_399_999),
            &SystemRandom,
            "mp4",
        );
        let other = key(
            VIDEO_PREFIX,
            Timestamp(1_704_038_399_999),
            &SystemRandom,
            "mp4",
        );
        assert!(
            one.starts_with("v/20231231/") && one.ends_with(".mp4"),
            "{one}"
        );
        assert_eq!(one.len(), "v/20231231/".len() + 22 + ".mp4".len());
        assert_ne!(one, other);
    }
}
