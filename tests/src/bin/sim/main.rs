//! `sim`: runs seeds of the simulator, one process each, and says how to run a bad one again.
//!
//! Exit codes: 0 no violation found, 1 a violation, 2 unknown (too little happened), 3 the simulator
//! failed.
#[allow(
    unsafe_code,
    reason = "the process's randomness and clocks are replaced at libc's door, which is C"
)]
mod fixed;
mod many;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tests::sim::panics;
use tests::sim::shape::Profile;
use tests::sim::trace::Trace;
use tests::sim::world::{self, Options, Outcome, Verdict};

/// Runs a simulated cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "sim")]
pub(crate) struct Flags {
    /// The seed, or the first of several.
    #[arg(long)]
    seed: u64,
    /// How long faults go on, in the run's own time. Default: by the seed, 10 or sometimes 30.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many seeds, each in a process of its own.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Start no more seeds after so many seconds of real time.
    #[arg(long)]
    within: Option<u64>,
    /// Writes everything that happens to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// mixed, calm, crashes or partitions.
    #[arg(long, default_value = "mixed", value_parser = profile)]
    profile: Profile,
    /// Alters the history before it is judged: a run that does not find that finds nothing.
    #[arg(long)]
    canary: bool,
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::of(name).ok_or_else(|| "mixed, calm, crashes or partitions".to_owned())
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.count > 1 {
        return many::run(&flags);
    }
    fixed::begin(flags.seed, world::warm_up);
    panics::collect();
    log();
    match one(&flags) {
        Ok(outcome) => tell(&flags, &outcome),
        Err(why) => {
            eprintln!("seed {}: the simulator failed: {why}", flags.seed);
            eprintln!("  again: {}", again(&flags));
            ExitCode::from(3)
        }
    }
}

/// The product's own log goes to standard error with `SIM_LOG=1`. It is written in any case, since
/// writing it takes of the process's randomness: the run is the same with it and without.
fn log() {
    let is_shown = std::env::var_os("SIM_LOG").is_some();
    let writer = move || -> Box<dyn Write> {
        if is_shown {
            Box::new(std::io::stderr())
        } else {
            Box::new(std::io::sink())
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(writer)
        .init();
}

fn seconds(flags: &Flags) -> u64 {
    // Depth finds what numbers do not: every fourth run is a long one.
    let usual = if flags.seed.is_multiple_of(4) { 30 } else { 10 };
    flags.seconds.unwrap_or(usual)
}

fn one(flags: &Flags) -> Result<Outcome, String> {
    let in_words = |error: std::io::Error| error.to_string();
    let trace = match &flags.trace {
        Some(path) => Trace::to_file(path).map_err(in_words)?,
        None => Trace::default(),
    };
    let spool = std::env::temp_dir().join(format!("yin-sim-{}", std::process::id()));
    let outcome = world::run(Options {
        seed: flags.seed,
        seconds: seconds(flags),
        profile: flags.profile,
        trace: trace.clone(),
        is_canary: flags.canary,
        spool: spool.clone(),
    });
    trace.finish().map_err(in_words)?;
    if spool.exists() {
        std::fs::remove_dir_all(&spool).map_err(in_words)?;
    }
    outcome
}

fn again(flags: &Flags) -> String {
    format!(
        "sim --seed {} --seconds {} --profile {}",
        flags.seed,
        seconds(flags),
        flags.profile.name()
    )
}

fn tell(flags: &Flags, outcome: &Outcome) -> ExitCode {
    let Outcome {
        coverage,
        ended_ms,
        digest: (lines, hash),
        nodes,
        ..
    } = outcome;
    let (word, code) = match &outcome.verdict {
        Verdict::Pass => ("pass", 0),
        Verdict::Violated(_) => ("VIOLATION", 1),
        Verdict::Unknown(_) => ("unknown", 2),
    };
    println!(
        "seed {} {word}: {nodes} nodes, {ended_ms} ms, trace {lines} lines {hash:016x}, {coverage:?}",
        flags.seed
    );
    match &outcome.verdict {
        Verdict::Pass => {}
        Verdict::Unknown(why) => println!("  {why}"),
        Verdict::Violated(violation) => {
            println!("  at {} ms: {}", violation.at_ms, violation.invariant);
            println!("  {}", violation.detail);
            println!("  what happened last:");
            for line in &outcome.last {
                println!("    {line}");
            }
            println!("  again: {}", again(flags));
        }
    }
    ExitCode::from(code)
}
