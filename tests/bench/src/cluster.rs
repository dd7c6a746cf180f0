//! An S3 server and some nodes as processes of their own, with the settings of production.
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use load::Node;
use ports::free_address;
use serde_json::Value;

use crate::process::{Process, run};
use crate::quick;
use crate::yardstick::ourselves;

/// What differs from the defaults, and why; said in the output.
pub(crate) const RAISED: &str =
    "limits per address and user (all clients here share one address), and of one upload";

const KEYS: [(&str, &str); 2] = [
    ("YIN_S3_ACCESS_KEY", "bench"),
    ("YIN_S3_SECRET_KEY", "bench-secret-key"),
];

/// Tokio's own setting of how many threads serve; all processors when it is not there.
pub(crate) const THREADS: &str = "TOKIO_WORKER_THREADS";

/// While data is loaded: passwords of users who never log in again are hashed for show, and uploads
/// wait for a cover, which [`quick`] has made once; a poster is drawn in 10 ms.
const QUICKLY: &str = "[api.password]\nmemory_kib = 8\npasses = 1\n\
                       [api.upload]\ncover_wait_ms = 30_000\ncovers_parallel_max = 4\n";
/// For one upload of 2 GB.
const LARGE_UPLOADS: &str = "[api.upload]\nbytes_max = 4_294_967_296\n";

/// Limits stay on, since counting costs time, but stop nobody.
fn config(is_loading: bool) -> String {
    let names = [
        "register_per_address",
        "login_per_address",
        "login_per_name",
        "upload_per_address",
        "upload_per_user",
        "write_per_address",
        "write_per_user",
    ];
    let mut text = String::from("[api.limits]\n");
    for name in names {
        text.push_str(name);
        text.push_str(" = { per_second = 1_000_000, burst = 1_000_000 }\n");
    }
    text.push_str(if is_loading { QUICKLY } else { LARGE_UPLOADS });
    text
}

/// One node: where it is, and its process while it runs.
struct Member {
    data: PathBuf,
    http: SocketAddr,
    cluster: SocketAddr,
    process: Option<Process>,
}

impl Member {
    /// On an empty directory that is still to be made.
    fn at(data: PathBuf) -> Result<Self> {
        Ok(Self {
            data,
            http: free_address()?,
            cluster: free_address()?,
            process: None,
        })
    }

    fn await_ready(&mut self) -> Result<()> {
        let http = self.http;
        let process = self.process.as_mut().context("the node was started")?;
        process.await_that("ready", || {
            crate::http::is_ok(http, "/readyz").then_some(())
        })
    }
}

/// A node that joins a cluster in which there is something already, and that nobody asks anything.
pub(crate) struct Guest(Member);

impl Guest {
    /// Until it has applied what the others have.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        self.0.await_ready()
    }

    /// What it has logged, one JSON a line.
    pub(crate) fn log(&self) -> Result<String> {
        let process = self.0.process.as_ref().context("the node was started")?;
        process.log()
    }

    /// Ends it and removes its data. The cluster goes on calling for it: there is no command yet
    /// that takes a node out.
    pub(crate) fn leave(mut self) -> Result<()> {
        let process = self.0.process.take().context("the node was started")?;
        process.stop()?;
        let data = &self.0.data;
        std::fs::remove_dir_all(data).with_context(|| format!("removing {}", data.display()))
    }
}

/// The processes, and where they are.
pub(crate) struct Cluster {
    yin: PathBuf,
    dir: PathBuf,
    logs: PathBuf,
    s3: SocketAddr,
    s3_process: Option<Process>,
    members: Vec<Member>,
    join_token: String,
    /// Data is being put in: what is not measured is quick then.
    is_loading: bool,
    /// From the start of the first node's process, on an empty directory, until it was ready.
    pub(crate) first_start: Duration,
}

impl Cluster {
    /// Starts everything in `dir`, with quick passwords; see [`Self::go_into_production`].
    pub(crate) fn start(yin: &Path, dir: &Path, logs: &Path, count: usize) -> Result<Self> {
        let mut cluster = Self::found(yin, dir, logs, count)?;
        cluster.complete()?;
        Ok(cluster)
    }

