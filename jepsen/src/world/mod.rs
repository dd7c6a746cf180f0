//! The cluster under test: S3 and N real nodes, each with an address, a disk and a clock of its own
//! that can be made to fail.
//!
//! [`Ground`] is what has to be made before any thread runs (namespaces); [`World`] is what runs on
//! it. Without root both shrink to plain processes and directories, and the faults that need more
//! say so.
pub(crate) mod abilities;
pub(crate) mod admin;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod disk;
pub(crate) mod logs;
pub(crate) mod mounts;
pub(crate) mod net;
pub(crate) mod node;
mod power;
pub(crate) mod s3;
pub(crate) mod s3_proxy;
pub(crate) mod scratch;
pub(crate) mod stall;
pub(crate) mod wait;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use router::{Member, Network};

use crate::evidence::{Begun, NodeStatus};
use abilities::Abilities;
use clock::Clock;
use config::Election;
use disk::Disk;
use net::{Net, Spawner};
use node::Node;
use s3::S3;
use scratch::Scratch;

/// How long a start, an election or a catch-up may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const KNOCK: Duration = Duration::from_millis(500);

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The binary under test.
    pub(crate) yin: PathBuf,
    pub(crate) nodes: usize,
    /// Where logs go.
    pub(crate) out: PathBuf,
    pub(crate) election: Election,
    /// Every node gets a clock that can be set.
    pub(crate) has_clocks: bool,
}

/// What is made before any thread runs.
pub(crate) struct Ground {
    pub(crate) abilities: Abilities,
    net: Net,
}

impl Ground {
    /// Call it on the main thread, first of all.
    ///
    /// # Errors
    /// When what should be possible here fails.
    pub(crate) fn prepare(seed: u64, nodes: usize, is_without_root: bool) -> Result<Self> {
        let abilities = Abilities::look(is_without_root);
        if abilities.mounts.is_ok() {
            mounts::enter()?;
        }
        let net = if abilities.network.is_ok() {
            Net::Router(Network::start(seed, nodes).context("starting the network")?)
        } else {
            Net::Loopback(Spawner::start())
        };
        Ok(Self { abilities, net })
    }
}

/// The cluster under test.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) abilities: Abilities,
    pub(crate) begun: Begun,
    pub(crate) net: Net,
    pub(crate) s3: S3,
    nodes: RwLock<Vec<Arc<Node>>>,
    token: String,
    config: PathBuf,
    clock_library: Option<PathBuf>,
    scratch: Scratch,
}

