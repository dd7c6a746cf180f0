//! Asks a running cluster, as clients would, whether it keeps its promises.
//!
//! `jepsen run --node URL --node URL …` drives the public API from clients that roam between the
//! nodes, records every history, and judges it. It injects no faults itself: kill, pause and cut
//! what you like meanwhile. Exit codes: 0 no violation found, 1 violation, 2 unknown, 3 the harness
//! failed.
mod edn;
mod evidence;
mod record;
mod report;
mod target;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use checkers::verdict::Verdict;
use clap::{Parser, Subcommand};

use crate::evidence::{Begun, Judged};
use crate::target::Target;

/// Asks a running cluster whether it keeps its promises.
#[derive(Debug, Parser)]
#[command(name = "jepsen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drives the public API of a running cluster and judges what it answered.
    Run(Run),
}

/// How long nodes that do not answer are asked again in the end.
const LAST_READS_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
struct Run {
    /// Base URL of a node; give each node of the cluster.
    #[arg(long = "node", required = true)]
    nodes: Vec<String>,
    /// How long to drive it.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Clients of each workload.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Operations per second over all workloads; 0: as fast as the clients can.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Only these workloads; all if none is named.
    #[arg(long)]
    only: Vec<String>,
    /// What the clients do follows from this; the same seed asks the same.
    #[arg(long)]
    seed: Option<u64>,
    /// A small clip to publish.
    #[arg(long)]
    clip: PathBuf,
    /// Where histories and verdict are written.
    #[arg(long, default_value = "data/jepsen")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing else installs a TLS provider");
    let result = tokio::runtime::Runtime::new()
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(judge(&run)));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn judge(run: &Run) -> Result<u8> {
    if run.clients == 0 || run.seconds == 0 {
        bail!("need at least one client and one second");
    }
    let seed = run.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| {
            u64::from(now.subsec_nanos()) << 20 | u64::from(std::process::id())
        })
    });
    println!("seed {seed}");
    std::fs::create_dir_all(&run.out).with_context(|| format!("making {}", run.out.display()))?;
    let clip = std::fs::read(&run.clip)
        .with_context(|| format!("reading the clip {}", run.clip.display()))?;
    let nodes = run.nodes.iter().map(|url| (url.clone(), url.clone()));
    let target = Target::new(nodes.collect())?;
    let options = workload::Options {
        seed,
        clients: run.clients,
        rate: run.rate,
        clip,
        only: run.only.clone(),
    };
    let load = workload::Load::start(target, options, Begun::now()).await?;
    tokio::time::sleep(Duration::from_secs(run.seconds)).await;
    let histories = load.finish(LAST_READS_MAX).await;
    workload::write(&run.out, &histories)?;
    report(run, seed, &workload::judge(&histories))
}

fn report(run: &Run, seed: u64, judged: &[Judged]) -> Result<u8> {
    let verdict = serde_json::json!({ "seed": seed, "nodes": run.nodes, "workloads": judged });
    std::fs::write(
        run.out.join("verdict.json"),
        serde_json::to_vec_pretty(&verdict)?,
    )
    .context("writing the verdict")?;
    let mut overall = Verdict::Valid;
    for one in judged {
        println!(
            "{:10} {:6} ok {:5} failed {:5} unknown  {:?}",
            one.workload, one.ok, one.failed, one.unknown, one.verdict
        );
        overall = overall.and(one.verdict.clone());
    }
    println!("histories and verdict: {}", run.out.display());
    Ok(match overall {
        Verdict::Valid => 0,
        Verdict::Invalid { .. } => 1,
        Verdict::Unknown { .. } => 2,
    })
}
