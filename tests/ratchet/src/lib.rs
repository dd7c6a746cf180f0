//! One node in this process, as it answers reads: what a request costs without the network.
//!
//! The engine is the real one, logs and metrics are on as in a node, and requests go through the
//! whole router; sockets, HTTP's own framing and the client are left out. The binary `reads` prints
//! figures, the test counts allocations.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::seam::{Random as _, SystemRandom, ThreadPool};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gossip::members::Members;
use http_body_util::BodyExt as _;
use media::child::Studio;
use metrics_exporter_prometheus::PrometheusBuilder;
use model::cluster::{Found, Identity, NodeInfo};
use model::command::{Operation, Reply, RequestId};
use model::id::{NodeId, UserId, VideoId};
use model::token::TokenHash;
use model::video::{BlobRef, Publish};
use raft::clock::{Clock as _, SystemClock};
use raft::replica::{Proposal, Replica};
use sha2::{Digest as _, Sha256};
use storage::blob::MemoryBlobs;
use storage::log::memory::{MemoryLog, Syncing};
use storage::owner::Owner;
use storage::state::RocksState;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;
use transport::memory::{Hub, address_of};
use transport::network::{Network as _, PeerId};

const WITHIN: Duration = Duration::from_secs(60);
const EPOCH: u32 = 1;
const POSITION_KEY: [u8; 32] = [7; 32];

/// How much there is to read.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub users: usize,
    pub videos: usize,
    /// How many of the videos each user likes, and how many others each user follows.
    pub edges: usize,
}

/// A request whose cost is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One's own profile, with token and position.
    User,
    /// The newest videos, for nobody.
    Feed,
    /// The newest videos, with token and position.
    FeedWithViewer,
    /// An older page of the feed, for nobody.
    OlderFeed,
    /// What a user published, with token and position.
    Published,
    /// Who follows a user, with token and position.
    Followers,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::User,
        Self::Feed,
        Self::FeedWithViewer,
        Self::OlderFeed,
        Self::Published,
        Self::Followers,
    ];

    /// For people, and for the ratchet's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Feed => "feed",
            Self::FeedWithViewer => "feed_with_viewer",
            Self::OlderFeed => "older_feed",
            Self::Published => "published",
            Self::Followers => "followers",
        }
    }
}

/// A node with data in it.
pub struct Served {
    pub replica: Replica,
    pub users: Vec<(UserId, TokenHash)>,
    runtime: Runtime,
    router: Router,
    tokens: Vec<String>,
    videos: Vec<VideoId>,
    /// The publish time in the middle of the feed.
    middle: u64,
    position: String,
    // Removed when all else is gone.
    _dir: tempfile::TempDir,
}

impl Served {
    /// Starts a node and fills it.
    ///
    /// # Panics
    /// When it cannot: there is no test without it.
    pub fn start(scale: Scale, value_cache_bytes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let (replica, router) = runtime.block_on(start(dir.path(), value_cache_bytes));
        let mut served = Self {
            replica,
            router,
            users: Vec::new(),
            tokens: Vec::new(),
            videos: Vec::new(),
            middle: 0,
            position: String::new(),
            runtime,
            _dir: dir,
        };
        served.fill(scale);
        served
    }

    /// Asks once, the `round`-th time; gives the number of bytes of the answer's body. Never part of
    /// its caller, so that a profiler can be told to look at this only.
    ///
    /// # Panics
    /// When the answer is no success.
    #[inline(never)]
    pub fn ask(&self, kind: Kind, round: usize) -> usize {
        let request = self.request(kind, round);
        let answered = self.runtime.block_on(answer(&self.router, request));
        assert!(answered.starts_with(b"{\"status_code\":0,"), "{answered:?}");
        answered.len()
    }

    /// A like that this user gives.
    pub fn like(&self, user: usize, video: usize) -> (TokenHash, Operation) {
        let like = model::favorite::Like {
            video: self.videos[video % self.videos.len()],
        };
        (self.users[user].1, Operation::Like(like))
    }

