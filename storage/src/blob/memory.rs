//! The bucket's twin in memory, for tests and simulations: same rules, faults to switch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::bucket::path;
use super::{Blobs, Error, Part, Reading, Writer};

/// What a reader gets at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A bucket in memory; clones share it. Time is tokio's, so a paused clock counts.
#[derive(Clone)]
pub struct MemoryBlobs {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    blobs: BTreeMap<String, Blob>,
    /// All blobs and unfinished uploads together.
    bytes: usize,
    bytes_max: usize,
    open_uploads: usize,
    is_down: bool,
    is_refusing: bool,
    slowness: Duration,
    failures: usize,
}

#[derive(Clone)]
struct Blob {
    content_type: String,
    body: Bytes,
    since: Instant,
}

impl MemoryBlobs {
    /// Holds at most so many bytes; more are refused as by a full store.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let inner = Inner {
            blobs: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            open_uploads: 0,
            is_down: false,
            is_refusing: false,
            slowness: Duration::ZERO,
            failures: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Whether everything fails as if nobody listened.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Whether everything is refused as with wrong keys.
    pub fn set_refusing(&self, is_refusing: bool) {
        self.lock().is_refusing = is_refusing;
    }

    /// How long every request waits before it is done.
    pub fn set_slow(&self, slowness: Duration) {
        self.lock().slowness = slowness;
    }

    /// The next so many requests fail as with a 5xx.
    pub fn fail_next(&self, requests: usize) {
        self.lock().failures = requests;
    }

    /// All keys there are.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().blobs.keys().cloned().collect()
    }

    /// The content type of a blob.
    #[must_use]
    pub fn content_type(&self, key: &str) -> Option<String> {
        self.lock()
            .blobs
            .get(key)
            .map(|blob| blob.content_type.clone())
    }

    /// Uploads that are neither finished nor aborted.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.lock().open_uploads
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is one step, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every request goes through.
    async fn ask(&self) -> Result<(), Error> {
        let slowness = self.lock().slowness;
        if !slowness.is_zero() {
            tokio::time::sleep(slowness).await;
        }
        let mut inner = self.lock();
        if inner.is_down {
            return Err(Error::unavailable("nobody listens"));
        }
        if inner.failures > 0 {
            inner.failures -= 1;
            return Err(Error::unavailable("it broke (500)"));
        }
        if inner.is_refusing {
            return Err(Error::Refused {
                why: "AccessDenied (403): no".into(),
            });
        }
        Ok(())
    }

    async fn find(&self, key: &str) -> Result<Blob, Error> {
        path(key)?;
        self.ask().await?;
        self.lock()
            .blobs
            .get(key)
            .cloned()
            .ok_or_else(|| Error::NotFound { key: key.into() })
    }
}

