//! Nodes on a wire in memory, each with its HTTP server on loopback; one bucket for all.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::seam::{SystemRandom, ThreadPool};
use gossip::members::Members;
use media::child::Studio;
use metrics_exporter_prometheus::PrometheusBuilder;
use model::cluster::{Found, Identity, NodeInfo};
use model::command::{Operation, RequestId};
use model::id::NodeId;
use raft::clock::{Clock, SystemClock};
use raft::position::Position;
use raft::replica::{Proposal, Replica, Role, Written};
use storage::blob::MemoryBlobs;
use storage::log::memory::{MemoryLog, Syncing};
use storage::state::memory::MemoryState;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use transport::memory::{Hub, MemoryNetwork, address_of};
use transport::network::{Network, PeerId};

use super::client::Client;

pub(crate) const EPOCH: u32 = 3;
pub(crate) const POSITION_KEY: [u8; 32] = [7; 32];
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// Settings for tests: hashes that cost nothing, and short patience where a test waits for its end.
pub(crate) fn options() -> api::Options {
    api::Options {
        password: api::Password {
            memory_kib: 8,
            passes: 1,
            ..api::Password::default()
        },
        read_timeout_ms: 2_000,
        write_timeout_ms: 3_000,
        upload: api::Upload {
            stall_ms: 1_000,
            ..api::Upload::default()
        },
        ..api::Options::default()
    }
}

/// Nodes that form one cluster.
pub(crate) struct Cluster {
    pub(crate) hub: Hub,
    pub(crate) blobs: MemoryBlobs,
    pub(crate) nodes: Vec<Node>,
}

/// One node with its HTTP server.
pub(crate) struct Node {
    pub(crate) replica: Replica,
    pub(crate) network: Arc<MemoryNetwork>,
    pub(crate) log: MemoryLog,
    pub(crate) address: SocketAddr,
    pub(crate) spool: tempfile::TempDir,
    pub(crate) load: api::Load,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) has_room: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Cluster {
    /// One node with the settings of tests.
    pub(crate) async fn one() -> Self {
        Self::with(1, options()).await
    }

    /// `count` voters.
    pub(crate) async fn with(count: u64, options: api::Options) -> Self {
        let hub = Hub::new();
        let blobs = MemoryBlobs::new(1 << 30);
        let mut nodes = Vec::new();
        for id in 1..=count {
            nodes.push(Node::start(id, &hub, &blobs, options.clone()).await);
        }
        let cluster = Self { hub, blobs, nodes };
        let first = &cluster.nodes[0].replica;
        first.bootstrap(address_of(PeerId(1))).await.unwrap();
        cluster.propose(found()).await;
        for id in 2..=count {
            first
                .add_learner(NodeId(id), address_of(PeerId(id)))
                .await
                .unwrap();
        }
        if count > 1 {
            first
                .set_voters((1..=count).map(NodeId).collect())
                .await
                .unwrap();
        }
        for node in &cluster.nodes {
            let mut status = node.replica.watch();
            let is_voter = |role| matches!(role, Role::Leader | Role::Voter);
            let voting = status.wait_for(|status| is_voter(status.role));
            tokio::time::timeout(WITHIN, voting).await.unwrap().unwrap();
        }
        cluster
    }

    pub(crate) fn first(&self) -> &Node {
        &self.nodes[0]
    }

    /// A client of the first node.
    pub(crate) fn client(&self) -> Client {
        self.nodes[0].client()
    }

    /// Lets nothing through between two nodes.
    pub(crate) fn cut(&self, one: u64, other: u64) {
        self.hub.cut(PeerId(one), PeerId(other));
    }

    /// Something that no client can ask for.
    pub(crate) async fn propose(&self, operation: Operation) -> Written {
        let mut request = [0; 16];
        api::seam::Random::fill(&SystemRandom, &mut request);
        let proposal = Proposal {
            request: RequestId(request),
            issued: SystemClock.now(),
            actor: None,
            operation,
        };
        self.nodes[0].replica.write(proposal, WITHIN).await.unwrap()
    }
}

impl Node {
    async fn start(id: u64, hub: &Hub, blobs: &MemoryBlobs, options: api::Options) -> Self {
        let network = hub.join(PeerId(id));
        let log = MemoryLog::new(Syncing::AtOnce);
        let parts = raft::options::Parts {
            network: network.clone(),
            log: Arc::new(log.clone()),
            state: Arc::new(MemoryState::new()),
            clock: Arc::new(SystemClock),
            room: None,
        };
        let (replica, handlers) = Replica::start(raft::options::Options::new(NodeId(id)), parts)
            .await
            .unwrap();
        network.serve(handlers);
        let spool = tempfile::tempdir().unwrap();
        let (draining, is_draining) = watch::channel(false);
        let has_room = Arc::new(AtomicBool::new(true));
        let room = Arc::clone(&has_room);
        let load = api::Load::default();
        let (_, members) = watch::channel(Arc::new(Members::default()));
        let router = api::router(
            options,
            api::Parts {
                node: NodeId(id),
                replica: replica.clone(),
                blobs: Arc::new(blobs.clone()),
                members,
                clock: Arc::new(SystemClock),
                random: Arc::new(SystemRandom),
                blocking: Arc::new(ThreadPool),
                hashing: Arc::new(ThreadPool),
                studio: Studio::new(env!("CARGO_BIN_EXE_api-cover-child"), None::<&str>),
                spool: spool.path().to_owned(),
                room: Arc::new(move || room.load(Ordering::Relaxed)),
                metrics: PrometheusBuilder::new().build_recorder().handle(),
                draining: is_draining,
                load: load.clone(),
            },
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // A node that is dropped without a word stops as well.
            let _ = stopped.await;
        };
        let server = tokio::spawn(api::serve(
            listener,
            router,
            stopped,
            Duration::from_secs(10),
        ));
        Self {
            replica,
            network,
            log,
            address,
            spool,
            load,
            draining,
            has_room,
            stop: Some(stop),
            server,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url(""))
    }

    /// Begins a graceful stop; the returned handle ends with it.
    pub(crate) fn stop(&mut self) -> &mut JoinHandle<std::io::Result<()>> {
        drop(self.stop.take());
        &mut self.server
    }

    /// Uploads that lie on this node's disk.
    pub(crate) fn spooled(&self) -> usize {
        std::fs::read_dir(self.spool.path()).unwrap().count()
    }

    /// A position as this cluster makes them.
    pub(crate) fn position(&self, epoch: u32, index: u64) -> String {
        Position { epoch, index }.encode(&POSITION_KEY)
    }
}

fn found() -> Operation {
    Operation::Found(Found {
        identity: Identity {
            cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
            epoch: EPOCH,
            position_key: POSITION_KEY,
            ca_certificate: vec![1],
            sealed_ca_key: vec![2],
        },
        node: NodeInfo {
            incarnation: [1; 16],
            zone: String::new(),
        },
    })
}
