//! The body of an upload: bounded in size, in silence, and left behind politely.
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{Drain, is_waiting};

/// Why the body cannot be read on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broke {
    TooLarge,
    /// Nothing came for too long.
    Stalled,
    /// The sender went away.
    Cut,
}

/// A body on its way in. What is left of it when it is dropped is still read, in bounds.
pub(crate) struct Incoming {
    body: Option<BodyDataStream>,
    left: u64,
    stall: Duration,
    silence: Pin<Box<Sleep>>,
    /// The sender holds everything back until it is asked for.
    is_waiting: bool,
    drain: Drain,
}

impl Incoming {
    pub(crate) fn new(
        headers: &HeaderMap,
        body: Body,
        bytes_max: u64,
        stall: Duration,
        drain: Drain,
    ) -> Self {
        Self {
            body: Some(body.into_data_stream()),
            left: bytes_max,
            stall,
            silence: Box::pin(sleep(stall)),
            is_waiting: is_waiting(headers),
            drain,
        }
    }

    fn give_up(&mut self, why: Broke) -> Poll<Option<Result<Bytes, Broke>>> {
        self.body = None;
        Poll::Ready(Some(Err(why)))
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, Broke>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_waiting = false;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(next) = Pin::new(body).poll_next(context) else {
            ready!(self.silence.as_mut().poll(context));
            return self.give_up(Broke::Stalled);
        };
        let wake = Instant::now() + self.stall;
        self.silence.as_mut().reset(wake);
        match next {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Poll::Ready(Some(Ok(bytes)))
                }
                None => Poll::Ready(Some(Err(Broke::TooLarge))),
            },
            Some(Err(error)) => {
                tracing::debug!(%error, "an upload broke off");
                self.give_up(Broke::Cut)
            }
            None => {
                self.body = None;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(rest) = self.body.take()
            && !self.is_waiting
        {
            self.drain.start(Body::new(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    fn incoming(body: Body, bytes_max: u64) -> Incoming {
        let stall = Duration::from_millis(30);
        Incoming::new(&HeaderMap::new(), body, bytes_max, stall, Drain::default())
    }

    #[tokio::test]
    async fn a_body_comes_through_up_to_its_limit() {
        let body = || Body::from("0123456789");
        let whole: Vec<_> = incoming(body(), 10).collect().await;
        assert_eq!(whole, [Ok(Bytes::from("0123456789"))]);
        assert_eq!(incoming(body(), 9).next().await, Some(Err(Broke::TooLarge)));
    }

    #[tokio::test]
    async fn silence_and_breaks_end_it() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut incoming_ = incoming(silent, 10);
        assert_eq!(incoming_.next().await, Some(Err(Broke::Stalled)));
        assert_eq!(incoming_.next().await, None);
        let cut = stream::iter([Ok(Bytes::from("ab")), Err(std::io::Error::other("gone"))]);
        let all: Vec<_> = incoming(Body::from_stream(cut), 10).collect().await;
        assert_eq!(all, [Ok(Bytes::from("ab")), Err(Broke::Cut)]);
    }
}
