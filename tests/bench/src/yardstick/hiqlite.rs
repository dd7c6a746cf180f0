//! hiqlite, SQLite behind openraft: a durable insert on three nodes. Its dependencies are not the
//! workspace's, so that it is a package of its own (`peers/hiqlite`) and there only if it was built.
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use load::Node;
use ports::free_address;

use super::Site;
use crate::process::Process;

const NODES: usize = 3;

impl Site {
    /// Starts three nodes of `program` and waits until each of them inserts.
    ///
    /// # Errors
    /// When one does not start, or they find no leader.
    pub(crate) fn hiqlite(program: &Path, dir: &Path, logs: &Path) -> Result<Self> {
        let places: Vec<[SocketAddr; 3]> = (0..NODES)
            .map(|_| Ok([free_address()?, free_address()?, free_address()?]))
            .collect::<Result<_>>()?;
        let mut site = Self {
            nodes: Vec::new(),
            processes: Vec::new(),
        };
        for (number, [http, ..]) in places.iter().enumerate() {
            let name = format!("hiqlite{}", number + 1);
            let mut command = Command::new(program);
            command.args(["--id", &(number + 1).to_string()]);
            command.args(["--listen", &http.to_string(), "--data"]);
            command.arg(dir.join(&name));
            for [_, raft, api] in &places {
                command.args(["--node", &format!("{raft},{api}")]);
            }
            let log = logs.join(format!("{name}.log"));
            site.processes.push(Process::start(&name, command, log)?);
            site.nodes.push(Node::at(*http));
        }
        for (process, [http, ..]) in site.processes.iter_mut().zip(places) {
            process.await_that("ready", || {
                crate::http::is_ok(http, "/health").then_some(())
            })?;
        }
        Ok(site)
    }
}
