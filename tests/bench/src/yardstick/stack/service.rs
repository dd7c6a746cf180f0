//! The service: HTTP in front, kept connections behind.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Pool, PoolConstraints, PoolOpts};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::like::Like;
use super::{options, schema};
use crate::yardstick::web::{Hello, listen_without_delay};

/// As many transactions as the usual number of clients has in flight share a sync of the log.
const CONNECTIONS: usize = 64;

/// What all requests share.
pub(super) struct Service {
    pub(super) mariadb: Pool,
    pub(super) redis: MultiplexedConnection,
    /// Of each video: that never changes, so that it is asked once.
    pub(super) authors: HashMap<i64, i64>,
    /// One reads anew what the cache has forgotten, the others wait for it.
    pub(super) refreshing: Mutex<()>,
}

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr, mariadb: &Path, redis: &Path) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(async {
        let service = Arc::new(Service::connect(mariadb, redis).await?);
        let router = Router::new()
            .route("/like", post(like))
            .route("/like-procedure", post(like_by_procedure))
            .route("/feed", get(feed))
            .route("/cached-feed", get(cached_feed))
            .with_state(service);
        let listener = listen_without_delay(listen).await?;
        axum::serve(listener, router).await.context("serving")
    })
}

/// All requests of a service share one connection, on which they do not wait for each other.
pub(super) async fn cache(socket: &Path) -> Result<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis+unix://{}", socket.display()))?;
    // Who asks waits as long as it likes; on a busy machine half a second is soon over.
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient);
    connection.await.context("connecting to Redis")
}

impl Service {
    pub(super) async fn connect(mariadb: &Path, redis: &Path) -> Result<Self> {
        let constraints = PoolConstraints::new(CONNECTIONS, CONNECTIONS);
        // A connection has no state of its own here that a reset would have to clear.
        let kept = PoolOpts::default()
            .with_constraints(constraints.context("a number of connections")?)
            .with_reset_connection(false);
        let options = options(mariadb).db_name(Some(schema::DATABASE));
        let mariadb = Pool::new(options.pool_opts(kept));
        let mut connection = mariadb.get_conn().await?;
        let authors: Vec<(i64, i64)> = connection.query("SELECT id, author_id FROM video").await?;
        Ok(Self {
            mariadb,
            redis: cache(redis).await?,
            authors: authors.into_iter().collect(),
            refreshing: Mutex::default(),
        })
    }
}

#[derive(Deserialize)]
struct Action {
    user: i64,
    video: i64,
    /// The contract's: 1 likes, 2 takes back.
    action: u8,
}

impl Action {
    fn like(&self) -> Like {
        Like {
            user: self.user,
            video: self.video,
            step: if self.action == 1 { 1 } else { -1 },
        }
    }
}

#[derive(Deserialize)]
struct Viewer {
    user: i64,
}

async fn like(State(service): State<Arc<Service>>, Query(action): Query<Action>) -> Response {
    acknowledge(service.like(action.like()).await)
}

async fn like_by_procedure(
    State(service): State<Arc<Service>>,
    Query(action): Query<Action>,
) -> Response {
    acknowledge(service.like_by_procedure(action.like()).await)
}

async fn feed(State(service): State<Arc<Service>>, Query(viewer): Query<Viewer>) -> Response {
    service.feed(viewer.user).await.unwrap_or_else(failed)
}

async fn cached_feed(
    State(service): State<Arc<Service>>,
    Query(viewer): Query<Viewer>,
) -> Response {
    service
        .cached_feed(viewer.user)
        .await
        .unwrap_or_else(failed)
}

/// A like that changed nothing is a mistake of the one who measures: it must not count as done.
fn acknowledge(changed: Result<bool>) -> Response {
    match changed {
        Ok(true) => Json(Hello::SUCCESS).into_response(),
        Ok(false) => (StatusCode::CONFLICT, "nothing changed").into_response(),
        Err(error) => failed(error),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that `unwrap_or_else` takes"
)]
fn failed(error: anyhow::Error) -> Response {
    eprintln!("{error:#}");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
}