impl World {
    /// Starts S3 and the nodes, and waits until all are ready.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) async fn start(ground: Ground, options: Options, begun: Begun) -> Result<Arc<Self>> {
        let scratch = Scratch::make()?;
        logs::make_folder(&options.out.join("logs")).context("making the folder of logs")?;
        let config = scratch.plain.join("yin.toml");
        std::fs::write(&config, config::text(options.election))
            .context("writing the configuration")?;
        let clock_library = if options.has_clocks && ground.abilities.clocks.is_ok() {
            Some(clock::build(&scratch.plain).await?)
        } else {
            None
        };
        let s3 = S3::start(&ground.net, &options, &scratch.plain).await?;
        let mut world = Self {
            options,
            abilities: ground.abilities,
            begun,
            net: ground.net,
            s3,
            nodes: RwLock::default(),
            token: String::new(),
            config,
            clock_library,
            scratch,
        };
        for n in 0..world.options.nodes {
            world.make_node(n, Member::Node(n)).await?;
        }
        let first = world.node(0);
        world.token = admin::init(&world.options.yin, &first.data).await?;
        let world = Arc::new(world);
        for node in world.nodes() {
            node.start(&world)?;
            node.ready(PATIENCE).await?;
        }
        world.voters(world.options.nodes.min(3)).await?;
        Ok(world)
    }

    /// All nodes, also those that do not run.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.read().expect("no holder panics").clone()
    }

    pub(crate) fn node(&self, n: usize) -> Arc<Node> {
        self.nodes.read().expect("no holder panics")[n].clone()
    }

    /// Adds one more node, not started yet.
    ///
    /// # Errors
    /// When namespace or disk cannot be made.
    pub(crate) async fn add_node(&self) -> Result<Arc<Node>> {
        let n = self.nodes.read().expect("no holder panics").len();
        let member = match self.net.router() {
            Some(network) => network.add_node().context("adding a namespace")?,
            None => Member::Node(n),
        };
        self.make_node(n, member).await
    }

    async fn make_node(&self, n: usize, member: Member) -> Result<Arc<Node>> {
        let name = format!("n{}", n + 1);
        let at = self.scratch.plain.join(&name);
        let disk = if self.abilities.mounts.is_ok() {
            let image = self.scratch.images.join(format!("{name}.img"));
            Some(Disk::make(image, at.clone()).await?)
        } else {
            std::fs::create_dir_all(&at).context("making a node's directory")?;
            None
        };
        let clock = match &self.clock_library {
            Some(library) => {
                let setting = self.scratch.plain.join(format!("{name}.clock"));
                Some(Clock::new(library.clone(), setting)?)
            }
            None => None,
        };
        let addresses = self.net.addresses(member)?;
        let log = self.options.out.join(format!("logs/{name}.log"));
        let node = Node::new(name, member, addresses, at, disk, clock, log);
        let node = Arc::new(node);
        let mut nodes = self.nodes.write().expect("no holder panics");
        nodes.push(node.clone());
        Ok(node)
    }

    /// What a node is started with beside what it knows itself.
    fn serve_flags(&self, node: &Node, token: Option<&str>) -> Vec<String> {
        let mut flags = vec![
            "--s3-endpoint".to_owned(),
            format!("http://{}", self.s3.address),
            "--s3-path-style".to_owned(),
            "--config".to_owned(),
            text(&self.config).to_owned(),
        ];
        let is_first = node.member == Member::Node(0);
        if !is_first || token.is_some() {
            let others = self.nodes();
            let others = others.iter().filter(|other| other.name != node.name);
            for other in others.take(self.options.nodes) {
                flags.extend(["--join".to_owned(), other.cluster.to_string()]);
            }
            let token = token.unwrap_or(&self.token).to_owned();
            flags.extend(["--token".to_owned(), token]);
        }
        flags
    }

    /// What each node says of itself; `None` when it does not answer.
    pub(crate) async fn statuses(&self) -> Vec<(Arc<Node>, Option<admin::Status>)> {
        let mut asked = tokio::task::JoinSet::new();
        for (n, node) in self.nodes().into_iter().enumerate() {
            asked.spawn(async move {
                let status = node.status().await.ok();
                (n, node, status)
            });
        }
        let mut statuses = asked.join_all().await;
        statuses.sort_by_key(|(n, ..)| *n);
        let pairs = statuses.into_iter();
        pairs.map(|(_, node, status)| (node, status)).collect()
    }

    /// Sends something to every node, as clients do all the time when there are any.
    pub(crate) async fn knock(&self) {
        for node in self.nodes() {
            // Only the packets matter.
            drop(tokio::time::timeout(KNOCK, node.is_ready()).await);
        }
    }

    /// Who leads, by the word of the one with the highest term.
    pub(crate) async fn leader(&self) -> Option<Arc<Node>> {
        let statuses = self.statuses().await.into_iter();
        let leaders = statuses
            .filter_map(|(node, status)| Some((status?, node)))
            .filter(|(status, _)| status.role == "leader");
        leaders
            .max_by_key(|(status, _)| status.term)
            .map(|(_, node)| node)
    }

    /// Waits until that many nodes vote.
    async fn voters(&self, count: usize) -> Result<()> {
        let voters = wait::until(PATIENCE, || async {
            let status = self.node(0).status().await.ok()?;
            (status.voters.len() == count).then_some(())
        });
        if voters.await.is_none() {
            bail!("there are not {count} voters after {PATIENCE:?}");
        }
        Ok(())
    }
}

impl From<&admin::Status> for NodeStatus {
    fn from(status: &admin::Status) -> Self {
        Self {
            role: status.role.clone(),
            term: status.term,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
        }
    }
}

/// Is this program there?
fn tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("the program {name} is missing"))
}

/// Runs a program to its end.
///
/// # Errors
/// When it fails; says what it printed.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), errors.trim());
    }
    Ok(())
}

/// A path as text: those that we make are.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the harness' own paths are UTF-8")
}
