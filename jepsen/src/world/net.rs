//! How nodes reach each other: over our own router, or plainly over loopback.
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::mpsc;

use anyhow::Result;
use ports::free_address;
use router::{Member, Network};

/// The network of a world.
pub(crate) enum Net {
    /// A namespace per node; every packet goes through the router.
    Router(Network),
    /// Plain processes on loopback; no network faults.
    Loopback(Spawner),
}

const HTTP_PORT: u16 = 8080;
const CLUSTER_PORT: u16 = 7001;
const S3_PORT: u16 = 9000;

impl Net {
    /// The router, if there is one.
    pub(crate) fn router(&self) -> Option<&Network> {
        match self {
            Self::Router(network) => Some(network),
            Self::Loopback(_) => None,
        }
    }

    /// Starts a process where `member` lives. It gets SIGKILL when the harness dies.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, member: Member, command: Command) -> io::Result<Child> {
        match self {
            Self::Router(network) => network.spawn(member, command),
            Self::Loopback(spawner) => spawner.spawn(command),
        }
    }

    /// Where a node listens for clients and for other nodes.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) fn addresses(&self, member: Member) -> Result<(SocketAddr, SocketAddr)> {
        match self {
            Self::Router(network) => {
                let ip = network.address(member);
                Ok(((ip, HTTP_PORT).into(), (ip, CLUSTER_PORT).into()))
            }
            Self::Loopback(_) => Ok((free_address()?, free_address()?)),
        }
    }

    /// Where the S3 proxy listens.
    ///
    /// # Errors
    /// When there is no free port.
    pub(crate) fn s3_address(&self) -> Result<SocketAddr> {
        match self {
            Self::Router(network) => Ok((network.address(Member::Clients), S3_PORT).into()),
            Self::Loopback(_) => Ok(free_address()?),
        }
    }
}

type Ask = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts processes from one thread that lives as long as the harness: the kernel tells a child of
/// its parent's death when the *thread* that made it ends.
pub(crate) struct Spawner(mpsc::SyncSender<Ask>);

impl Spawner {
    pub(crate) fn start() -> Self {
        let (sender, asks) = mpsc::sync_channel::<Ask>(16);
        std::thread::spawn(move || {
            for (mut command, answer) in asks {
                // Nobody waits for the answer any more: the harness is ending.
                drop(answer.send(command.spawn()));
            }
        });
        Self(sender)
    }

    fn spawn(&self, command: Command) -> io::Result<Child> {
        let (sender, answer) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.0.send((command, sender)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}
