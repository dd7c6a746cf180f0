//! The real bucket: object_store's S3 client under our limits.

use std::error::Error as StdError;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutOptions, PutPayload, RetryConfig,
};
use tokio::time::Instant;

use super::breaker::{Breaker, Pass};
use super::config::{Config, Invalid};
use super::transport::{Connector, Refusal};
use super::upload::Upload;
use super::{Blobs, Error, Part, Reading, Writer};

/// Attempts of a request after the first.
const RETRIES_MAX: usize = 3;
/// No further attempt begins after this time.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);
/// Shorter than the time after which servers close a connection that rests.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
/// Asked for as a sign of life; it need not exist.
const PROBE_KEY: &str = "probe";

/// A bucket of an S3-compatible store; clones share connections and the breaker.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    store: AmazonS3,
    config: Config,
    breaker: Mutex<Breaker>,
    start: Instant,
}

impl Bucket {
    /// Builds the client. Nothing is sent: [`Blobs::probe`] says whether the bucket is there.
    ///
    /// # Panics
    /// If the process has installed no TLS provider.
    pub fn new(config: Config) -> Result<Self, Invalid> {
        config.check()?;
        let store = client(&config).map_err(|error| Invalid::Client { why: why(&error) })?;
        let breaker = Mutex::new(Breaker::new(config.breaker()));
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                config,
                breaker,
                start: Instant::now(),
            }),
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(super) fn store(&self) -> &AmazonS3 {
        &self.inner.store
    }

    /// Runs a request that sends so many bytes: past the breaker, under its deadline.
    pub(super) async fn ask<T>(
        &self,
        key: &str,
        sends_bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        let limit = self.config().answer_timeout + self.config().sending(sends_bytes);
        self.ask_within(key, limit, request).await
    }

    pub(super) async fn ask_within<T>(
        &self,
        key: &str,
        limit: Duration,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        let watch = self.pass()?;
        watch.end(within(limit, key, request).await)
    }

    /// Asks the breaker.
    fn pass(&self) -> Result<Watch, Error> {
        let now = self.inner.start.elapsed();
        let pass = self.breaker().ask(now);
        match pass {
            Pass::Go | Pass::Try => Ok(Watch {
                bucket: self.clone(),
                pass,
                has_ended: false,
            }),
            Pass::No { wait } => {
                metrics::counter!("yin_blob_requests_total", "outcome" => "not_asked").increment(1);
                Err(Error::unavailable(format!(
                    "it failed too often just now; asked again in {} ms",
                    wait.as_millis()
                )))
            }
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // It is a small value that is whole at any moment, also after a panic.
        self.inner
            .breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer of 416: the part lies outside of the blob, whose size is still wanted.
    async fn outside(&self, key: &str) -> Result<Reading, Error> {
        let bytes = self.size(key).await?;
        Ok(Reading {
            bytes,
            range: bytes..bytes,
            stream: stream::empty().boxed(),
        })
    }

    /// A body whose next bytes come in time, and all of which come.
    fn body(
        &self,
        key: &str,
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        range: &Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let left = range.end - range.start;
        let state = Some((self.clone(), key.to_owned(), stream, left));
        let pieces = stream::unfold(state, |state| async move {
            let (bucket, key, mut stream, left) = state?;
            let limit = bucket.config().answer_timeout;
            let next = async { stream.next().await.transpose() };
            match within(limit, &key, next).await {
                Ok(None) if left == 0 => None,
                Ok(Some(piece)) if piece.len() as u64 <= left => {
                    let left = left - piece.len() as u64;
                    Some((Ok(piece), Some((bucket, key, stream, left))))
                }
                Ok(_) => Some((
                    Err(Error::unavailable(
                        "it sent another number of bytes than it said",
                    )),
                    None,
                )),
                Err(error) => {
                    bucket
                        .breaker()
                        .failed(Pass::Go, bucket.inner.start.elapsed());
                    Some((Err(error), None))
                }
            }
        });
        pieces.boxed()
    }
}

/// Sees that the breaker learns what comes of a request, also if its caller drops it.
struct Watch {
    bucket: Bucket,
    pass: Pass,
    has_ended: bool,
}

impl Watch {
    fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.has_ended = true;
        let now = self.bucket.inner.start.elapsed();
        let outcome = match &result {
            Err(Error::Unavailable { .. }) => {
                self.bucket.breaker().failed(self.pass, now);
                "failed"
            }
            Err(Error::Refused { .. }) => {
                self.bucket.breaker().answered();
                "refused"
            }
            Ok(_) | Err(Error::NotFound { .. }) => {
                self.bucket.breaker().answered();
                "answered"
            }
        };
        metrics::counter!("yin_blob_requests_total", "outcome" => outcome).increment(1);
        result
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.has_ended {
            let now = self.bucket.inner.start.elapsed();
            self.bucket.breaker().gave_up(self.pass, now);
        }
    }
}

