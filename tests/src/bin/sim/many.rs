//! Many seeds: each in a process of its own, some at a time.
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tests::sim::shape::Profile;

use crate::Flags;

/// How the seeds went, by exit code.
#[derive(Default)]
struct Tally {
    pass: u64,
    violation: u64,
    unknown: u64,
    failed: u64,
    /// Writes that power cuts took, over all runs.
    lost_writes: u64,
    has_power_cuts: bool,
}

pub(crate) fn run(flags: &Flags) -> ExitCode {
    let began = Instant::now();
    let deadline = flags
        .within
        .map(|seconds| began + Duration::from_secs(seconds));
    let mut seeds = flags.seed..flags.seed.saturating_add(flags.count);
    let mut running: Vec<Child> = Vec::new();
    let mut tally = Tally {
        has_power_cuts: matches!(flags.profile, Profile::Mixed | Profile::Crashes),
        ..Tally::default()
    };
    loop {
        while running.len() < flags.jobs.max(1) {
            let is_late = deadline.is_some_and(|deadline| Instant::now() > deadline);
            let Some(seed) = seeds.next().filter(|_| !is_late) else {
                break;
            };
            match start(flags, seed) {
                Ok(child) => running.push(child),
                Err(error) => {
                    eprintln!("seed {seed}: {error}");
                    tally.failed += 1;
                }
            }
        }
        // The oldest first: seeds take about as long as each other.
        if running.is_empty() {
            break;
        }
        tally.end(running.remove(0));
    }
    tally.tell(began.elapsed())
}

fn start(flags: &Flags, seed: u64) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string()]);
    command.args(["--profile", flags.profile.name()]);
    if let Some(seconds) = flags.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    command.stdout(Stdio::piped()).spawn()
}

impl Tally {
    fn end(&mut self, child: Child) {
        let output = match child.wait_with_output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("a run cannot be waited for: {error}");
                self.failed += 1;
                return;
            }
        };
        let count = match output.status.code() {
            Some(0) => &mut self.pass,
            Some(1) => &mut self.violation,
            Some(2) => &mut self.unknown,
            _ => &mut self.failed,
        };
        *count += 1;
        let told = String::from_utf8_lossy(&output.stdout);
        self.lost_writes += counted(&told, "lost_writes: ");
        print!("{told}");
    }

    fn tell(&self, took: Duration) -> ExitCode {
        let Self {
            pass,
            violation,
            unknown,
            failed,
            lost_writes,
            ..
        } = self;
        let seconds = took.as_secs_f64();
        println!(
            "{pass} pass, {violation} violations, {unknown} unknown, {failed} failed in {seconds:.1} s; power cuts took {lost_writes} writes"
        );
        ExitCode::from(match (violation, failed, unknown, pass) {
            (1.., ..) => 1,
            (0, 1.., ..) => 3,
            // So many runs have power cuts that cost something, or they prove nothing about them.
            (0, 0, _, 100..) if *lost_writes == 0 && self.has_power_cuts => 2,
            // A seed in twenty may have too little in it; more of them say nothing.
            (0, 0, unknown, pass) if unknown * 20 > *pass => 2,
            _ => 0,
        })
    }
}

/// The number behind `name` in what a run printed.
fn counted(told: &str, name: &str) -> u64 {
    let rest = told.split_once(name).map_or("", |(_, rest)| rest);
    let digits = rest.find(|it: char| !it.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().unwrap_or(0)
}
