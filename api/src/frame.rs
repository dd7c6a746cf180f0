//! What stands around every handler: who and how long, what became of it, and the last word on what
//! an answer looks like.
use std::any::Any;
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tracing::Level;

use crate::address::{Origin, household};
use crate::app::App;
use crate::body::Holding;
use crate::call::{Fate, Footprint, Steps};
use crate::error::{Code, Failure};
use crate::routes::Place;
use crate::seam;
use crate::session::POSITION_HEADER;
use crate::wire;

pub(crate) const NODE_HEADER: HeaderName = HeaderName::from_static("x-yin-node");
pub(crate) const OUTCOME_HEADER: HeaderName = HeaderName::from_static("x-yin-outcome");
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

const REQUEST_ID_CHARACTERS_MAX: usize = 64;
/// A request that took longer than this is told of even if it went well.
const SLOW: Duration = Duration::from_secs(1);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The outermost layer.
pub(crate) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let in_flight = app.parts.load.enter();
    let footprint = Footprint::default();
    request.extensions_mut().insert(footprint.clone());
    let matched = request.extensions().get::<MatchedPath>();
    let place = matched.map_or(Place::UNKNOWN, |path| Place::of(path.as_str()));
    let about = About {
        id: request_id(&app, request.headers()),
        origin: Origin::of(
            request.extensions(),
            request.headers(),
            &app.understood.proxies,
        ),
        method: request.method().clone(),
        place,
    };
    let mut response = next.run(request).await;
    let steps = footprint.steps();
    about.shape(&mut response);
    about.finish(&app, &mut response, steps);
    about.tell(&app, &response, steps, started);
    // The request is in flight until its last byte is sent.
    response.map(|body| Body::new(Holding::new(body, in_flight)))
}

/// What is known of a request before it is handled.
struct About {
    id: HeaderValue,
    origin: Origin,
    method: Method,
    place: Place,
}

impl About {
    /// Gives failures the shape that their endpoint has: every field, with nothing in it. They are
    /// too short for the compression inside of this.
    fn shape(&self, response: &mut Response) {
        let failure = response.extensions().get::<Failure>();
        let (Some(endpoint), Some(failure)) = (self.place.endpoint, failure) else {
            return;
        };
        let body = wire::failure_body(failure.code, &failure.message, endpoint.blank);
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(CONTENT_ENCODING);
        *response.body_mut() = Body::from(body);
    }

    fn finish(&self, app: &App, response: &mut Response, steps: Steps) {
        let failed = response.extensions().get::<Failure>().is_some();
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID_HEADER, self.id.clone());
        headers.insert(NODE_HEADER, app.parts.node.0.into());
        let position = steps
            .position
            .and_then(|seen| app.parts.replica.encode_position(seen));
        if let Some(Ok(position)) = position.map(HeaderValue::try_from) {
            headers.insert(POSITION_HEADER, position);
        }
        if failed
            && self
                .place
                .endpoint
                .is_some_and(|endpoint| endpoint.is_write)
        {
            let outcome = match steps.fate {
                Fate::None | Fate::NotApplied => "not_applied",
                // An answer that was lost behind a write that was applied is not a failed write.
                Fate::Open | Fate::Applied => "unknown",
            };
            headers.insert(OUTCOME_HEADER, HeaderValue::from_static(outcome));
        }
        if failed || self.place.endpoint.is_some() {
            headers.insert(CACHE_CONTROL, NO_STORE);
        }
    }

    /// What failed or was slow is told always, the rest only where `access=debug` is asked for: how
    /// many there were is in the metrics, and a line costs as much as a tenth of a like. Nothing that
    /// a client wrote is in it but its address, cut to its household's.
    fn tell(&self, app: &App, response: &Response, steps: Steps, started: Instant) {
        let elapsed = started.elapsed().saturating_sub(steps.waited);
        let status = response.status().as_u16();
        let code = response
            .extensions()
            .get::<Failure>()
            .map_or(0, |failure| failure.code.number());
        let route = self.place.template;
        let meter = app.meters.of(route, method(&self.method), status);
        meter.requests.increment(1);
        meter.seconds.record(elapsed);
        if code != 0 {
            metrics::counter!("yin_http_failures_total", "code" => code.to_string()).increment(1);
        }
        let is_notable = code != 0 || status >= 400 || elapsed >= SLOW;
        if !is_notable && !tracing::enabled!(target: "access", Level::DEBUG) {
            return;
        }
        tracing::info!(
            target: "access",
            method = %self.method,
            route,
            status,
            code,
            elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            user = steps.user.map(|user| user.0),
            address = %household(self.origin.address),
            request_id = self.id.to_str().unwrap_or_default(),
        );
    }
}

/// Methods are a client's words: only known ones become labels.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The client's own id for this request if it has a decent one.
fn request_id(app: &App, headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID_HEADER).filter(|value| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_CHARACTERS_MAX).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    });
    own.cloned().unwrap_or_else(|| {
        let own = u64::from_be_bytes(seam::id(&*app.parts.random));
        HeaderValue::try_from(format!("{own:016x}")).expect("hexadecimal digits are a header")
    })
}

/// Says what a layer's error is.
pub(crate) async fn of_layer(error: BoxError) -> Failure {
    if error.is::<Overloaded>() {
        Code::Overloaded.into()
    } else if error.is::<Elapsed>() {
        Failure::new(
            Code::Unavailable,
            "this took too long here: try again, or another node",
        )
    } else {
        tracing::error!(error, "a layer failed");
        Code::Internal.into()
    }
}

/// A handler panicked: its client learns that, and no more.
pub(crate) fn of_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    metrics::counter!("yin_http_panics_total").increment(1);
    tracing::error!(why, "a handler panicked");
    Failure::from(Code::Internal).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_without_internals() {
        async fn panics() -> &'static str {
            panic!("the secret at {}", "src/user.rs")
        }
        let router: Router = Router::new()
            .route("/", get(panics))
            .layer(CatchPanicLayer::custom(of_panic));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("\"status_code\":5007"), "{body}");
        assert!(!body.contains("secret") && !body.contains("src/"), "{body}");
    }

    #[tokio::test]
    async fn errors_of_layers_are_told_apart() {
        let code = async |error: BoxError| of_layer(error).await.code;
        assert_eq!(code(Box::new(Overloaded::new())).await, Code::Overloaded);
        assert_eq!(code(Box::new(Elapsed::new())).await, Code::Unavailable);
        assert_eq!(code("something else".into()).await, Code::Internal);
    }
}
