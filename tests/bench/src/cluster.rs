//! An S3 server and some nodes as processes of their own, with the settings of production.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use load::Node;

use crate::process::{Process, free_address, run};

/// What differs from the defaults, and why; said in the output.
pub(crate) const RAISED: &str = "limits per address and user (all clients here share one address)";

const KEYS: [(&str, &str); 2] = [
    ("YIN_S3_ACCESS_KEY", "bench"),
    ("YIN_S3_SECRET_KEY", "bench-secret-key"),
];

/// While data is loaded: passwords of users who never log in again are hashed for show.
const QUICK_PASSWORDS: &str = "[api.password]\nmemory_kib = 8\npasses = 1\n";

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
    if is_loading {
        text.push_str(QUICK_PASSWORDS);
    }
    text
}

/// One node: where it is, and its process while it runs.
struct Member {
    data: PathBuf,
    http: SocketAddr,
    cluster: SocketAddr,
    process: Option<Process>,
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
}

impl Cluster {
    /// Starts everything in `dir`, with quick passwords; see [`Self::go_into_production`].
    pub(crate) fn start(yin: &Path, dir: &Path, logs: &Path, count: usize) -> Result<Self> {
        let members = (1..=count)
            .map(|n| {
                Ok(Member {
                    data: dir.join(format!("node{n}")),
                    http: free_address()?,
                    cluster: free_address()?,
                    process: None,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut cluster = Self {
            yin: yin.to_owned(),
            dir: dir.to_owned(),
            logs: logs.to_owned(),
            s3: free_address()?,
            s3_process: None,
            members,
            join_token: String::new(),
        };
        cluster.start_s3()?;
        let mut init = cluster.yin();
        init.args(["init", "--data"]).arg(&cluster.members[0].data);
        run(init)?.trim().clone_into(&mut cluster.join_token);
        std::fs::write(cluster.config_file(), config(true)).context("writing the configuration")?;
        for n in 0..count {
            cluster.start_node(n)?;
            cluster.await_ready(n)?;
        }
        cluster.await_voters(count.min(3))?;
        Ok(cluster)
    }

    /// Starts all nodes again with the passwords' production settings.
    pub(crate) fn go_into_production(&mut self) -> Result<()> {
        std::fs::write(self.config_file(), config(false)).context("writing the configuration")?;
        for member in &mut self.members {
            if let Some(process) = member.process.take() {
                process.stop()?;
            }
        }
        for n in 0..self.members.len() {
            self.start_node(n)?;
        }
        for n in 0..self.members.len() {
            self.await_ready(n)?;
        }
        Ok(())
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let members = self.members.iter();
        members.map(|member| Node::at(member.http)).collect()
    }

    /// Of the nodes; the S3 server is not theirs.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let running = self
            .members
            .iter()
            .filter_map(|member| member.process.as_ref());
        running.map(Process::pid).collect()
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
        let mut command = Command::new(&self.yin);
        for (name, _) in std::env::vars_os() {
            // What configures the user's own nodes is not meant for these.
            if name.to_string_lossy().starts_with("YIN_") {
                command.env_remove(name);
            }
        }
        command.envs(KEYS);
        command
    }

    fn config_file(&self) -> PathBuf {
        self.dir.join("yin.toml")
    }

    fn start_s3(&mut self) -> Result<()> {
        let mut command = self.yin();
        command.args(["dev", "s3", "--listen", &self.s3.to_string(), "--dir"]);
        command.arg(self.dir.join("s3"));
        let mut process = Process::start("s3", command, self.logs.join("s3.log"))?;
        process.await_port(self.s3)?;
        self.s3_process = Some(process);
        Ok(())
    }

    fn start_node(&mut self, n: usize) -> Result<()> {
        let member = &self.members[n];
        let mut command = self.yin();
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
        let log = self.logs.join(format!("{name}.log"));
        self.members[n].process = Some(Process::start(&name, command, log)?);
        Ok(())
    }

    fn await_ready(&mut self, n: usize) -> Result<()> {
        let member = &mut self.members[n];
        let http = member.http;
        let process = member.process.as_mut().context("the node was started")?;
        process.await_that("ready", || {
            crate::yardstick::is_ok(http, "/readyz").then_some(())
        })
    }

    fn await_voters(&mut self, count: usize) -> Result<()> {
        let mut status = self.yin();
        status.args(["status", "--output", "json", "--data"]);
        status.arg(&self.members[0].data);
        let process = self.members[0].process.as_mut().context("node 1 runs")?;
        process.await_that("in a cluster of enough voters", || {
            let output = status.output().ok()?;
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            (status["voters"].as_array()?.len() == count).then_some(())
        })
    }
}
