//! The running node's side of the admin socket.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use gossip::members::Members;
use model::cluster::CreateJoinToken;
use model::command::{Operation, Reply, RequestId};
use model::id::NodeId;
use model::time::Timestamp;
use model::token::TokenHash;
use raft::clock::Clock;
use raft::replica::{Consistency, Proposal, Replica};
use storage::disk::Reserve;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transport::identity::JoinToken;
use transport::network::PeerId;

use crate::admin::shapes::{
    DifferenceShape, Failure, MemberShape, StatusShape, TokenAsk, TokenShape, TransferAsk,
    VerifyShape,
};
use crate::background::role_name;
use crate::{random, room};

const WITHIN: Duration = Duration::from_secs(10);

/// What administration looks at.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) cluster_id: String,
    pub(crate) me: NodeId,
    pub(crate) replica: Replica,
    pub(crate) members: watch::Receiver<Arc<Members>>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ca_certificate: Vec<u8>,
    pub(crate) address: String,
    pub(crate) draining: watch::Receiver<bool>,
}

/// Who is at the other end of the socket.
#[derive(Clone, Copy, Debug)]
struct Caller {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self {
            uid: stream.io().peer_cred().ok().map(|cred| cred.uid()),
        }
    }
}

async fn owner_only(
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let own = rustix::process::geteuid().as_raw();
    if caller.uid.is_some_and(|uid| uid == own || uid == 0) {
        return next.run(request).await;
    }
    failure(
        StatusCode::FORBIDDEN,
        "only the node's own user and root may administer it",
    )
}

fn failure(status: StatusCode, error: impl std::fmt::Display) -> Response {
    let shape = Failure {
        error: error.to_string(),
    };
    (status, Json(shape)).into_response()
}

fn unavailable(error: impl std::fmt::Display) -> Response {
    failure(StatusCode::SERVICE_UNAVAILABLE, error)
}

/// Serves the admin socket in `data` until told to stop.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) async fn serve(admin: Admin, data: &Path, stop: CancellationToken) -> Result<()> {
    let path = data.join("admin.sock");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("removing the admin socket of an earlier run");
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| {
        format!(
            "making {} (a socket's path has at most 107 bytes: choose a shorter data directory)",
            path.display()
        )
    })?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .context("keeping the admin socket to its owner")?;
    let router = Router::new()
        .route("/status", get(status))
        .route("/members", get(members))
        .route("/verify", get(verify))
        .route("/token", post(token))
        .route("/transfer", post(transfer))
        .layer(middleware::from_fn(owner_only))
        .with_state(admin);
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<Caller>(),
    )
    .with_graceful_shutdown(stop.cancelled_owned())
    .await
    .context("serving the admin socket")
}

async fn status(State(admin): State<Admin>) -> Json<StatusShape> {
    let status = admin.replica.status();
    let members = admin.members.borrow().clone();
    let is_alive = |node: &NodeId| {
        *node == admin.me
            || members
                .get(&PeerId(node.0))
                .is_some_and(|member| member.is_alive)
    };
    let voters_alive = status.voters.iter().filter(|node| is_alive(node)).count();
    let majority = status.voters.len() / 2 + 1;
    let failures_left =
        i64::try_from(voters_alive).unwrap_or(0) - i64::try_from(majority).unwrap_or(0);
    let room = room::look(&admin.reserve);
    let mut shape = StatusShape {
        cluster_id: admin.cluster_id.clone(),
        node: admin.me.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: role_name(status.role, *admin.draining.borrow()).to_owned(),
        leader: status.leader.map(|id| id.0),
        term: status.term,
        last_log_index: status.last_log_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        purged_index: status.purged_index,
        voters: status.voters.iter().map(|id| id.0).collect(),
        learners: status.learners.iter().map(|id| id.0).collect(),
        voters_alive,
        failures_left,
        disk_free_bytes: room.free_bytes,
        is_disk_low: room.is_low,
        stopped: status.stopped.clone(),
        warnings: Vec::new(),
    };
    shape.warnings = warnings(&shape, &members);
    Json(shape)
}