impl Inner {
    fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        if self.bytes_max - self.bytes < bytes {
            return Err(Error::unavailable("it is full"));
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Stores a body whose bytes are reserved.
    fn store(&mut self, key: &str, content_type: &str, body: Bytes) {
        let blob = Blob {
            content_type: content_type.into(),
            body,
            since: Instant::now(),
        };
        if let Some(replaced) = self.blobs.insert(key.into(), blob) {
            self.bytes -= replaced.body.len();
        }
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn create(&self, key: &str, content_type: &str) -> Result<Box<dyn Writer>, Error> {
        path(key)?;
        self.lock().open_uploads += 1;
        Ok(Box::new(MemoryUpload {
            blobs: self.clone(),
            key: key.into(),
            content_type: content_type.into(),
            body: BytesMut::new(),
        }))
    }

    async fn put(&self, key: &str, content_type: &str, body: Bytes) -> Result<(), Error> {
        path(key)?;
        self.ask().await?;
        let mut inner = self.lock();
        inner.reserve(body.len())?;
        inner.store(key, content_type, body);
        Ok(())
    }

    async fn read(&self, key: &str, part: Part) -> Result<Reading, Error> {
        let body = self.find(key).await?.body;
        let bytes = body.len() as u64;
        let range = part.of(bytes);
        let place = |at: u64| usize::try_from(at).expect("within a body in memory");
        let mut rest = body.slice(place(range.start)..place(range.end));
        let pieces = stream::iter(std::iter::from_fn(move || {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            (!piece.is_empty()).then_some(Ok(piece))
        }));
        Ok(Reading {
            bytes,
            range,
            stream: pieces.boxed(),
        })
    }

    async fn size(&self, key: &str) -> Result<u64, Error> {
        Ok(self.find(key).await?.body.len() as u64)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        path(key)?;
        self.ask().await?;
        let mut inner = self.lock();
        if let Some(blob) = inner.blobs.remove(key) {
            inner.bytes -= blob.body.len();
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<(String, u64), Error>> {
        let (blobs, prefix) = (self.clone(), prefix.to_owned());
        let listed = async move {
            if let Err(error) = blobs.ask().await {
                return vec![Err(error)];
            }
            let inner = blobs.lock();
            let under = inner
                .blobs
                .range(prefix.clone()..)
                .take_while(|(key, _)| key.starts_with(&prefix));
            under
                .map(|(key, blob)| Ok((key.clone(), blob.since.elapsed().as_secs())))
                .collect()
        };
        listed.map(stream::iter).flatten_stream().boxed()
    }

    async fn probe(&self) -> Result<(), Error> {
        self.ask().await
    }
}

struct MemoryUpload {
    blobs: MemoryBlobs,
    key: String,
    content_type: String,
    body: BytesMut,
}

#[async_trait]
impl Writer for MemoryUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.blobs.ask().await?;
        self.blobs.lock().reserve(chunk.len())?;
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), Error> {
        self.blobs.ask().await?;
        let body = std::mem::take(&mut self.body).freeze();
        self.blobs.lock().store(&self.key, &self.content_type, body);
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        let mut inner = self.blobs.lock();
        inner.open_uploads -= 1;
        // Nothing, if it was finished.
        inner.bytes -= self.body.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use super::{Blobs, Error, MemoryBlobs, Part};

    async fn text(blobs: &MemoryBlobs, key: &str, part: Part) -> String {
        let pieces: Vec<Bytes> = blobs
            .read(key, part)
            .await
            .unwrap()
            .stream
            .try_collect()
            .await
            .unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn finished_blobs_are_there_and_dropped_ones_are_not() {
        let blobs = MemoryBlobs::new(100);
        let mut writer = blobs.create("v/1", "video/mp4").await.unwrap();
        writer.write(Bytes::from_static(b"hello ")).await.unwrap();
        assert_eq!((blobs.open_uploads(), blobs.keys().len()), (1, 0));
        writer.write(Bytes::from_static(b"world")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(text(&blobs, "v/1", Part::Bounded(6, 8)).await, "wor");
        assert_eq!(blobs.content_type("v/1").as_deref(), Some("video/mp4"));

        let mut dropped = blobs.create("v/2", "video/mp4").await.unwrap();
        dropped.write(Bytes::from_static(b"x")).await.unwrap();
        drop(dropped);
        assert_eq!(
            (blobs.open_uploads(), blobs.keys()),
            (0, vec!["v/1".to_owned()])
        );
    }

    #[tokio::test]
    async fn a_full_store_says_so_and_recovers() {
        let blobs = MemoryBlobs::new(10);
        blobs
            .put("a", "x", Bytes::from_static(b"12345678"))
            .await
            .unwrap();
        let mut writer = blobs.create("b", "x").await.unwrap();
        writer.write(Bytes::from_static(b"12")).await.unwrap();
        assert!(matches!(
            writer.write(Bytes::from_static(b"3")).await,
            Err(Error::Unavailable { .. })
        ));
        drop(writer);
        blobs
            .put("c", "x", Bytes::from_static(b"12"))
            .await
            .unwrap();
        blobs.delete("a").await.unwrap();
        blobs
            .put("a", "x", Bytes::from_static(b"12345678"))
            .await
            .unwrap();
        blobs.put("a", "x", Bytes::new()).await.unwrap();
        assert_eq!(blobs.size("a").await, Ok(0));
    }

    #[tokio::test]
    async fn faults_on_demand() {
        let blobs = MemoryBlobs::new(100);
        blobs.put("a", "x", Bytes::from_static(b"1")).await.unwrap();
        blobs.fail_next(1);
        assert!(matches!(
            blobs.size("a").await,
            Err(Error::Unavailable { .. })
        ));
        assert_eq!(blobs.size("a").await, Ok(1));
        blobs.set_down(true);
        assert!(matches!(
            blobs.probe().await,
            Err(Error::Unavailable { .. })
        ));
        blobs.set_down(false);
        blobs.set_refusing(true);
        assert!(matches!(blobs.probe().await, Err(Error::Refused { .. })));
        blobs.set_refusing(false);
        blobs.set_slow(Duration::from_millis(50));
        let start = tokio::time::Instant::now();
        blobs.probe().await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(50));
        let listed: Vec<_> = blobs.list("").try_collect().await.unwrap();
        assert_eq!(listed, [("a".to_owned(), 0)]);
    }
}
