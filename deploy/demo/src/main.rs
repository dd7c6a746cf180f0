//! `make demo`: three nodes and an S3 on this machine, with something to look at.
//!
//! This is a user of yin, not a part of it: it knows the built binary, its command line and its
//! HTTP, and no crate of the workspace. Read [`cluster`] for what is started in which order,
//! [`process`] for how only our own processes are ever ended, [`sample`] for the sample data.
mod cluster;
mod guide;
mod http;
mod layout;
mod process;
mod progress;
mod sample;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Cluster;
use crate::layout::{Layout, NODES, Ports};
use crate::progress::{Progress, say};

#[derive(Parser)]
#[command(
    name = "demo",
    about = "Three yin nodes and an S3 on this machine, with sample data"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts what does not run yet, fills in the sample data once, and waits for Ctrl-C.
    Up {
        #[command(flatten)]
        place: Place,
        /// The built `yin` binary.
        #[arg(long)]
        yin: PathBuf,
        /// The folder with the sample clips.
        #[arg(long, default_value = "tests/fixtures")]
        clips: PathBuf,
        /// Returns when all is ready and leaves the cluster in the background.
        #[arg(long)]
        detach: bool,
    },
    /// Ends what `up` and `start` started, and nothing else.
    Stop {
        #[command(flatten)]
        place: Place,
    },
    /// Ends one node the hard way (SIGKILL).
    Kill {
        #[command(flatten)]
        place: Place,
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        node: u8,
    },
    /// Starts one node again, in the background.
    Start {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        yin: PathBuf,
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        node: u8,
    },
}

#[derive(Args)]
struct Place {
    /// Where everything is kept.
    #[arg(long, default_value = "./data")]
    data: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "8080,8081,8082")]
    http_ports: Vec<u16>,
    #[arg(long, value_delimiter = ',', default_value = "7001,7002,7003")]
    cluster_ports: Vec<u16>,
    #[arg(long, default_value = "9000")]
    s3_port: u16,
}

impl Place {
    fn layout(&self) -> anyhow::Result<Layout> {
        let three = |ports: &[u16], flag| {
            <[u16; NODES]>::try_from(ports)
                .ok()
                .with_context(|| format!("{flag} takes {NODES} ports"))
        };
        Ok(Layout {
            data: self.data.clone(),
            ports: Ports {
                http: three(&self.http_ports, "--http-ports")?,
                cluster: three(&self.cluster_ports, "--cluster-ports")?,
                s3: self.s3_port,
            },
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // reqwest is built without a provider of its own, so that the tree has one.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("demo: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up {
            place,
            yin,
            clips,
            detach,
        } => {
            let cluster = Cluster::open(place.layout()?, Some(yin))?;
            up(cluster, clips, detach).await
        }
        Command::Stop { place } => Cluster::open(place.layout()?, None)?.stop().await,
        Command::Kill { place, node } => {
            Cluster::open(place.layout()?, None)?
                .kill(usize::from(node) - 1)
                .await
        }
        Command::Start { place, yin, node } => {
            let cluster = Cluster::open(place.layout()?, Some(yin))?;
            cluster.start(usize::from(node) - 1).await
        }
    }
}

/// Brings everything up. Whatever ends this early (an error, Ctrl-C) stops what was started.
async fn up(mut cluster: Cluster, clips: PathBuf, detach: bool) -> anyhow::Result<()> {
    let mut stop_asked = StopSignals::new()?;
    let was_running = cluster.is_all_running()?;
    let made_ready = tokio::select! {
        made = make_ready(&mut cluster, clips) => made,
        () = stop_asked.received() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = made_ready {
        if !was_running {
            cluster
                .stop()
                .await
                .context("while stopping after a failure")?;
        }
        return Err(error);
    }
    guide::print(&cluster, detach || was_running);
    if detach || was_running {
        return Ok(());
    }
    tokio::select! {
        () = stop_asked.received() => say("\nstopping (Ctrl-C again: at once)"),
        () = cluster.report_ends() => say("nothing is left running"),
    }
    tokio::select! {
        stopped = cluster.stop() => stopped,
        () = stop_asked.received() => cluster.stop_at_once().await,
    }
}

async fn make_ready(cluster: &mut Cluster, clips: PathBuf) -> anyhow::Result<()> {
    cluster.start_all().await?;
    let api = http::Api::new(cluster.layout())?;
    if !cluster.is_seeded() {
        let mut progress = Progress::new();
        sample::seed(&api, &clips, &mut progress)
            .await
            .context("filling in the sample data")?;
        progress.finish();
        cluster.set_seeded()?;
    }
    sample::verify(&api)
        .await
        .context("asking each node for the feed")
}

/// Ctrl-C, `kill`, and the terminal going away.
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
