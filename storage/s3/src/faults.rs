//! Misbehaviour on demand, for the tests of whoever talks to a bucket. Off unless it is given in
//! [`crate::Options`], and nothing in production gives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Uri};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use s3s::{Body, HttpError, HttpResponse, s3_error};
use tokio::sync::Notify;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused as too busy: 503 SlowDown.
    Busy,
    /// Broken: 500 InternalError.
    Broken,
    /// No answer until [`Faults::clear`].
    Hang,
    /// The connection closes without an answer; the request was not done.
    Reset,
    /// The request is done, and the connection closes without an answer.
    LoseAnswer,
    /// The answer's body ends after so many bytes, and with it the connection.
    Truncate(usize),
    /// The answer's body stops after so many bytes and the connection stays, until [`Faults::clear`].
    Stall(usize),
    /// The request waits so long, then all is well.
    Delay(Duration),
}

/// The switch; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    plans: Mutex<Vec<Plan>>,
    cleared: Notify,
}

#[derive(Debug)]
struct Plan {
    method: Option<Method>,
    query: &'static str,
    left: usize,
    fault: Fault,
}

impl Faults {
    /// For every request from now on.
    pub fn always(&self, fault: Fault) {
        self.some(None, "", usize::MAX, fault);
    }

    /// For the next so many requests.
    pub fn next(&self, requests: usize, fault: Fault) {
        self.some(None, "", requests, fault);
    }

    /// For the next so many requests of a method (any, if none) whose query contains a word, such
    /// as `partNumber=` for a part or `uploads` for the start of an upload.
    pub fn some(&self, method: Option<Method>, query: &'static str, requests: usize, fault: Fault) {
        self.plans().push(Plan {
            method,
            query,
            left: requests,
            fault,
        });
    }

    /// No faults from now on; what hangs goes on.
    pub fn clear(&self) {
        self.plans().clear();
        self.state.cleared.notify_waiters();
    }

    /// How many planned faults are still to come; `usize::MAX` for an endless one.
    #[must_use]
    pub fn left(&self) -> usize {
        self.plans()
            .iter()
            .map(|plan| plan.left)
            .fold(0, usize::saturating_add)
    }

    /// The fault of a request.
    pub(crate) fn take(&self, method: &Method, uri: &Uri) -> Option<Fault> {
        let query = uri.query().unwrap_or_default();
        let mut plans = self.plans();
        let plan = plans.iter_mut().find(|plan| {
            plan.left > 0
                && plan.method.as_ref().is_none_or(|wanted| wanted == method)
                && query.contains(plan.query)
        })?;
        if plan.left != usize::MAX {
            plan.left -= 1;
        }
        Some(plan.fault)
    }

    fn plans(&self) -> MutexGuard<'_, Vec<Plan>> {
        // A list of plans is whole at any moment, also after a panic.
        self.state
            .plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a request under a fault.
    pub(crate) async fn apply(
        &self,
        fault: Fault,
        request: impl Future<Output = Result<HttpResponse, HttpError>>,
    ) -> Result<HttpResponse, HttpError> {
        let cleared = self.state.cleared.notified();
        match fault {
            Fault::Busy => refusal(s3_error!(SlowDown, "a planned fault")),
            Fault::Broken => refusal(s3_error!(InternalError, "a planned fault")),
            Fault::Hang => {
                cleared.await;
                request.await
            }
            Fault::Reset => Err(planned()),
            Fault::LoseAnswer => {
                // A body may do its work as it is read, and that belongs to the request.
                let answer = request.await?;
                BodyExt::collect(answer.into_body())
                    .await
                    .map_err(HttpError::new)?;
                Err(planned())
            }
            Fault::Truncate(bytes) => Ok(request.await?.map(|body| self.cut(body, bytes, false))),
            Fault::Stall(bytes) => Ok(request.await?.map(|body| self.cut(body, bytes, true))),
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                request.await
            }
        }
    }

    fn cut(&self, body: Body, bytes: usize, is_stalled: bool) -> Body {
        let state = self.state.clone();
        let frames = futures_util::stream::unfold(
            (BodyStream::new(body), bytes),
            move |(mut body, left)| {
                let state = state.clone();
                async move {
                    if left == 0 {
                        if is_stalled {
                            state.cleared.notified().await;
                        }
                        return Some((Err("a planned fault".into()), (body, left)));
                    }
                    let mut kept = 0;
                    let frame = body.next().await?.map(|frame| {
                        frame.map_data(|data: Bytes| {
                            kept = data.len().min(left);
                            data.slice(..kept)
                        })
                    });
                    Some((frame, (body, left - kept)))
                }
            },
        );
        Body::http_body_unsync(StreamBody::new(frames))
    }
}

fn refusal(error: s3s::S3Error) -> Result<HttpResponse, HttpError> {
    error
        .to_http_response()
        .map_err(|error| HttpError::new(Box::new(error)))
}

fn planned() -> HttpError {
    HttpError::new("a planned fault".into())
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::{Fault, Faults};

    #[test]
    fn plans_apply_in_order_to_what_they_name() {
        let faults = Faults::default();
        let (plain, part) = (
            Uri::from_static("/b/k"),
            Uri::from_static("/b/k?partNumber=1&uploadId=x"),
        );
        faults.some(Some(Method::PUT), "partNumber=", 1, Fault::Reset);
        faults.next(2, Fault::Busy);
        assert_eq!(faults.left(), 3);
        assert_eq!(faults.take(&Method::GET, &plain), Some(Fault::Busy));
        assert_eq!(faults.take(&Method::PUT, &part), Some(Fault::Reset));
        assert_eq!(faults.take(&Method::PUT, &part), Some(Fault::Busy));
        assert_eq!(faults.take(&Method::PUT, &part), None);
        faults.always(Fault::Hang);
        assert_eq!(faults.take(&Method::PUT, &part), Some(Fault::Hang));
        assert_eq!(faults.left(), usize::MAX);
        faults.clear();
        assert_eq!((faults.take(&Method::PUT, &part), faults.left()), (None, 0));
    }
}
