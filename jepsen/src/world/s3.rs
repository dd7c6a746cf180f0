//! The bucket: the binary's own development S3 server, behind a proxy that can fail.
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use ports::free_address;
use router::Member;

use super::net::Net;
use super::s3_proxy::Proxy;
use super::{Options, PATIENCE, text, wait};

/// Access for nodes and server; nobody else reaches it.
pub(crate) fn keys() -> [(&'static str, &'static str); 2] {
    [
        ("YIN_S3_ACCESS_KEY", "jepsen"),
        ("YIN_S3_SECRET_KEY", "jepsen-secret-key"),
    ]
}

/// The S3 server and its proxy.
pub(crate) struct S3 {
    /// Where nodes reach it.
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Proxy,
    process: Child,
}

impl S3 {
    pub(crate) async fn start(net: &Net, options: &Options, dir: &Path) -> Result<Self> {
        let behind = free_address()?;
        let log = std::fs::File::create(options.out.join("logs/s3.log"))
            .context("making the log of S3")?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&options.yin)
            .args(["dev", "s3", "--listen", &behind.to_string()])
            .args(["--dir", text(&dir.join("s3"))])
            .envs(keys())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log of S3")?)
            .stderr(log);
        let process = net.spawn(Member::Clients, command).context("starting S3")?;
        let listens = wait::until(PATIENCE, || async {
            tokio::net::TcpStream::connect(behind).await.ok()
        });
        listens.await.context("S3 does not listen")?;
        let address = net.s3_address()?;
        let proxy = Proxy::start(address, behind).await?;
        Ok(Self {
            address,
            proxy,
            process,
        })
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if self.process.kill().is_ok()
            && let Err(error) = self.process.wait()
        {
            eprintln!("awaiting S3: {error}");
        }
    }
}
