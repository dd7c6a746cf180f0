//! `make bench`: what the built binary does on this machine, beside what the machine allows.
//!
//! A user of yin, not a part of it: it knows the built binary, its command line and its HTTP, and
//! of the workspace only `load`, which knows no more; what has to know the state's bytes is another
//! program (`fill`, package micro). Read [`cluster`] for what is started, [`yardstick`] for what it is
//! compared with, [`case`] for what is measured, [`rounds`] for how, [`depth`] for much data,
//! [`goals`] for what it should come to.
mod case;
mod cgroup;
mod cluster;
mod depth;
mod failover;
mod goals;
mod http;
mod install;
mod meter;
mod process;
mod progress;
mod quick;
mod report;
mod rounds;
mod sample;
mod scaling;
mod small;
mod spread;
mod stage;
mod upload;
mod wires;
mod yardstick;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "bench",
    about = "Measures a yin cluster and what the machine allows"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts an S3 and three nodes, loads data, measures, and prints tables.
    Run(Box<Run>),
    /// A server to compare with (started by `run`).
    #[command(subcommand, hide = true)]
    Serve(Serve),
}

#[derive(Args)]
struct Run {
    /// The built `yin` binary; a release build, or the figures mean little.
    #[arg(long)]
    yin: PathBuf,
    /// The same built with the feature `tcp`: what QUIC between nodes is compared with.
    #[arg(long)]
    tcp: Option<PathBuf>,
    /// Where data and results go; what is in its `run` folder is deleted.
    #[arg(long, default_value = "data/bench")]
    dir: PathBuf,
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// How often everything is measured; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of one measurement, after a fifth of it as warm-up.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How long likes go on whose bytes on the disk are counted, once: flush and compaction come late.
    #[arg(long, default_value_t = 600.0)]
    lasting: f64,
    /// 1 is 10,000 users, 50,000 videos, 1,000,000 likes and 500,000 follows.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only these: scenarios and yardsticks by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    connections: Vec<usize>,
    /// Two numbers of objects: what a request costs with the one and with the other. The larger one
    /// is what a restart is timed with. The default is what the goals name; it takes ten minutes to
    /// be filled.
    #[arg(long, value_delimiter = ',', default_value = "10000,10000000")]
    depth: Vec<usize>,
    /// The built `fill` (package micro); by default the one beside this program.
    #[arg(long)]
    fill: Option<PathBuf>,
    /// The built `hiqlite-peer`, to compare with.
    #[arg(long)]
    hiqlite: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Serve {
    /// One small JSON, and a feed page that is serialised with no storage behind it.
    Web {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// The bare replicated append: HTTP and the first log.
    Lead {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        log: PathBuf,
        #[arg(long)]
        follower: Vec<SocketAddr>,
    },
    /// The service of the usual stack.
    Stack {
        #[arg(long)]
        listen: SocketAddr,
        /// MariaDB's socket.
        #[arg(long)]
        mariadb: PathBuf,
        /// Redis' socket.
        #[arg(long)]
        redis: PathBuf,
    },
    /// The bare replicated append: another log.
    Follow {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        log: PathBuf,
    },
    /// An S3 that does not sync, for as long as data is loaded.
    QuickS3 {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        dir: PathBuf,
    },
    /// Takes bytes over quinn.
    StreamIn {
        #[arg(long)]
        listen: SocketAddr,
        /// Where its certificate goes.
        #[arg(long)]
        certificate: PathBuf,
    },
    /// Sends bytes over quinn and prints how many seconds it took.
    StreamOut {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        certificate: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(run) => rounds::run(&run),
        Command::Serve(serve) => match serve {
            Serve::Web { listen } => yardstick::web::serve(listen),
            Serve::Stack {
                listen,
                mariadb,
                redis,
            } => yardstick::stack::service::serve(listen, &mariadb, &redis),
            Serve::Lead {
                listen,
                log,
                follower,
            } => yardstick::append::lead(listen, &log, &follower),
            Serve::Follow { listen, log } => yardstick::append::follow(listen, &log),
            Serve::QuickS3 { listen, dir } => quick::serve(listen, dir),
            Serve::StreamIn {
                listen,
                certificate,
            } => yardstick::stream::take(listen, &certificate),
            Serve::StreamOut {
                to,
                bytes,
                certificate,
            } => yardstick::stream::give(to, bytes, &certificate),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
