//! The command line: names, flags and their help.
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A short-video social backend in one binary.
#[derive(Debug, Parser)]
#[command(name = "yin", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a new cluster: its CA, the first node's identity, and a join token.
    Init(Init),
    /// Runs a node: the one made by `init`, one that joined before, or a new one with `--join`.
    Serve(Box<Serve>),
    /// Makes a join token for further nodes (asks the running node).
    Token(Token),
    /// Shows how this node and the cluster stand.
    Status(Ask),
    /// Lists the members as this node sees them.
    Members(Ask),
    /// Recounts every counter and index on this node and prints the differences; exit 1 if any.
    Verify(Ask),
    /// Hands leadership to another voter.
    Transfer(Transfer),
    /// Puts load on any cluster over its public API and tells rates and latencies. It writes.
    Bench(Bench),
    /// Helpers for development.
    #[command(subcommand)]
    Dev(Dev),
    /// Used by yin itself.
    #[command(subcommand, hide = true)]
    Internal(Internal),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The new node's data directory; it must be empty or missing.
    #[arg(long, env = "YIN_DATA")]
    pub(crate) data: PathBuf,
    /// Zone label of this node, e.g. a data centre.
    #[arg(long, default_value = "")]
    pub(crate) zone: String,
    /// How many nodes the printed join token admits.
    #[arg(long, default_value_t = 16)]
    pub(crate) uses: u32,
    /// How long the printed join token is valid, counted from the first start.
    #[arg(long, default_value_t = 24)]
    pub(crate) ttl_hours: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file (TOML). Flags and environment win over it.
    #[arg(long, env = "YIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory.
    #[arg(long, env = "YIN_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to serve clients over HTTP.
    #[arg(long, env = "YIN_HTTP_LISTEN")]
    pub(crate) http_listen: Option<SocketAddr>,
    /// Where to serve other nodes over QUIC (UDP).
    #[arg(long, env = "YIN_CLUSTER_LISTEN")]
    pub(crate) cluster_listen: Option<SocketAddr>,
    /// Where other nodes reach this one, if that is not where it listens.
    #[arg(long, env = "YIN_CLUSTER_ADVERTISE")]
    pub(crate) cluster_advertise: Option<SocketAddr>,
    /// Zone label of this node.
    #[arg(long, env = "YIN_ZONE")]
    pub(crate) zone: Option<String>,
    /// Base of the URLs given to clients; default: what the client itself used.
    #[arg(long, env = "YIN_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
    /// A node of the cluster to join, `host:port`; may be given several times.
    #[arg(long, value_delimiter = ',', env = "YIN_JOIN")]
    pub(crate) join: Vec<String>,
    /// The join token that `yin init` or `yin token` printed.
    #[arg(long, env = "YIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// A file that holds the join token.
    #[arg(long, env = "YIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// S3 endpoint, e.g. `http://127.0.0.1:9000`; empty for AWS itself.
    #[arg(long, env = "YIN_S3_ENDPOINT")]
    pub(crate) s3_endpoint: Option<String>,
    #[arg(long, env = "YIN_S3_BUCKET")]
    pub(crate) s3_bucket: Option<String>,
    #[arg(long, env = "YIN_S3_REGION")]
    pub(crate) s3_region: Option<String>,
    /// Address the bucket in the path, not in the host name.
    #[arg(long, env = "YIN_S3_PATH_STYLE", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) s3_path_style: Option<bool>,
    /// Refuse writes when the data disk has less room than this.
    #[arg(long, env = "YIN_DISK_RESERVE_BYTES")]
    pub(crate) disk_reserve_bytes: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// How many nodes may join with it.
    #[arg(long, default_value_t = 1)]
    pub(crate) uses: u32,
    /// How long it is valid.
    #[arg(long, default_value_t = 24)]
    pub(crate) ttl_hours: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// The voter that is to lead.
    #[arg(long)]
    pub(crate) to: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Data directory of the running node; its `admin.sock` is asked.
    #[arg(long, env = "YIN_DATA")]
    pub(crate) data: PathBuf,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// A node, `http://host:port`; may be given several times: connections are spread over them.
    #[arg(long, required = true, value_delimiter = ',')]
    pub(crate) node: Vec<String>,
    /// What is done: like, like-hot, follow, comment, chat, register, login, feed, feed-viewer,
    /// feed-roaming, read, read-roaming, read-local, read-linearizable, publish, media.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "feed,read,like,comment,chat"
    )]
    pub(crate) scenario: Vec<String>,
    /// Each scenario is run once with each of these.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    pub(crate) connections: Vec<usize>,
    /// Length of one measurement, after a fifth of it as warm-up.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Operations that arrive a second, whatever the nodes do (open loop: latency counts from the
    /// moment of arrival). Without it, each connection starts the next one when the last one ended.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Users that are registered first.
    #[arg(long, default_value_t = 100)]
    pub(crate) users: usize,
    /// Videos that are published first.
    #[arg(long, default_value_t = 30)]
    pub(crate) videos: usize,
    /// Threads of the clients.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dev {
    /// An S3 server for a demo or a single machine. Keys come from YIN_S3_ACCESS_KEY and
    /// YIN_S3_SECRET_KEY.
    S3(DevS3),
}

#[derive(Debug, Args)]
pub(crate) struct DevS3 {
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// Where the buckets are kept.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Buckets to make at start.
    #[arg(long, default_value = "yin", value_delimiter = ',')]
    pub(crate) bucket: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// Looks into an uploaded clip and draws its cover, in a confined process.
    Cover {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}
