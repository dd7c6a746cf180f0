//! Request bodies: read up to a limit, and left behind politely.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::{Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::time;

use crate::error::{Code, Failure};

/// Of a body that nobody wants, so much is still read: many clients look at the answer only when
/// all is sent, and a closed connection would take it from them.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
const DRAINS_MAX: usize = 64;

/// What the sender says the size is.
pub(crate) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Does the sender hold its body back until it is asked for?
pub(crate) fn is_waiting(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// Reads unwanted bodies to their end, in bounds.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Semaphore>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(DRAINS_MAX)))
    }
}

impl Drain {
    /// Leaves a body of which nothing was read yet. A sender that asked whether it should begin
    /// (`Expect: 100-continue`) is not told to.
    pub(crate) fn leave(&self, headers: &HeaderMap, body: Body) {
        if !is_waiting(headers) {
            self.start(body);
        }
    }

    /// Reads on beside the answer, if not too many others do.
    pub(crate) fn start(&self, body: Body) {
        if body.is_end_stream() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let mut left = DRAIN_BYTES_MAX;
            let mut stream = body.into_data_stream();
            let all = async {
                while let Some(Ok(bytes)) = stream.next().await {
                    left = left.saturating_sub(bytes.len());
                    if left == 0 {
                        break;
                    }
                }
            };
            if time::timeout(DRAIN_TIME_MAX, all).await.is_err() {
                tracing::debug!("a sender went on too long after it had its answer");
            }
            drop(permit);
        });
    }

    /// The whole body.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Bytes, Failure> {
        if declared(headers).is_some_and(|size| size > bytes_max as u64) {
            self.leave(headers, body);
            return Err(too_large(bytes_max as u64));
        }
        let mut stream = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| broke_off(&error))?;
            if whole.len() + chunk.len() > bytes_max {
                self.start(Body::new(stream));
                return Err(too_large(bytes_max as u64));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

pub(crate) fn too_large(bytes_max: u64) -> Failure {
    Failure::new(
        Code::TooLarge,
        format!("the body is too large: at most {bytes_max} bytes are taken here"),
    )
}

pub(crate) fn broke_off(error: &axum::Error) -> Failure {
    tracing::debug!(%error, "a request body broke off");
    Failure::new(
        Code::BodyMalformed,
        "the body broke off before its end: send it again",
    )
}

/// A body that holds something until its last byte is sent, or nobody wants it any more.
pub(crate) struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T> Holding<T> {
    pub(crate) fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
