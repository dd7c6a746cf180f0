//! Puts together what the HTTP API needs from this node.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::Load;
use api::seam::{QuietThreads, SystemRandom, ThreadPool};
use api::sweeper::Sweeper;
use axum::Router;
use gossip::members::Members;
use media::child::Studio;
use metrics_exporter_prometheus::PrometheusHandle;
use model::id::NodeId;
use raft::clock::Clock;
use raft::replica::Replica;
use storage::blob::{Blobs, Bucket, Config as BucketConfig};
use storage::disk::Reserve;
use tokio::sync::watch;

use crate::config::{Config, environment_secret};
use crate::room;

/// What the API is given.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) config: Config,
    pub(crate) data: PathBuf,
    pub(crate) replica: Replica,
    pub(crate) members: watch::Receiver<Arc<Members>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) metrics: PrometheusHandle,
}

/// The API, ready to be served.
pub(crate) struct Front {
    pub(crate) router: Router,
    pub(crate) load: Load,
    pub(crate) sweeper: Arc<Sweeper>,
}

/// Connects the API with this node's parts.
///
/// # Errors
/// When a setting makes no sense, or credentials are missing.
pub(crate) fn front(parts: Parts) -> Result<Front> {
    let blobs: Arc<dyn Blobs> = Arc::new(bucket(&parts.config)?);
    let random = Arc::new(SystemRandom);
    let load = Load::default();
    let sweeper = Arc::new(Sweeper {
        replica: parts.replica.clone(),
        blobs: blobs.clone(),
        clock: parts.clock.clone(),
        random: random.clone(),
        age_min: Duration::from_secs(parts.config.api.upload.orphan_age_s),
    });
    let spool_reserve = Arc::new(Reserve::new(
        &parts.data,
        parts.config.storage.spool_reserve_bytes,
    ));
    let own = std::env::current_exe().context("finding this program's own path")?;
    let router = api::router(
        parts.config.api.clone(),
        api::Parts {
            node: parts.node,
            replica: parts.replica,
            blobs,
            members: parts.members,
            clock: parts.clock,
            random,
            blocking: Arc::new(ThreadPool),
            hashing: Arc::new(QuietThreads),
            studio: studio(own, &parts.config),
            spool: parts.data.join("spool"),
            room: Arc::new(move || !room::look(&spool_reserve).is_low),
            metrics: parts.metrics,
            draining: parts.draining,
            load: load.clone(),
        },
    )?;
    Ok(Front {
        router,
        load,
        sweeper,
    })
}

/// Uploads are looked at by this same program in a confined process.
fn studio(own: PathBuf, config: &Config) -> Studio {
    Studio {
        ffmpeg: config.media.ffmpeg.clone(),
        ..Studio::new(own, ["internal", "cover"])
    }
}

fn bucket(config: &Config) -> Result<Bucket> {
    let key = |name: &str, file: Option<&PathBuf>| -> Result<String> {
        environment_secret(name, file.map(PathBuf::as_path))?.with_context(|| {
            format!("no S3 key: set {name} or {name}_FILE, or name a file in [s3]")
        })
    };
    let s3 = &config.s3;
    let endpoint = s3.endpoint.clone().unwrap_or_default();
    let is_plain = endpoint.starts_with("http://");
    if is_plain && !is_loopback(&endpoint) {
        tracing::warn!(
            endpoint,
            "videos travel unencrypted to this blob store: use https"
        );
    }
    let bucket = Bucket::new(BucketConfig {
        is_path_style: s3.path_style,
        allow_http: is_plain,
        ..BucketConfig::new(
            endpoint,
            &s3.region,
            &s3.bucket,
            key("YIN_S3_ACCESS_KEY", s3.access_key_file.as_ref())?,
            key("YIN_S3_SECRET_KEY", s3.secret_key_file.as_ref())?,
        )
    });
    bucket.context("the blob store")
}

fn is_loopback(endpoint: &str) -> bool {
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|host| endpoint["http://".len()..].starts_with(host))
}