#[async_trait]
impl Blobs for Bucket {
    async fn create(&self, key: &str, content_type: &str) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(Upload::new(
            self.clone(),
            key,
            path(key)?,
            content_type,
        )))
    }

    async fn put(&self, key: &str, content_type: &str, body: Bytes) -> Result<(), Error> {
        let path = path(key)?;
        self.put_payload(key, &path, content_type, body.into())
            .await
    }

    async fn read(&self, key: &str, part: Part) -> Result<Reading, Error> {
        let path = path(key)?;
        let range = match part {
            Part::Whole => None,
            Part::Bounded(first, last) if first > last => return self.outside(key).await,
            Part::Last(0) => return self.outside(key).await,
            Part::Bounded(first, last) => Some(GetRange::Bounded(first..last.saturating_add(1))),
            Part::From(first) => Some(GetRange::Offset(first)),
            Part::Last(count) => Some(GetRange::Suffix(count)),
        };
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let found = match self
            .ask(key, 0, self.store().get_opts(&path, options))
            .await
        {
            Err(Error::Refused { why }) if why == OUTSIDE => return self.outside(key).await,
            found => found?,
        };
        let (bytes, range) = (found.meta.size, found.range.clone());
        let stream = self.body(key, found.into_stream(), &range);
        Ok(Reading {
            bytes,
            range,
            stream,
        })
    }

    async fn size(&self, key: &str) -> Result<u64, Error> {
        let path = path(key)?;
        self.ask(key, 0, self.store().head(&path))
            .await
            .map(|found| found.size)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = path(key)?;
        match self.ask(key, 0, self.store().delete(&path)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<(String, u64), Error>> {
        let watch = match self.pass() {
            Ok(watch) => watch,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        // The client lists directories; a prefix may end within a name.
        let directory = prefix
            .rsplit_once('/')
            .map(|(directory, _)| Path::from(directory));
        let found = self.store().list(directory.as_ref());
        let (limit, prefix) = (self.config().answer_timeout, prefix.to_owned());
        let listed = stream::unfold(Some((found, Some(watch))), move |state| async move {
            let (mut found, watch) = state?;
            let next = within(limit, "", async { found.try_next().await }).await;
            let next = match watch {
                Some(watch) => watch.end(next),
                None => next,
            };
            match next {
                Ok(None) => None,
                Ok(Some(meta)) => Some((Ok(meta), Some((found, None)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        let named = listed.map_ok(|meta: ObjectMeta| {
            (
                String::from(meta.location),
                age_s(meta.last_modified.timestamp()),
            )
        });
        named
            .try_filter(move |(key, _)| std::future::ready(key.starts_with(&prefix)))
            .boxed()
    }

    async fn probe(&self) -> Result<(), Error> {
        // Past the breaker: a sign of life is what it waits for.
        let watch = Watch {
            bucket: self.clone(),
            pass: Pass::Go,
            has_ended: false,
        };
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..1)),
            ..GetOptions::default()
        };
        let key = Path::from(PROBE_KEY);
        let asked = within(
            self.config().answer_timeout,
            PROBE_KEY,
            self.store().get_opts(&key, options),
        );
        match watch.end(asked.await.map(|_| ())) {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(Error::Refused { why }) if why == OUTSIDE => Ok(()),
            answer => answer,
        }
    }
}

impl Bucket {
    pub(super) async fn put_payload(
        &self,
        key: &str,
        path: &Path,
        content_type: &str,
        payload: PutPayload,
    ) -> Result<(), Error> {
        let bytes = payload.content_length() as u64;
        let options = PutOptions {
            attributes: attributes(content_type),
            ..PutOptions::default()
        };
        let put = self
            .ask(key, bytes, self.store().put_opts(path, payload, options))
            .await;
        put.map(|_| ()).map_err(not_missing)
    }
}

fn client(config: &Config) -> object_store::Result<AmazonS3> {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    };
    let options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(config.connect_timeout)
        .with_pool_idle_timeout(IDLE_CONNECTION)
        .with_allow_http(config.allow_http);
    let builder = AmazonS3Builder::new()
        .with_region(&config.region)
        .with_bucket_name(&config.bucket)
        .with_access_key_id(&config.access_key)
        .with_secret_access_key(&config.secret_key)
        .with_virtual_hosted_style_request(!config.is_path_style)
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            backoff,
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
        })
        .with_client_options(options)
        .with_http_connector(Connector {
            config: config.clone(),
        });
    match endpoint(config) {
        Some(endpoint) => builder.with_endpoint(endpoint).build(),
        None => builder.build(),
    }
}

/// With the bucket in the host's name if it belongs there: the client takes an endpoint literally.
fn endpoint(config: &Config) -> Option<String> {
    let (scheme, host) = config.endpoint.trim_end_matches('/').split_once("://")?;
    Some(match config.is_path_style {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{}.{host}", config.bucket),
    })
}

pub(super) fn path(key: &str) -> Result<Path, Error> {
    let path = Path::parse(key)
        .ok()
        .filter(|path| path.as_ref() == key && !key.is_empty());
    path.ok_or_else(|| Error::Refused {
        why: format!("{key:?} can't be the key of a blob"),
    })
}

pub(super) fn attributes(content_type: &str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())])
}

