//! Runs a finder with a bug planted, seed after seed, until it cries.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::table::{Assigned, Finder};

/// Names the planted bug to the processes that have it.
const PLANT: &str = "YIN_PLANT";
/// Simulated runs at a time.
const JOBS: usize = 2;
/// How `timeout` ends when it had to end the process.
const TIMED_OUT: i32 = 124;

/// How long a real cluster is broken; start and end come on top.
const CHAOS_SECONDS: &str = "60";
/// What is published there, from the root of the work tree.
const CLIP: &str = "tests/fixtures/clip1.mp4";
const OUT: &str = "data/plants";
/// Where the reports of runs without a bug go under it.
const WITHOUT: &str = "without";

/// A try that found the bug.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    /// The seed that showed it, and how many were needed.
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) seconds: f64,
    /// What it broke.
    pub(crate) law: String,
}

/// What a finder's process said in the end.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    /// A cluster that breaks its promises may break the harness that watches it as well: what was
    /// seen before counts.
    fn is_cry(&self) -> bool {
        let is_headline = |line: &str| line.starts_with("VIOLATION FOUND");
        self.code == Some(1) || self.text.lines().any(is_headline)
    }

    /// The harness itself could not go on, and had seen nothing.
    fn is_failure(&self) -> bool {
        !self.is_cry() && checked(self).is_err()
    }
}

/// Where the finders are.
pub(crate) struct Finders {
    bin: PathBuf,
}

impl Finders {
    pub(crate) fn beside(bin: Option<PathBuf>) -> Result<Self, String> {
        if let Some(bin) = bin {
            return Ok(Self { bin });
        }
        let me = std::env::current_exe().map_err(|error| error.to_string())?;
        let bin = me.parent().ok_or("it lies nowhere")?.to_owned();
        Ok(Self { bin })
    }

    /// One try, with seeds from `from` on; none when the budget is used up.
    pub(crate) fn look(&self, assigned: &Assigned, from: u64) -> Result<Option<Try>, String> {
        let begun = Instant::now();
        let found = match assigned.finder {
            Finder::Model | Finder::Disk => self.look_at_once(assigned, from)?,
            Finder::Sim | Finder::Chaos(_) => self.look_one_by_one(assigned, from)?,
        };
        Ok(found.map(|(seed, law)| Try {
            seed,
            seeds: seed - from + 1,
            seconds: begun.elapsed().as_secs_f64(),
            law,
        }))
    }

    /// Does the seed of this try cry without the bug, too?
    pub(crate) fn is_alarm_without(
        &self,
        assigned: &Assigned,
        found: &Try,
    ) -> Result<bool, String> {
        let child = self.start(assigned.finder, "", found.seed, 1)?;
        Ok(wait(child)?.is_cry())
    }

    /// These finders play many seeds in one process and stop at the first that cries.
    fn look_at_once(
        &self,
        assigned: &Assigned,
        from: u64,
    ) -> Result<Option<(u64, String)>, String> {
        let count = assigned.finder.seeds_max();
        let child = self.start(assigned.finder, assigned.plant.name, from, count)?;
        let said = wait(child)?;
        if said.code != Some(1) {
            return checked(&said).map(|()| None);
        }
        let seed = after(&said.text, "--from ").and_then(|it| it.parse().ok());
        let seed = seed.ok_or_else(|| format!("which seed? {}", said.text))?;
        Ok(Some((seed, law_of(&said.text))))
    }

