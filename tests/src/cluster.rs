//! Nodes and an S3 server as separate processes.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ports::free_address;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::client::Client;
use crate::process::{Process, run};
use crate::wait;

/// How long a start, an election or a catch-up may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Small enough for the small disks of some tests.
const CONFIG: &str = "
[storage]
disk_reserve_bytes = 33554432
spool_reserve_bytes = 33554432
log_segment_bytes = 8388608
[api.upload]
bytes_max = 3221225472
";

const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "test-secret-key";

/// The `yin dev s3` of a cluster.
pub struct S3 {
    pub address: SocketAddr,
    dir: PathBuf,
    pub process: Option<Process>,
}

impl S3 {
    fn new(dir: &Path) -> Self {
        Self {
            address: free_address().expect("a free port"),
            dir: dir.to_owned(),
            process: None,
        }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        let arguments = words(&[
            "dev",
            "s3",
            "--listen",
            &self.address.to_string(),
            "--dir",
            path(&self.dir.join("s3")),
        ]);
        let log = self.dir.join("s3.log");
        self.process = Some(Process::start(&arguments, &keys(), &log));
        wait::until("S3 to listen", PATIENCE, || async {
            tokio::net::TcpStream::connect(self.address).await.ok()
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().expect("S3 is running").kill();
    }
}

/// One node: where it is, and its process while it runs.
pub struct Node {
    pub data: PathBuf,
    pub http: SocketAddr,
    pub cluster: SocketAddr,
    /// Flags beside the usual ones.
    pub extra: Vec<String>,
    pub process: Option<Process>,
}

impl Node {
    fn new(data: PathBuf) -> Self {
        Self {
            data,
            http: free_address().expect("a free port"),
            cluster: free_address().expect("a free port"),
            extra: Vec::new(),
            process: None,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub fn client(&self) -> Client {
        Client::new(self.url())
    }

    /// What the process printed so far, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Asks over the admin socket, e.g. `status`.
    ///
    /// # Errors
    /// What the command printed when it failed.
    pub fn ask(&self, command: &str) -> Result<Value, String> {
        let arguments = words(&[command, "--data", path(&self.data), "--output", "json"]);
        let (status, output, errors) = run(&arguments);
        match serde_json::from_str(&output) {
            Ok(value) => Ok(value),
            Err(_) => Err(format!("{status}: {output}{errors}")),
        }
    }

    /// Is this node ready, by its own word?
    pub async fn is_ready(&self) -> bool {
        let url = format!("{}/readyz", self.url());
        matches!(reqwest::get(url).await, Ok(answer) if answer.status().is_success())
    }

    /// Waits until the node says it is ready.
    pub async fn ready(&self) {
        wait::until(&format!("{} to be ready", self.url()), PATIENCE, || async {
            self.is_ready().await.then_some(())
        })
        .await;
    }
}

/// One cluster at a time: on a small machine two would starve each other's elections.
static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// A cluster in a directory of its own.
pub struct Cluster {
    pub dir: TempDir,
    pub s3: S3,
    pub nodes: Vec<Node>,
    pub token: String,
    _turn: OwnedMutexGuard<()>,
}

impl Cluster {
    /// Starts S3 and `count` nodes and waits until all are ready and vote (at most three do).
    pub async fn start(count: usize) -> Self {
        Self::start_in(count, |dir, n| dir.join(format!("n{n}"))).await
    }

    /// The same, each node's data directory as `place` says.
    pub async fn start_in(count: usize, place: impl Fn(&Path, usize) -> PathBuf) -> Self {
        provide_tls();
        let turn = TURN.clone().lock_owned().await;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut s3 = S3::new(dir.path());
        s3.start().await;
        let nodes = (1..=count)
            .map(|n| Node::new(place(dir.path(), n)))
            .collect();
        let config = dir.path().join("yin.toml");
        std::fs::write(&config, CONFIG).expect("the configuration is written");
        let mut cluster = Self {
            dir,
            s3,
            nodes,
            token: String::new(),
            _turn: turn,
        };
        let data = path(&cluster.nodes[0].data).to_owned();
        let (status, output, errors) = run(&words(&["init", "--data", &data]));
        assert!(status.success(), "yin init: {errors}");
        output.trim().clone_into(&mut cluster.token);
        for n in 0..count {
            cluster.run(n);
            cluster.nodes[n].ready().await;
        }
        cluster.voters(count.min(3)).await;
        cluster
    }

    /// Adds one more node and starts it, without waiting for it.
    pub fn add(&mut self) -> usize {
        let data = self.dir.path().join(format!("n{}", self.nodes.len() + 1));
        self.nodes.push(Node::new(data));
        self.run(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Starts the process of node `n` (counted from 0), without waiting for it.
    pub fn run(&mut self, n: usize) {
        let first = self.nodes[0].cluster.to_string();
        let endpoint = format!("http://{}", self.s3.address);
        let node = &mut self.nodes[n];
        let (http, cluster) = (node.http.to_string(), node.cluster.to_string());
        let mut arguments = words(&[
            "serve",
            "--data",
            path(&node.data),
            "--http-listen",
            &http,
            "--cluster-listen",
            &cluster,
            "--s3-endpoint",
            &endpoint,
            "--s3-path-style",
            "--config",
            path(&self.dir.path().join("yin.toml")),
        ]);
        if n > 0 {
            arguments.extend(words(&["--join", &first, "--token", &self.token]));
        }
        arguments.extend(node.extra.iter().cloned());
        let log = node.data.with_extension("log");
        node.process = Some(Process::start(&arguments, &keys(), &log));
    }

    /// `kill -9` of node `n`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].process.take().expect("it is running").kill();
    }

    /// Which node leads, counted from 0, once a majority of those that run agree.
    pub async fn leader(&self) -> usize {
        wait::until("a leader", PATIENCE, || async {
            let running = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.process.is_some());
            running
                .filter_map(|(n, node)| Some((n, node.ask("status").ok()?)))
                .find(|(_, status)| status["role"] == "leader")
                .map(|(n, _)| n)
        })
        .await
    }

    /// Waits until exactly `count` nodes vote, by the word of the first node that runs.
    pub async fn voters(&self, count: usize) {
        wait::until(&format!("{count} voters"), PATIENCE, || async {
            let node = self.nodes.iter().find(|node| node.process.is_some())?;
            let status = node.ask("status").ok()?;
            (status["voters"].as_array()?.len() == count).then_some(())
        })
        .await;
    }

    /// Waits until all running nodes have applied the same, then recounts on each.
    ///
    /// # Panics
    /// When a recount finds a difference.
    pub async fn verify(&self) {
        let indexes = || {
            let running = self.nodes.iter().filter(|node| node.process.is_some());
            running
                .map(|node| node.ask("status").ok()?["applied_index"].as_u64())
                .collect::<Option<Vec<_>>>()
        };
        wait::until("all nodes to have applied the same", PATIENCE, || async {
            let indexes = indexes()?;
            indexes
                .windows(2)
                .all(|pair| pair[0] == pair[1])
                .then_some(())
        })
        .await;
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let report = node.ask("verify").expect("verify answers");
            assert_eq!(report["difference_count"], 0, "{report:#}");
        }
    }

    /// Clients of all running nodes.
    pub fn clients(&self) -> Vec<Client> {
        let running = self.nodes.iter().filter(|node| node.process.is_some());
        running.map(Node::client).collect()
    }
}

/// Installs the TLS provider that reqwest expects; more than once is fine.
pub fn provide_tls() {
    // The error says that there is one already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn keys() -> Vec<(String, String)> {
    [
        ("YIN_S3_ACCESS_KEY", ACCESS_KEY),
        ("YIN_S3_SECRET_KEY", SECRET_KEY),
        ("YIN_LOG", "info,openraft=warn"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Arguments from words.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A path as text.
///
/// # Panics
/// When it is not UTF-8.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