    fn request(&self, kind: Kind, round: usize) -> Request<Body> {
        let who = round % self.users.len();
        let id = self.users[who].0;
        let token = &self.tokens[who];
        let middle = self.middle;
        let path = match kind {
            Kind::User => format!("/douyin/user/?user_id={id}&token={token}"),
            Kind::Feed => "/douyin/feed/".to_owned(),
            Kind::FeedWithViewer => format!("/douyin/feed/?token={token}"),
            Kind::OlderFeed => format!("/douyin/feed/?latest_time={middle}"),
            Kind::Published => format!("/douyin/publish/list/?user_id={id}&token={token}"),
            Kind::Followers => {
                format!("/douyin/relation/follower/list/?user_id={id}&token={token}")
            }
        };
        let mut request = Request::get(path).header("Host", "127.0.0.1:8080");
        if !matches!(kind, Kind::Feed | Kind::OlderFeed) {
            request = request.header("X-Yin-Session", &self.position);
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
        request
            .extension(ConnectInfo(peer))
            .body(Body::empty())
            .expect("a request of our own")
    }

    fn fill(&mut self, scale: Scale) {
        self.write(None, found());
        for number in 0..scale.users {
            let secret: [u8; 32] = Sha256::digest(format!("user {number}")).into();
            let token = TokenHash(Sha256::digest(secret).into());
            let register = model::user::Register {
                name: format!("user number {number}"),
                password_hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
                token,
            };
            match self.write(None, Operation::Register(register)) {
                Reply::Registered { user } => self.users.push((user, token)),
                other => panic!("registering gave {other:?}"),
            }
            let secret = URL_SAFE_NO_PAD.encode(secret);
            self.tokens.push(format!("yin1.1.{secret}"));
        }
        for number in 0..scale.videos {
            let (_, token) = self.users[number % scale.users];
            match self.write(Some(token), publish(number)) {
                Reply::Published { video, published } => {
                    self.videos.push(video);
                    if number == scale.videos / 2 {
                        self.middle = published.0;
                    }
                }
                other => panic!("publishing gave {other:?}"),
            }
        }
        for (number, (_, token)) in self.users.clone().into_iter().enumerate() {
            for edge in 1..=scale.edges {
                let like = self.like(number, number + 7 * edge).1;
                self.write(Some(token), like);
                let user = self.users[(number + edge) % scale.users].0;
                let follow = Operation::Follow(model::relation::Follow { user });
                self.write(Some(token), follow);
            }
        }
    }

    fn write(&mut self, actor: Option<TokenHash>, operation: Operation) -> Reply {
        let mut request = [0; 16];
        SystemRandom.fill(&mut request);
        let proposal = Proposal {
            request: RequestId(request),
            issued: SystemClock.now(),
            actor,
            operation,
        };
        let written = self.runtime.block_on(self.replica.write(proposal, WITHIN));
        let written = written.expect("one node alone can write");
        self.position = written.position.encode(&POSITION_KEY);
        written.reply
    }
}

async fn answer(router: &Router, request: Request<Body>) -> axum::body::Bytes {
    let response = router.clone().oneshot(request).await;
    let response = response.unwrap_or_else(|never| match never {});
    let body = response.into_body().collect().await;
    body.expect("the body is in memory").to_bytes()
}

async fn start(dir: &std::path::Path, value_cache_bytes: usize) -> (Replica, Router) {
    let owner = Owner {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node: 1,
        incarnation: [1; 16],
    };
    let options = storage::state::Options {
        value_cache_bytes,
        ..storage::state::Options::default()
    };
    let state = RocksState::create(&dir.join("state"), &owner, options).expect("a state");
    let network = Hub::new().join(PeerId(1));
    let parts = raft::options::Parts {
        network: network.clone(),
        log: Arc::new(MemoryLog::new(Syncing::AtOnce)),
        state: Arc::new(state),
        clock: Arc::new(SystemClock),
        room: None,
    };
    let options = raft::options::Options::new(NodeId(1));
    let (replica, handlers) = Replica::start(options, parts).await.expect("it starts");
    network.serve(handlers);
    let founded = replica.bootstrap(address_of(PeerId(1))).await;
    founded.expect("one node alone elects itself");
    let router = router(&replica, dir);
    (replica, router)
}

fn router(replica: &Replica, dir: &std::path::Path) -> Router {
    let parts = api::Parts {
        node: NodeId(1),
        replica: replica.clone(),
        blobs: Arc::new(MemoryBlobs::new(1 << 20)),
        members: watch::channel(Arc::new(Members::default())).1,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        blocking: Arc::new(ThreadPool),
        hashing: Arc::new(ThreadPool),
        studio: Studio::new("none", None::<&str>),
        spool: dir.join("spool"),
        room: Arc::new(|| true),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        draining: watch::channel(false).1,
        load: api::Load::default(),
    };
    api::router(api::Options::default(), parts).expect("the settings make sense")
}

fn publish(number: usize) -> Operation {
    let blob = |kind: &str, content_type: &str| BlobRef {
        key: format!("{kind}/2026/11/{:032x}", number * 31),
        bytes: 1_000_000,
        sha256: Sha256::digest(format!("{kind} {number}")).into(),
        content_type: content_type.to_owned(),
    };
    Operation::Publish(Publish {
        title: format!("this is what video number {number} is called"),
        video: blob("video", "video/mp4"),
        cover: blob("cover", "image/jpeg"),
    })
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

/// Logs and metrics as a node has them, but that nobody reads the logs.
///
/// # Panics
/// When the process has them already.
pub fn observe() {
    tracing_subscriber::fmt()
        .with_env_filter("info,openraft=error")
        .with_writer(std::io::sink)
        .json()
        .flatten_event(true)
        .init();
    let recorder = PrometheusBuilder::new().install_recorder();
    recorder.expect("no other recorder is there");
}
