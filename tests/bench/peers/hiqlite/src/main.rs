//! hiqlite (SQLite behind openraft) as a peer of the bench: one node with a small HTTP face.
//!
//! It syncs its log before it acknowledges (`LogSync::Immediate`); its default syncs every 200 ms
//! and would be another promise than the one it is compared with.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use clap::Parser;
use hiqlite::{Client, LogSync, Node, NodeConfig, Param};
use tokio::net::TcpListener;

/// With the key and SQLite's own bytes a row is about the record that the bench's other yardsticks
/// write (200 B).
const VALUE_BYTES: usize = 160;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, value BLOB NOT NULL)";
const INSERT: &str = "INSERT INTO row (id, value) VALUES ($1, $2)";
/// Nobody else reaches the loopback ports of a bench.
const SECRET: &str = "no-secret-on-loopback";
/// Ids of different nodes never meet: so many are left to each.
const IDS: i64 = 1 << 56;

#[derive(Parser)]
#[command(
    name = "hiqlite-peer",
    about = "A node of hiqlite that inserts a row for each POST /put"
)]
struct Cli {
    /// Which of the nodes this is, counted from 1.
    #[arg(long)]
    id: u64,
    /// Where to serve HTTP.
    #[arg(long)]
    listen: SocketAddr,
    /// Where this node keeps its data; an empty folder.
    #[arg(long)]
    data: PathBuf,
    /// All nodes in order, this one too: `RAFT,API`, two addresses.
    #[arg(long, required = true)]
    node: Vec<String>,
}

struct Peer {
    client: Client,
    /// The next id of a row.
    next: AtomicI64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(serve(&cli))
}

/// Starts the node and serves until it is killed.
///
/// # Errors
/// When the node does not start, or the address is taken.
async fn serve(cli: &Cli) -> Result<()> {
    std::fs::create_dir_all(&cli.data).with_context(|| format!("making {}", cli.data.display()))?;
    let config = NodeConfig {
        node_id: cli.id,
        nodes: nodes(&cli.node)?,
        listen_addr_api: "127.0.0.1".into(),
        listen_addr_raft: "127.0.0.1".into(),
        data_dir: cli.data.to_string_lossy().into_owned().into(),
        wal_sync: LogSync::Immediate,
        secret_raft: SECRET.to_owned(),
        secret_api: SECRET.to_owned(),
        ..NodeConfig::default()
    };
    let client = hiqlite::start_node(config)
        .await
        .context("starting hiqlite")?;
    client.wait_until_healthy_db().await;
    let made = client.execute(TABLE, Vec::new()).await;
    made.context("making the table")?;
    let peer = Arc::new(Peer {
        client,
        next: AtomicI64::new(i64::try_from(cli.id)? * IDS),
    });
    let router = Router::new()
        .route("/health", get(async || StatusCode::OK))
        .route("/put", post(put))
        .with_state(peer);
    let listener = TcpListener::bind(cli.listen).await.context("listening")?;
    // As the other yardsticks: an answer is not held back for more to send.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    });
    axum::serve(listener, router).await.context("serving")
}

/// 200 when the row is in the logs of a quorum, synced, and applied at the leader.
async fn put(State(peer): State<Arc<Peer>>) -> StatusCode {
    let id = peer.next.fetch_add(1, Ordering::Relaxed);
    let row = vec![Param::from(id), Param::from(vec![3_u8; VALUE_BYTES])];
    match peer.client.execute(INSERT, row).await {
        Ok(1) => StatusCode::OK,
        Ok(count) => {
            eprintln!("{count} rows were inserted");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Err(error) => {
            eprintln!("an insert failed: {error}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn nodes(places: &[String]) -> Result<Vec<Node>> {
    let nodes = places.iter().enumerate().map(|(number, place)| {
        let Some((raft, api)) = place.split_once(',') else {
            bail!("{place}: RAFT,API is wanted");
        };
        Ok(Node {
            id: number as u64 + 1,
            addr_raft: raft.to_owned(),
            addr_api: api.to_owned(),
        })
    });
    nodes.collect()
}