/// Runs a request under a deadline and turns its error into ours.
async fn within<T>(
    limit: Duration,
    key: &str,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result.map_err(|error| translate(key, error)),
        Err(_) => Err(Error::unavailable(format!(
            "no answer within {} ms",
            limit.as_millis()
        ))),
    }
}

/// How the refusal of a part outside of a blob begins.
const OUTSIDE: &str = "InvalidRange (416)";

fn translate(key: &str, error: object_store::Error) -> Error {
    use object_store::Error as Theirs;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            // Not every store has S3's word for it.
            let why = if refusal.status == 416 {
                OUTSIDE.into()
            } else {
                refusal.to_string()
            };
            return Error::Refused { why };
        }
        cause = current.source();
    }
    match error {
        Theirs::NotFound { .. } => Error::NotFound { key: key.into() },
        Theirs::PermissionDenied { .. }
        | Theirs::Unauthenticated { .. }
        | Theirs::InvalidPath { .. }
        | Theirs::NotSupported { .. }
        | Theirs::NotImplemented { .. }
        | Theirs::UnknownConfigurationKey { .. } => Error::Refused { why: why(&error) },
        _ => Error::unavailable(why(&error)),
    }
}

/// Where something is made, nothing can be missing but what it is made in.
pub(super) fn not_missing(error: Error) -> Error {
    match error {
        Error::NotFound { key } => Error::Refused {
            why: format!("it has no place for {key}: is the bucket there?"),
        },
        error => error,
    }
}

/// An error's words and those of its deepest cause, which the words leave out.
fn why(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    let (words, cause) = (error.to_string(), deepest.to_string());
    if words.contains(&cause) {
        words
    } else {
        format!("{words}: {cause}")
    }
}

/// Seconds since a moment in Unix time; clocks differ, so never below zero.
fn age_s(then_s: i64) -> u64 {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    now_s.saturating_sub(u64::try_from(then_s).unwrap_or(0))
}
