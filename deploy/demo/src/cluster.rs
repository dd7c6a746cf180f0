//! The four processes: which is started when and how, and how they end.
//!
//! Every step asks first whether it was done before, so that `up` may be interrupted anywhere and
//! run again: what runs is left alone, what is a member only serves, what is not yet joins.
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::layout::{Layout, NODES, Part, loopback};
use crate::process::{Running, spawn};
use crate::progress::say;
use crate::state::State;

/// A node that is not ready by then will not be: electing and joining take a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at a port that tells nothing by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A stop finishes requests in flight and hands leadership over.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// `yin init` and `yin token` answer at once or not at all.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
const BUCKET: &str = "yin";

pub(crate) struct Cluster {
    layout: Layout,
    state: State,
    /// Absolute, so that process records can be compared. `None` where nothing is started.
    yin: Option<PathBuf>,
}

impl Cluster {
    /// Takes up what earlier runs left in the data folder.
    ///
    /// # Errors
    /// If the folder belongs to a cluster with other ports, or `yin` is not there.
    pub(crate) fn open(layout: Layout, yin: Option<PathBuf>) -> anyhow::Result<Self> {
        let yin = yin
            .map(|yin| {
                yin.canonicalize()
                    .with_context(|| format!("no binary at {}", yin.display()))
            })
            .transpose()?;
        let state = match State::load(&layout.state_file())? {
            Some(state) => state,
            None => State::new(layout.ports.clone())?,
        };
        // Only a start needs the ports; a stop goes by the records.
        ensure!(
            yin.is_none() || state.ports == layout.ports,
            "the cluster in {} was made with other ports ({:?}): use them again, or delete it with \
             `make clean-data`",
            layout.data.display(),
            state.ports,
        );
        Ok(Self { layout, state, yin })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn yin(&self) -> anyhow::Result<&Path> {
        self.yin.as_deref().context("no binary to start")
    }

    pub(crate) fn is_seeded(&self) -> bool {
        self.state.is_seeded
    }

    pub(crate) fn set_seeded(&mut self) -> anyhow::Result<()> {
        self.state.is_seeded = true;
        self.save()
    }

    pub(crate) fn is_all_running(&self) -> anyhow::Result<bool> {
        for part in Part::ALL {
            if self.running(part)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts what does not run, in order, and returns when every node is ready.
    pub(crate) async fn start_all(&self) -> anyhow::Result<()> {
        // All ports first: nothing is started that would have to be stopped again.
        for part in Part::ALL {
            if self.running(part)?.is_none() {
                self.layout.check_ports(part)?;
            }
        }
        self.save()?;
        self.start_s3().await?;
        self.found().await?;
        // Members first and together, since they need each other for a quorum; then those who join.
        let members: Vec<usize> = (0..NODES).filter(|&node| self.has_identity(node)).collect();
        for &node in &members {
            self.start_node(node, None)?;
        }
        for &node in &members {
            self.wait_ready(node).await?;
        }
        for node in (0..NODES).filter(|node| !members.contains(node)) {
            self.join(node).await?;
        }
        Ok(())
    }

    /// Starts one node and returns when it is ready.
    pub(crate) async fn start(&self, node: usize) -> anyhow::Result<()> {
        let part = Part::Node(node);
        if let Some(running) = self.running(part)? {
            say(format_args!(
                "{} runs already (process {})",
                part.name(),
                running.pid()
            ));
            return Ok(());
        }
        ensure!(
            self.has_identity(node),
            "there is no {} yet: run `make demo` first",
            part.name()
        );
        self.layout.check_ports(part)?;
        self.start_node(node, None)?;
        self.wait_ready(node).await
    }

    /// Ends one node without asking it.
    pub(crate) async fn kill(&self, node: usize) -> anyhow::Result<()> {
        let part = Part::Node(node);
        let running = self
            .running(part)?
            .with_context(|| format!("{} does not run", part.name()))?;
        running.kill().await?;
        say(format_args!(
            "{} (process {}) was killed",
            part.name(),
            running.pid()
        ));
        Ok(())
    }

    /// Stops the nodes, then the S3 that they write to.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.end_all(STOP_PATIENCE).await
    }

    pub(crate) async fn stop_at_once(&self) -> anyhow::Result<()> {
        self.end_all(Duration::ZERO).await
    }

    /// Says it when a part ends by itself; returns when none is left.
    pub(crate) async fn report_ends(&self) {
        let mut alive: BTreeMap<String, i32> = BTreeMap::new();
        loop {
            for part in Part::ALL {
                // A record that cannot be read now is reported by `stop`.
                let running = self
                    .running(part)
                    .ok()
                    .flatten()
                    .map(|running| running.pid());
                let name = part.name();
                match (alive.get(&name).copied(), running) {
                    (before, Some(pid)) if before != Some(pid) => {
                        if before.is_some() {
                            say(format_args!("{name} runs again (process {pid})"));
                        }
                        alive.insert(name, pid);
                    }
                    (Some(pid), None) => {
                        say(format_args!(
                            "{name} (process {pid}) has ended; the others go on"
                        ));
                        alive.remove(&name);
                    }
                    (None | Some(_), _) => {}
                }
            }
            if alive.is_empty() {
                return;
            }
            // Another `demo start` may bring a process back, which no handle of ours would tell.
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn end_all(&self, patience: Duration) -> anyhow::Result<()> {
        let mut nodes = Vec::new();
        for node in 0..NODES {
            nodes.push(self.end(Part::Node(node), patience));
        }
        let [first, second, third] = <[_; NODES]>::try_from(nodes)
            .ok()
            .context("there are as many futures as nodes")?;
        let ended = tokio::join!(first, second, third);
        ended.0.and(ended.1).and(ended.2)?;
        self.end(Part::S3, patience).await
    }

    async fn end(&self, part: Part, patience: Duration) -> anyhow::Result<()> {
        let pid_file = self.layout.pid_file_of(part);
        if let Some(running) = self.running(part)? {
            let how = if running.stop(patience).await? {
                "stopped"
            } else {
                "killed"
            };
            say(format_args!(
                "{} (process {}) {how}",
                part.name(),
                running.pid()
            ));
        }
        match std::fs::remove_file(&pid_file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", pid_file.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn running(&self, part: Part) -> anyhow::Result<Option<Running>> {
        Running::find(&self.layout.pid_file_of(part))
    }

    fn save(&self) -> anyhow::Result<()> {
        self.state.save(&self.layout.state_file())
    }

    /// `yin` with the S3's keys. They and tokens go by environment: a command line can be read by
    /// every user of the machine.
    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(self.yin()?);
        for (name, _) in std::env::vars_os() {
            // What configures the user's own nodes is not meant for these.
            if name.to_string_lossy().starts_with("YIN_") && name != "YIN_LOG" {
                command.env_remove(name);
            }
        }
        command
            .env("YIN_S3_ACCESS_KEY", &self.state.s3_access_key)
            .env("YIN_S3_SECRET_KEY", &self.state.s3_secret_key);
        Ok(command)
    }

    async fn start_s3(&self) -> anyhow::Result<()> {
        if self.running(Part::S3)?.is_some() {
            return Ok(());
        }
        let folder = self.layout.data_of(Part::S3);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        let address = loopback(self.layout.ports.s3);
        let mut command = self.command()?;
        command
            .args([
                "dev",
                "s3",
                "--bucket",
                BUCKET,
                "--listen",
                &address.to_string(),
                "--dir",
            ])
            .arg(&folder);
        self.spawn(Part::S3, command)?;
        self.wait_for(Part::S3, || async {
            tokio::net::TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Makes the first node's identity, once for the life of the cluster.
    async fn found(&self) -> anyhow::Result<()> {
        if self.has_identity(0) {
            return Ok(());
        }
        let mut command = self.command()?;
        command.args(["init", "--zone", "zone1", "--data"]);
        command.arg(self.layout.data_of(Part::Node(0)));
        run("yin init", command).await.map(drop)
    }

    /// A node with an identity only serves; one without has to join first.
    fn has_identity(&self, node: usize) -> bool {
        self.layout
            .data_of(Part::Node(node))
            .join("identity.json")
            .exists()
    }

    /// Lets a new node in: a token from the first one, good for this one join.
    async fn join(&self, node: usize) -> anyhow::Result<()> {
        let mut command = self.command()?;
        command.args([
            "token",
            "--uses",
            "1",
            "--ttl-hours",
            "1",
            "--output",
            "json",
            "--data",
        ]);
        command.arg(self.layout.data_of(Part::Node(0)));
        let printed = run("yin token", command).await?;
        let made: serde_json::Value = serde_json::from_str(&printed)
            .with_context(|| format!("`yin token` printed: {printed}"))?;
        let token = made["token"].as_str();
        let token = token.context("`yin token` printed no token")?;
        self.start_node(node, Some(token))?;
        self.wait_ready(node).await
    }

    fn start_node(&self, node: usize, join_token: Option<&str>) -> anyhow::Result<()> {
        let part = Part::Node(node);
        if self.running(part)?.is_some() {
            return Ok(());
        }
        let mut command = self.command()?;
        command
            .arg("serve")
            .args(self.addresses(node))
            .args(["--zone", &format!("zone{}", node + 1)])
            .args([
                "--s3-endpoint",
                &self.layout.s3_url(),
                "--s3-bucket",
                BUCKET,
            ])
            .arg("--s3-path-style");
        if let Some(token) = join_token {
            command.args([
                "--join",
                &loopback(self.layout.ports.cluster[0]).to_string(),
            ]);
            command.env("YIN_TOKEN", token);
        }
        self.spawn(part, command)
    }

    fn addresses(&self, node: usize) -> Vec<std::ffi::OsString> {
        vec![
            "--data".into(),
            self.layout.data_of(Part::Node(node)).into(),
            "--http-listen".into(),
            loopback(self.layout.ports.http[node]).to_string().into(),
            "--cluster-listen".into(),
            loopback(self.layout.ports.cluster[node]).to_string().into(),
        ]
    }

    fn spawn(&self, part: Part, command: Command) -> anyhow::Result<()> {
        let mut child = spawn(
            command,
            &self.layout.log_of(part),
            &self.layout.pid_file_of(part),
        )?;
        say(format_args!("{} started", part.name()));
        // Somebody has to wait for it, or it stays a zombie for as long as we run. What it ended
        // with is told by its log.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    async fn wait_ready(&self, node: usize) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.layout.http_url(node));
        let client = crate::http::client()?;
        self.wait_for(Part::Node(node), || async {
            match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer
                    .text()
                    .await
                    .unwrap_or_else(|error| error.to_string())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        say(format_args!(
            "node{} is ready at {}",
            node + 1,
            self.layout.http_url(node)
        ));
        Ok(())
    }

    /// Looks again and again until `is_there` says yes, the process ends, or the time is up.
    async fn wait_for<F>(&self, part: Part, is_there: impl Fn() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = Result<(), String>>,
    {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let Some(running) = self.running(part)? else {
                bail!(
                    "{} ended while starting. {}",
                    part.name(),
                    self.end_of_log(part)
                );
            };
            let reason = match timeout(READY_WITHIN, is_there()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(reason)) => reason,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                let waited = READY_WITHIN.as_secs();
                let log = self.end_of_log(part);
                bail!(
                    "{} is not ready after {waited} s: {reason}. {log}",
                    part.name()
                );
            }
            // Its end is an event; becoming ready is not, from outside.
            running.ended_within(LOOK_EVERY).await?;
        }
    }

    fn end_of_log(&self, part: Part) -> String {
        const LINES: usize = 15;
        let path = self.layout.log_of(part);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
                format!("The end of {}:\n  {last}", path.display())
            }
            Err(error) => format!("Its log {} can't be read: {error}", path.display()),
        }
    }
}

/// Runs a short command to its end and returns what it printed.
async fn run(name: &str, mut command: Command) -> anyhow::Result<String> {
    command
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output: Output = timeout(COMMAND_WITHIN, command.output())
        .await
        .with_context(|| format!("`{name}` hangs"))?
        .with_context(|| format!("starting `{name}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({}):\n{printed}{complaint}", output.status);
    }
    Ok(printed)
}