    /// These have a process for every seed.
    fn look_one_by_one(
        &self,
        assigned: &Assigned,
        from: u64,
    ) -> Result<Option<(u64, String)>, String> {
        let mut left = from..from + assigned.finder.seeds_max();
        let jobs = if assigned.finder == Finder::Sim {
            JOBS
        } else {
            1
        };
        let mut running = std::collections::VecDeque::new();
        let mut found = None;
        loop {
            while found.is_none()
                && running.len() < jobs
                && let Some(seed) = left.next()
            {
                let child = self.start(assigned.finder, assigned.plant.name, seed, 1)?;
                running.push_back((seed, child));
            }
            let Some((seed, child)) = running.pop_front() else {
                return Ok(found);
            };
            // A later seed that cries first does not count: numbers of seeds stay comparable.
            let mut said = wait(child)?;
            if matches!(assigned.finder, Finder::Chaos(_)) && said.is_failure() {
                // A cluster that did not come up says nothing about the bug: once more.
                said = wait(self.start(assigned.finder, assigned.plant.name, seed, 1)?)?;
            }
            if found.is_none() && said.is_cry() {
                found = Some((seed, law_of(&said.text)));
            } else {
                checked(&said)?;
            }
        }
    }

    fn start(&self, finder: Finder, plant: &str, from: u64, count: u64) -> Result<Child, String> {
        let program = match finder {
            Finder::Chaos(_) => "jepsen",
            other => other.name(),
        };
        // A bug may also let a process wait for ever: that is an answer too, and no find.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", finder.seconds_max()]);
        command.arg(self.bin.join(program));
        let (from, count) = (from.to_string(), count.to_string());
        match finder {
            Finder::Model | Finder::Disk => command.args(["--from", &from, "--seeds", &count]),
            Finder::Sim => command.args(["--seed", &from]),
            Finder::Chaos(faults) => {
                command.args(["chaos", "--seed", &from, "--seconds", CHAOS_SECONDS]);
                let under = if plant.is_empty() { WITHOUT } else { plant };
                command.args(["--nemesis", faults, "--clip", CLIP]);
                command.arg("--out").arg(Path::new(OUT).join(under));
                command.arg("--yin").arg(self.bin.join("yin"))
            }
        };
        command.env(PLANT, plant);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = command.spawn();
        spawned.map_err(|error| format!("{program}: {error}"))
    }
}

fn wait(child: Child) -> Result<Said, String> {
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Ok(Said {
        code: output.status.code(),
        text,
    })
}

/// Found nothing, not enough to say, or took too long: no find. Anything else is no answer.
fn checked(said: &Said) -> Result<(), String> {
    match said.code {
        Some(0..=2 | TIMED_OUT) => Ok(()),
        code => Err(format!("a finder ended with {code:?}: {}", said.text)),
    }
}

/// The law that a finder names: `violation of LAW …`; in a simulation `  at 12 ms: LAW`; of a real
/// cluster `  violation  LAW: …`.
fn law_of(text: &str) -> String {
    let simulated = || {
        let line = text.lines().find(|line| line.starts_with("  at "))?;
        line.split_once(": ").map(|(_, law)| law)
    };
    let judged = || after(text, "\n  violation  ");
    after(text, "violation of ")
        .or_else(simulated)
        .or_else(judged)
        .unwrap_or("?")
        .trim_end_matches(':')
        .to_owned()
}

/// The word after `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    rest.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::{Said, law_of};

    fn said(code: i32, text: &str) -> Said {
        let (code, text) = (Some(code), text.to_owned());
        Said { code, text }
    }

    #[test]
    fn a_cry_is_a_violation_and_no_other_word() {
        let harness_failed = "VIOLATION FOUND in 9 operations\n\n  violation  blob: it is lost\n";
        assert!(said(1, "").is_cry());
        assert!(said(3, harness_failed).is_cry());
        assert_eq!(law_of(harness_failed), "blob");
        assert!(!said(0, "NO VIOLATION FOUND in 9 operations\n").is_cry());
        assert!(!said(2, "UNKNOWN: THIS RUN PROVES NOTHING\n").is_cry());
    }

    #[test]
    fn a_harness_that_failed_found_nothing_and_is_no_answer() {
        assert!(said(3, "error: the harness failed\n").is_failure());
        assert!(!said(2, "").is_failure());
        assert!(!said(3, "VIOLATION FOUND\n").is_failure());
    }
}