/// What an operator should know, most urgent first.
fn warnings(status: &StatusShape, members: &Members) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(why) = &status.stopped {
        warnings.push(format!("this replica has stopped: {why}"));
    }
    if status.leader.is_none() {
        warnings.push("no leader is known: writes wait".to_owned());
    }
    match status.failures_left {
        ..0 => warnings.push("no quorum of voters is alive: writes wait".to_owned()),
        0 => warnings.push("one more failed voter stops all writes: add a node".to_owned()),
        1.. => {}
    }
    if status.is_disk_low {
        warnings.push("little room on this node's disk: it refuses writes".to_owned());
    }
    for member in members.values().filter(|member| !member.is_alive) {
        warnings.push(format!("node {} is not alive", member.peer));
    }
    warnings
}

async fn members(State(admin): State<Admin>) -> Json<Vec<MemberShape>> {
    let members = admin.members.borrow().clone();
    let now = i64::try_from(admin.clock.now().0).unwrap_or(i64::MAX);
    let shapes = members
        .values()
        .map(|member| MemberShape {
            node: member.peer.0,
            is_alive: member.is_alive,
            role: member.told.role.clone(),
            cluster_address: member.address.to_string(),
            http_url: member.told.http_url.clone(),
            zone: member.told.zone.clone(),
            version: member.told.version.clone(),
            applied: member.told.applied,
            load: member.told.load,
            disk_free_bytes: member.told.disk_free_bytes,
            round_trip_ms: member.round_trip.map(|rtt| rtt.as_secs_f64() * 1_000.0),
            clock_offset_ms: i64::try_from(member.told.clock_ms).unwrap_or(i64::MAX) - now,
        })
        .collect();
    Json(shapes)
}

async fn verify(State(admin): State<Admin>) -> Result<Json<VerifyShape>, Response> {
    let reading = admin
        .replica
        .read(Consistency::Local, WITHIN)
        .await
        .map_err(unavailable)?;
    let index = reading.position.index;
    let report = tokio::task::spawn_blocking(move || model::verify::recount(&reading.view))
        .await
        .map_err(unavailable)?
        .map_err(unavailable)?;
    Ok(Json(VerifyShape {
        node: admin.me.0,
        index,
        users: report.users,
        videos: report.videos,
        comments: report.comments,
        follows: report.follows,
        favorites: report.favorites,
        messages: report.messages,
        difference_count: report.difference_count,
        differences: report
            .differences
            .into_iter()
            .map(|difference| DifferenceShape {
                what: difference.what,
                stored: difference.stored,
                recounted: difference.recounted,
            })
            .collect(),
    }))
}

async fn token(
    State(admin): State<Admin>,
    Json(ask): Json<TokenAsk>,
) -> Result<Json<TokenShape>, Response> {
    if ask.uses == 0 || ask.ttl_hours == 0 {
        return Err(failure(
            StatusCode::BAD_REQUEST,
            "a token needs at least one use and one hour",
        ));
    }
    let token = JoinToken::generate(&admin.ca_certificate);
    let now = admin.clock.now();
    let proposal = Proposal {
        request: RequestId(random::bytes()),
        issued: now,
        actor: None,
        operation: Operation::CreateJoinToken(CreateJoinToken {
            token: TokenHash(token.hash()),
            expires: Timestamp(now.0 + u64::from(ask.ttl_hours) * 3_600_000),
            uses: ask.uses,
        }),
    };
    let written = admin
        .replica
        .write(proposal, WITHIN)
        .await
        .map_err(unavailable)?;
    match written.reply {
        Reply::Rejected(rejection) => Err(failure(StatusCode::CONFLICT, rejection)),
        _ => Ok(Json(TokenShape {
            token: token.to_string(),
            join: admin.address.clone(),
        })),
    }
}

async fn transfer(
    State(admin): State<Admin>,
    Json(ask): Json<TransferAsk>,
) -> Result<Json<Option<u64>>, Response> {
    admin
        .replica
        .transfer_leader(Some(NodeId(ask.to)))
        .await
        .map_err(unavailable)?;
    Ok(Json(admin.replica.status().leader.map(|id| id.0)))
}
