//! What a node is told at start: file, then environment, then flags.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cli::Serve;

/// The whole configuration of a node. Every field has a default but `data`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Data directory: identity, log, state, snapshots, upload spool, admin socket.
    pub(crate) data: PathBuf,
    pub(crate) http: Http,
    pub(crate) cluster: Cluster,
    pub(crate) s3: S3,
    pub(crate) raft: Raft,
    pub(crate) storage: Storage,
    pub(crate) media: Media,
    /// Limits of the HTTP API; see `api::Options`.
    pub(crate) api: api::Options,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Where clients are served. Port 0 takes any.
    pub(crate) listen: SocketAddr,
    /// What other nodes and `yin members` show as this node's URL; default `http://` + `listen`.
    pub(crate) advertise_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cluster {
    /// UDP address of the cluster endpoint (Raft, forwarding and gossip over QUIC).
    pub(crate) listen: SocketAddr,
    /// Where other nodes reach it; needed when `listen` is a wildcard.
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) zone: String,
    /// Nodes to join through, `host:port`, for a node that is new.
    pub(crate) join: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) gossip_interval_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3 {
    pub(crate) endpoint: Option<String>,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) path_style: bool,
    pub(crate) access_key_file: Option<PathBuf>,
    pub(crate) secret_key_file: Option<PathBuf>,
}

/// Timing of consensus, and how much of its log stays. A failover takes about `election_max_ms`
/// plus a random time between `election_min_ms` and `election_max_ms`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raft {
    pub(crate) heartbeat_ms: u64,
    pub(crate) election_min_ms: u64,
    pub(crate) election_max_ms: u64,
    /// A snapshot is due after this many applied entries.
    pub(crate) snapshot_entries: u64,
    /// Entries kept behind a snapshot, so that followers that were away catch up from the log.
    pub(crate) keep_entries: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Storage {
    /// Below this much free space the node hands leadership over and refuses writes.
    pub(crate) disk_reserve_bytes: u64,
    /// Below this much free space uploads are refused, which pass through this disk.
    pub(crate) spool_reserve_bytes: u64,
    /// Size of one preallocated log segment.
    pub(crate) log_segment_bytes: u64,
    /// RocksDB's block cache.
    pub(crate) block_cache_bytes: u64,
    /// The cache of single values in front of RocksDB; 0: none.
    pub(crate) value_cache_bytes: u64,
}

/// What looks at uploaded videos beside the built-in decoder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Media {
    /// Absolute path of ffmpeg, for covers of videos that are not H.264; none: a generated poster.
    pub(crate) ffmpeg: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            advertise_url: None,
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7001)),
            advertise: None,
            zone: String::new(),
            join: Vec::new(),
            token: None,
            token_file: None,
            gossip_interval_ms: 500,
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            endpoint: None,
            bucket: "yin".into(),
            region: "us-east-1".into(),
            path_style: false,
            access_key_file: None,
            secret_key_file: None,
        }
    }
}

impl Default for Raft {
    fn default() -> Self {
        let limits = raft::options::Limits::default();
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_entries: limits.snapshot_entries,
            keep_entries: limits.keep_entries,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            disk_reserve_bytes: 512 << 20,
            spool_reserve_bytes: 1 << 30,
            log_segment_bytes: 64 << 20,
            block_cache_bytes: 64 << 20,
            value_cache_bytes: 64 << 20,
        }
    }
}