    /// As [`Self::start`], but of the nodes only the first: it takes in data for a third of what three
    /// nodes need, and the others catch up in large steps when they join ([`Self::complete`]).
    pub(crate) fn found(yin: &Path, dir: &Path, logs: &Path, count: usize) -> Result<Self> {
        let members = (1..=count)
            .map(|n| Member::at(dir.join(format!("node{n}"))))
            .collect::<Result<Vec<_>>>()?;
        let mut cluster = Self {
            yin: yin.to_owned(),
            dir: dir.to_owned(),
            logs: logs.to_owned(),
            s3: free_address()?,
            s3_process: None,
            members,
            join_token: String::new(),
            is_loading: true,
            first_start: Duration::ZERO,
        };
        cluster.start_s3()?;
        let mut init = cluster.yin();
        init.args(["init", "--data"]).arg(&cluster.members[0].data);
        run(init)?.trim().clone_into(&mut cluster.join_token);
        std::fs::write(cluster.config_file(), config(true)).context("writing the configuration")?;
        let name = cluster.second_name();
        quick::link(yin, &name)?;
        let began = Instant::now();
        cluster.start_node(0)?;
        cluster.await_ready(0)?;
        cluster.first_start = began.elapsed();
        quick::decode_once(yin, &name)?;
        Ok(cluster)
    }

    /// Lets the other nodes join; tells how long it took until all had what the first has.
    pub(crate) fn complete(&mut self) -> Result<Duration> {
        let began = Instant::now();
        for n in 1..self.members.len() {
            self.start_node(n)?;
            self.await_ready(n)?;
        }
        self.await_voters(self.members.len().min(3))?;
        Ok(began.elapsed())
    }

    /// Starts all nodes again with the passwords' production settings; tells how long it took
    /// until all were ready.
    pub(crate) fn go_into_production(&mut self) -> Result<Duration> {
        self.while_stopped(|_| Ok(()))
    }

    /// As [`Self::go_into_production`]; `work` has the first node's data directory before it starts
    /// again, for as long as it takes.
    pub(crate) fn while_stopped(
        &mut self,
        work: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Duration> {
        std::fs::write(self.config_file(), config(false)).context("writing the configuration")?;
        let nodes = self.members.iter_mut();
        let running = nodes.filter_map(|member| member.process.take());
        for process in running.chain(self.s3_process.take()).collect::<Vec<_>>() {
            process.stop()?;
        }
        // What was not synced while loading, so that it's no part of what is measured.
        rustix::fs::sync();
        self.is_loading = false;
        self.start_s3()?;
        work(&self.members[0].data)?;
        let began = Instant::now();
        for n in 0..self.members.len() {
            self.start_node(n)?;
        }
        for n in 0..self.members.len() {
            self.await_ready(n)?;
        }
        Ok(began.elapsed())
    }

    /// Kills the leader the hard way. Gives which it was, counted from 0, and where the others are.
    pub(crate) fn kill_leader(&mut self) -> Result<(usize, Vec<SocketAddr>)> {
        let leader = self.leader()?;
        let member = &mut self.members[leader];
        drop(member.process.take().context("the leader runs")?);
        let others = self.members.iter().enumerate();
        let others = others.filter(|(n, _)| *n != leader);
        Ok((leader, others.map(|(_, member)| member.http).collect()))
    }

    /// Starts a node again and waits until it is ready.
    pub(crate) fn bring_back(&mut self, n: usize) -> Result<()> {
        self.start_node(n)?;
        self.await_ready(n)
    }

    /// Lets the first node recount every counter and index of its state.
    ///
    /// # Errors
    /// When one is not what its set is.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut command = self.yin();
        command.args(["verify", "--data"]);
        command.arg(&self.members[0].data);
        eprint!("{}", run(command)?);
        Ok(())
    }

    /// Kills a node the hard way and starts it again; tells how long it took from the start of its
    /// process until `is_right` of where it serves.
    pub(crate) fn kill_and_start(
        &mut self,
        n: usize,
        mut is_right: impl FnMut(SocketAddr) -> bool,
    ) -> Result<Duration> {
        drop(self.members[n].process.take().context("the node runs")?);
        let began = Instant::now();
        self.start_node(n)?;
        let member = &mut self.members[n];
        let http = member.http;
        let process = member.process.as_mut().context("the node was started")?;
        process.await_that("answering rightly", || is_right(http).then_some(()))?;
        Ok(began.elapsed())
    }

    /// Starts a further node, the `n`th of all that joined so, counted from 1.
    pub(crate) fn invite(&self, n: usize) -> Result<Guest> {
        let number = self.members.len() + n;
        let mut member = Member::at(self.dir.join(format!("node{number}")))?;
        member.process = Some(self.launch(&member, number - 1)?);
        Ok(Guest(member))
    }

    /// Up to where the leader's log has been purged: 0 when a new node would get all of it.
    pub(crate) fn purged_index(&mut self) -> Result<u64> {
        let leader = self.leader()?;
        let status = status(&mut self.ask_status(leader)).context("asking the leader")?;
        let index = status["purged_index"].as_u64();
        index.context("a status without its purged_index")
    }

    /// Which node says of itself that it leads.
    fn leader(&mut self) -> Result<usize> {
        let mut asks: Vec<Command> = (0..self.members.len())
            .map(|n| self.ask_status(n))
            .collect();
        let process = self.members[0].process.as_mut().context("node 1 runs")?;
        process.await_that("in a cluster with a leader", || {
            asks.iter_mut()
                .position(|ask| status(ask).is_some_and(|status| status["role"] == "leader"))
        })
    }

