//! `/healthz`, `/readyz`, `/metrics`: the truth, for balancers and operators.
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use raft::replica::{Consistency, Error, Role, Status};
use serde::Serialize;

use crate::app::App;
use crate::call::json;

/// `GET /healthz`: this process answers.
pub(crate) async fn healthz() -> Response {
    (StatusCode::OK, [(CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Why not; empty when ready.
    reasons: Vec<String>,
    node: u64,
    role: &'static str,
    leader: Option<u64>,
    term: u64,
    applied_index: u64,
    committed_index: u64,
    lag_entries: u64,
    /// Writes that this node would have to store are refused.
    disk_low: bool,
    draining: bool,
}

/// `GET /readyz`: may clients be sent here? Asks the quorum instead of believing what it was.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let quorum = ask_quorum(&app).await;
    let status = app.parts.replica.status();
    let draining = *app.parts.draining.borrow();
    let mut reasons = Vec::new();
    if draining {
        reasons.push("this node is draining".to_owned());
    }
    if let Some(why) = &status.stopped {
        reasons.push(format!("the replica has stopped: {why}"));
    }
    if status.role == Role::Outside {
        reasons.push("this node is not (or no longer) a member of the cluster".to_owned());
    }
    if let Err(why) = quorum {
        reasons.push(why);
    }
    let lag = status.committed_index.saturating_sub(status.applied_index);
    if lag > app.options.ready_lag_entries_max {
        reasons.push(format!("{lag} committed entries are not applied here yet"));
    }
    answer(&app, &status, reasons, lag, draining)
}

/// A barrier is the proof: a quorum confirmed the leader just now, and this node has applied what
/// was committed then. Barriers at the same time share one round.
async fn ask_quorum(app: &App) -> Result<(), String> {
    let within = Duration::from_millis(app.options.ready_timeout_ms);
    match app
        .parts
        .replica
        .read(Consistency::Linearizable, within)
        .await
    {
        Ok(_) => Ok(()),
        Err(Error::Unavailable { why, .. } | Error::Unknown { why }) => Err(format!(
            "no quorum confirmed the leader, or this node did not catch up, within {} ms: {why}",
            app.options.ready_timeout_ms
        )),
        // Said already.
        Err(Error::Stopped { .. }) => Ok(()),
        Err(error @ Error::FuturePosition) => Err(error.to_string()),
    }
}

fn answer(app: &App, status: &Status, reasons: Vec<String>, lag: u64, draining: bool) -> Response {
    let body = Readiness {
        ready: reasons.is_empty(),
        node: app.parts.node.0,
        role: match status.role {
            Role::Leader => "leader",
            Role::Voter => "voter",
            Role::Learner => "learner",
            Role::Outside => "outside",
        },
        leader: status.leader.map(|leader| leader.0),
        term: status.term,
        applied_index: status.applied_index,
        committed_index: status.committed_index,
        lag_entries: lag,
        disk_low: status.is_disk_low,
        draining,
        reasons,
    };
    let text = serde_json::to_string(&body).expect("strings and numbers always have a JSON form");
    let mut response = json(text);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !body.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let in_flight = u32::try_from(app.parts.load.in_flight()).unwrap_or(u32::MAX);
    metrics::gauge!("yin_http_in_flight").set(in_flight);
    let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, app.parts.metrics.render()).into_response()
}