impl Config {
    /// Reads the file, if one is named, and lays flags and environment over it.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown field, or a value makes no sense.
    pub(crate) fn load(flags: &Serve) -> Result<Self> {
        let mut config = match &flags.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        config.overlay(flags);
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("understanding {}", path.display()))
    }

    fn overlay(&mut self, flags: &Serve) {
        fn lay<T: Clone>(over: &mut T, flag: Option<&T>) {
            if let Some(value) = flag {
                *over = value.clone();
            }
        }
        lay(&mut self.data, flags.data.as_ref());
        lay(&mut self.http.listen, flags.http_listen.as_ref());
        lay(&mut self.cluster.listen, flags.cluster_listen.as_ref());
        lay(&mut self.cluster.zone, flags.zone.as_ref());
        lay(&mut self.s3.bucket, flags.s3_bucket.as_ref());
        lay(&mut self.s3.region, flags.s3_region.as_ref());
        lay(&mut self.s3.path_style, flags.s3_path_style.as_ref());
        lay(
            &mut self.storage.disk_reserve_bytes,
            flags.disk_reserve_bytes.as_ref(),
        );
        let some = |over: &mut Option<String>, flag: &Option<String>| {
            if flag.is_some() {
                over.clone_from(flag);
            }
        };
        some(&mut self.api.public_url, &flags.public_url);
        some(&mut self.s3.endpoint, &flags.s3_endpoint);
        some(&mut self.cluster.token, &flags.token);
        if flags.token_file.is_some() {
            self.cluster.token_file.clone_from(&flags.token_file);
        }
        if flags.cluster_advertise.is_some() {
            self.cluster.advertise = flags.cluster_advertise;
        }
        if !flags.join.is_empty() {
            self.cluster.join.clone_from(&flags.join);
        }
    }

    fn check(&self) -> Result<()> {
        if self.data.as_os_str().is_empty() {
            bail!("no data directory: give --data DIR, or `data = \"…\"` in the configuration");
        }
        let raft = &self.raft;
        if raft.heartbeat_ms == 0
            || raft.election_min_ms < 2 * raft.heartbeat_ms
            || raft.election_max_ms <= raft.election_min_ms
        {
            bail!(
                "raft timing makes no sense: need heartbeat_ms > 0, election_min_ms >= 2 x \
                 heartbeat_ms, election_max_ms > election_min_ms"
            );
        }
        if raft.snapshot_entries == 0 {
            bail!("raft.snapshot_entries makes no sense: need at least 1");
        }
        if self.cluster.listen.ip().is_unspecified() && self.cluster.advertise.is_none() {
            bail!(
                "the cluster listens on {}, which other nodes can't dial: give --cluster-advertise",
                self.cluster.listen
            );
        }
        Ok(())
    }

    /// The join token, from its field or file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn join_token(&self) -> Result<Option<String>> {
        secret(
            self.cluster.token.clone(),
            self.cluster.token_file.as_deref(),
        )
    }
}

/// A secret given as a value or as a file that holds it.
pub(crate) fn secret(value: Option<String>, file: Option<&Path>) -> Result<Option<String>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.trim().to_owned())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading the secret in {}", path.display()))?;
            Ok(Some(text.trim().to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// A secret from the environment: `NAME`, or the file that `NAME_FILE` names.
pub(crate) fn environment_secret(name: &str, file: Option<&Path>) -> Result<Option<String>> {
    let from_environment = std::env::var_os(format!("{name}_FILE")).map(PathBuf::from);
    secret(
        std::env::var(name).ok(),
        from_environment.as_deref().or(file),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = format!("{:#}", parse("data = \"x\"\nhttpp = 1").unwrap_err());
        assert!(error.contains("httpp"), "{error}");
    }

    #[test]
    fn timing_that_cannot_elect_is_refused() {
        assert!(parse("data = \"x\"\n[raft]\nheartbeat_ms = 500").is_err());
        assert!(parse("data = \"x\"\n[raft]\nheartbeat_ms = 50").is_ok());
    }

    #[test]
    fn a_snapshot_after_nothing_is_refused() {
        assert!(parse("data = \"x\"\n[raft]\nsnapshot_entries = 0").is_err());
        let config = parse("data = \"x\"\n[raft]\nsnapshot_entries = 300").unwrap();
        assert_eq!(config.raft.snapshot_entries, 300);
    }

    #[test]
    fn a_wildcard_needs_an_advertised_address() {
        let text = "data = \"x\"\n[cluster]\nlisten = \"0.0.0.0:7001\"";
        assert!(parse(text).unwrap_err().to_string().contains("advertise"));
    }

    #[test]
    fn no_data_directory_is_refused() {
        assert!(parse("").unwrap_err().to_string().contains("--data"));
    }
}