    fn ask_status(&self, n: usize) -> Command {
        let mut command = self.yin();
        command.args(["status", "--output", "json", "--data"]);
        command.arg(&self.members[n].data);
        command
    }

    /// Where the first node serves.
    pub(crate) fn first_http(&self) -> SocketAddr {
        self.members[0].http
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.addresses().into_iter().map(Node::at).collect()
    }

    /// Where the nodes serve HTTP.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.http).collect()
    }

    /// Of the nodes; the S3 server is not theirs.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let running = self
            .members
            .iter()
            .filter_map(|member| member.process.as_ref());
        running.map(Process::pid).collect()
    }

    /// Is there a TCP listener beside each node's UDP port?
    pub(crate) fn takes_tcp(&self) -> bool {
        let mut members = self.members.iter();
        members.all(|member| TcpStream::connect(member.cluster).is_ok())
    }

    pub(crate) fn forget_logs(&self) -> Result<()> {
        let nodes = self
            .members
            .iter()
            .filter_map(|member| member.process.as_ref());
        nodes
            .chain(&self.s3_process)
            .try_for_each(Process::forget_log)
    }

    fn yin(&self) -> Command {
        own(&self.yin)
    }

    /// A node's share of this machine's processors, as whoever puts several on one gives it. With all
    /// of them in each the threads of one wake each other for what the next node waits for.
    pub(crate) fn threads(&self) -> usize {
        (processors() / self.members.len()).max(1)
    }

    /// Of the built binary, for the node that is filled; see [`quick`].
    fn second_name(&self) -> PathBuf {
        self.dir.join("loading").join("yin")
    }

    fn config_file(&self) -> PathBuf {
        self.dir.join("yin.toml")
    }

    /// The built binary's; while data is loaded its like without syncs.
    fn start_s3(&mut self) -> Result<()> {
        let mut command = if self.is_loading {
            let mut command = ourselves()?;
            command.arg("quick-s3").envs(KEYS);
            command
        } else {
            let mut command = self.yin();
            command.args(["dev", "s3"]);
            command
        };
        command.args(["--listen", &self.s3.to_string(), "--dir"]);
        command.arg(self.dir.join("s3"));
        let mut process = Process::start("s3", command, self.logs.join("s3.log"))?;
        process.await_port(self.s3)?;
        self.s3_process = Some(process);
        Ok(())
    }

    fn start_node(&mut self, n: usize) -> Result<()> {
        self.members[n].process = Some(self.launch(&self.members[n], n)?);
        Ok(())
    }

    /// Starts the process of the `n`th node, counted from 0.
    fn launch(&self, member: &Member, n: usize) -> Result<Process> {
        // The first takes in data alone, so that it has all processors then.
        let is_filled = self.is_loading && n == 0;
        let (program, threads) = if is_filled {
            (self.second_name(), processors())
        } else {
            (self.yin.clone(), self.threads())
        };
        let mut command = own(&program);
        command.env(THREADS, threads.to_string());
        command.arg("serve").arg("--config").arg(self.config_file());
        command.arg("--data").arg(&member.data);
        command.args(["--http-listen", &member.http.to_string()]);
        command.args(["--cluster-listen", &member.cluster.to_string()]);
        command.args([
            "--s3-endpoint",
            &format!("http://{}", self.s3),
            "--s3-path-style",
        ]);
        // The first one was made by `yin init`; the others join once.
        if n > 0 && !member.data.join("identity.json").exists() {
            let first = self.members[0].cluster.to_string();
            command.args(["--join", &first]);
            command.env("YIN_TOKEN", &self.join_token);
        }
        let name = format!("node{}", n + 1);
        Process::start(&name, command, self.logs.join(format!("{name}.log")))
    }

    fn await_ready(&mut self, n: usize) -> Result<()> {
        self.members[n].await_ready()
    }

    fn await_voters(&mut self, count: usize) -> Result<()> {
        let mut ask = self.ask_status(0);
        let process = self.members[0].process.as_mut().context("node 1 runs")?;
        process.await_that("in a cluster of enough voters", || {
            let voters = status(&mut ask)?["voters"].as_array()?.len();
            (voters == count).then_some(())
        })
    }
}

/// A program that knows of the environment what is meant for this cluster.
fn own(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // What configures the user's own nodes is not meant for these.
        if name.to_string_lossy().starts_with("YIN_") {
            command.env_remove(name);
        }
    }
    command.envs(KEYS);
    command
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What `yin status` says, if the node answers.
fn status(ask: &mut Command) -> Option<Value> {
    serde_json::from_slice(&ask.output().ok()?.stdout).ok()
}
