//! Plays the real engines on a real directory: see [`tests::disk_runs`].
//!
//! Ends with 0 when no law broke, 1 when one did (and says which seed shows it), 2 when the run was
//! too small to show anything, 3 when the harness failed.
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::disk_runs::{Figures, Trouble, install, run_seed, state};

/// Damages, cuts and kills the log and the state, and judges what is left.
#[derive(Parser)]
struct Flags {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Where the files go; emptied afterwards.
    #[arg(long, default_value = "/dev/shm")]
    scratch: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let Some(ended) = be_child(&arguments) {
        return match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(3),
        };
    }
    let flags = Flags::parse();
    let begun = Instant::now();
    println!("disk: {} seeds from {}", flags.seeds, flags.from);
    let Ok(me) = std::env::current_exe() else {
        println!("the harness failed: it does not know where it lies");
        return ExitCode::from(3);
    };
    let mut figures = Figures::default();
    for seed in (flags.from..).take(usize::try_from(flags.seeds).unwrap_or(usize::MAX)) {
        match run_seed(seed, &flags.scratch, &me) {
            Ok(more) => figures += more,
            Err(trouble) => {
                println!("seed {seed}: {trouble}");
                println!("again: disk --from {seed} --seeds 1");
                let is_violation = matches!(trouble, Trouble::Violation(..));
                return ExitCode::from(if is_violation { 1 } else { 3 });
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{figures}");
    println!("no violation in {} seeds, {seconds:.1} s", flags.seeds);
    if figures.is_telling() {
        return ExitCode::SUCCESS;
    }
    println!("unknown: too little happened");
    ExitCode::from(2)
}

/// The work of a child that is to be killed; `None` when this process is none.
fn be_child(arguments: &[String]) -> Option<Result<(), Trouble>> {
    let [_, role, dir, what] = arguments else {
        return None;
    };
    match role.as_str() {
        install::ROLE => Some(install::for_ever(Path::new(dir), Path::new(what))),
        state::ROLE => Some(state::for_ever(Path::new(dir), what.parse().ok()?)),
        _ => None,
    }
}
