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
use checkers::history::{self, Outcome};
use checkers::verdict::Verdict;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::record::Recorder;
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

/// The judgement over one workload.
#[derive(Debug, Serialize)]
struct Judged {
    workload: &'static str,
    ok: usize,
    failed: usize,
    unknown: usize,
    #[serde(flatten)]
    verdict: Verdict,
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
    let target = Target::new(run.nodes.clone())?;
    let stage = workload::Stage::set(&target, seed, clip)
        .await
        .context("preparing users and a video")?;
    let recorders = workload::drive(
        &target,
        &stage,
        run.clients,
        Duration::from_secs(run.seconds),
        seed,
    )
    .await;
    let mut judged = Vec::new();
    for (name, recorder) in recorders {
        judged.push(one(name, &recorder, run)?);
    }
    report(run, seed, &judged)
}

fn one(name: &'static str, recorder: &Recorder, run: &Run) -> Result<Judged> {
    let events = recorder.events();
    record::write(&run.out.join(format!("{name}.jsonl")), &events)?;
    std::fs::write(run.out.join(format!("{name}.edn")), edn::history(&events))
        .context("writing the history as EDN")?;
    let calls = history::calls(&events).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
    let count = |outcome| calls.iter().filter(|call| call.outcome == outcome).count();
    let ok = count(Outcome::Ok);
    let verdict = if ok == 0 {
        Verdict::Unknown {
            why: "nothing succeeded".into(),
        }
    } else {
        workload::check(name, &calls)
    };
    Ok(Judged {
        workload: name,
        ok,
        failed: count(Outcome::Fail),
        unknown: count(Outcome::Unknown),
        verdict,
    })
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
            "{:9} {:6} ok {:5} failed {:5} unknown  {:?}",
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
