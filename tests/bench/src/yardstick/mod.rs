//! What yin is compared with, on the same machine and in the same run.
pub(crate) mod append;
pub(crate) mod disk;
pub(crate) mod etcd;
mod hiqlite;
mod message;
mod page;
pub(crate) mod stack;
pub(crate) mod stream;
pub(crate) mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use load::Node;
use ports::free_address;

use crate::process::Process;

/// Servers that run beside the cluster for the whole run.
pub(crate) struct Site {
    pub(crate) nodes: Vec<Node>,
    pub(crate) processes: Vec<Process>,
}

impl Site {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Bare axum.
    pub(crate) fn web(logs: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = ourselves()?;
        command.args(["web", "--listen", &address.to_string()]);
        let mut process = Process::start("web", command, logs.join("web.log"))?;
        process.await_port(address)?;
        Ok(Self {
            nodes: vec![Node::at(address)],
            processes: vec![process],
        })
    }

    /// The bare replicated append: one that serves HTTP, two that follow.
    pub(crate) fn append(dir: &Path, logs: &Path) -> Result<Self> {
        let listen = free_address()?;
        let mut leader = ourselves()?;
        leader.args(["lead", "--listen", &listen.to_string(), "--log"]);
        leader.arg(dir.join("append-0"));
        let mut processes = Vec::new();
        for number in 1..append::REPLICAS {
            let address = free_address()?;
            let mut follower = ourselves()?;
            follower.args(["follow", "--listen", &address.to_string(), "--log"]);
            follower.arg(dir.join(format!("append-{number}")));
            let name = format!("append-{number}");
            let log = logs.join(format!("{name}.log"));
            let mut process = Process::start(&name, follower, log)?;
            process.await_port(address)?;
            processes.push(process);
            leader.args(["--follower", &address.to_string()]);
        }
        let mut process = Process::start("append-0", leader, logs.join("append-0.log"))?;
        process.await_port(listen)?;
        processes.push(process);
        Ok(Self {
            nodes: vec![Node::at(listen)],
            processes,
        })
    }
}

/// etcd's nodes: another protocol.
pub(crate) struct EtcdSite {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) processes: Vec<Process>,
}

impl EtcdSite {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }
}

/// Where servers lie that are not for users to call, if the path does not name it.
const SERVERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// An installed program: what the variable says, or the first of this name in the path.
fn program(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .chain(SERVERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// This program as a server.
pub(crate) fn ourselves() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve");
    Ok(command)
}
