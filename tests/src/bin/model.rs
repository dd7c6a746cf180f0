//! Plays the state machine alone, thousands of seeds a minute: see [`tests::model_runs`].
//!
//! Ends with 0 when no law broke, 1 when one did (and says which seed shows it), 2 when the run was
//! too small to show anything.
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

/// Plays random histories on the state machine and judges them.
#[derive(Parser)]
struct Flags {
    /// How many histories.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Commands in a history.
    #[arg(long, default_value_t = 300)]
    steps: u64,
}

fn main() -> ExitCode {
    let Flags { seeds, from, steps } = Flags::parse();
    let begun = Instant::now();
    println!("model: {seeds} seeds from {from}, {steps} steps each");
    let figures = match tests::model_runs::run_seeds(from, seeds, steps) {
        Ok(figures) => figures,
        Err(violation) => {
            println!("{violation}");
            return ExitCode::from(1);
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!("{figures}");
    println!("no violation in {seeds} seeds, {seconds:.1} s");
    let gaps = figures.gaps();
    if gaps.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("unknown: it never came to {}", gaps.join(", "));
    ExitCode::from(2)
}
