//! Does a cluster keep its promises? `jepsen chaos` starts one, breaks it and judges; `jepsen run`
//! judges one that is already there.
//!
//! Read [`chaos`] first: it is the order of a run. [`world`] is what is broken, [`nemesis`] how,
//! [`schedule`] when; [`workload`] is what clients do meanwhile, [`coverage`] what must have
//! happened, [`report`] what a person looks at. All of it meets in [`evidence`].
//!
//! Exit codes: 0 no violation found, 1 violation, 2 unknown, 3 the harness failed.
mod chaos;
mod coverage;
mod dice;
mod edn;
mod evidence;
mod nemesis;
mod prove;
mod record;
mod report;
mod run;
mod schedule;
mod target;
mod workload;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use checkers::verdict::Verdict;
use clap::{Parser, Subcommand};

/// Asks whether a cluster keeps its promises.
#[derive(Debug, Parser)]
#[command(name = "jepsen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a cluster, breaks it under load, heals it, reads all back, and judges.
    Chaos(Box<chaos::Chaos>),
    /// Drives the public API of a running cluster and judges what it answered.
    Run(run::Run),
    /// Shows what can be broken on this machine, and what is off and why.
    Doctor,
    /// Does each fault alone and sees that it bites and that healing heals.
    SelfTest(prove::SelfTest),
    /// Judges the histories of an earlier run again, and draws its report again.
    Recheck {
        /// The folder of the run.
        dir: PathBuf,
    },
    /// Draws the report of an earlier run again.
    Report {
        /// The folder of the run.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Needs no thread, and everything that speaks HTTP needs it.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing else installs a TLS provider");
    let result = match command {
        Command::Chaos(chaos) => chaos.run(),
        Command::Run(run) => runtime().and_then(|runtime| runtime.block_on(run.run())),
        Command::Doctor => prove::doctor(),
        Command::SelfTest(test) => test.run(),
        Command::Recheck { dir } => again(&dir, true),
        Command::Report { dir } => again(&dir, false),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Reads a run back; gives the exit code that its evidence deserves.
fn again(dir: &std::path::Path, is_judged: bool) -> Result<u8> {
    let mut evidence = report::load(dir)?;
    if is_judged {
        evidence.judgement.workloads = workload::judge(&evidence.histories);
        // What was said of the whole is said again from the parts.
        evidence.judgement.overall = Verdict::Valid;
        evidence.judgement.overall = report::overall(&evidence);
        report::save(dir, &evidence)?;
    }
    report::write(dir, &evidence)?;
    println!("{}", report::summary(&evidence));
    println!("report     {}", dir.join("report.html").display());
    Ok(exit_code(&evidence.judgement.overall))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("starting the runtime")
}

/// A seed for who gave none; it is printed.
fn chosen_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| {
        u64::from(now.subsec_nanos()) << 16 ^ now.as_secs() ^ u64::from(std::process::id())
    })
}

fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid { .. } => 1,
        Verdict::Unknown { .. } => 2,
    }
}
