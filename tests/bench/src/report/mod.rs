//! What a run came to: tables for the terminal, JSON, and one page to look at.
mod page;
mod plot;
mod table;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Run;
use crate::case::{Case, Target};
use crate::cluster::RAISED;
use crate::depth::Depth;
use crate::goals;
use crate::install::Installs;
use crate::sample::Sample;
use crate::scaling::Scaling;
use crate::spread::Spread;
use crate::stage::{Stage, Starts};
use crate::yardstick::disk::Sync;

/// All of one run.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    pub(crate) starts: Starts,
    /// Growth of a node that took in a video of 2 GB.
    pub(crate) upload_bytes: Option<u64>,
    /// One a round.
    pub(crate) syncs: Vec<Sync>,
    /// Seconds.
    pub(crate) failovers: Vec<f64>,
    /// `None`: not asked for.
    pub(crate) installs: Option<Installs>,
    /// `None`: not asked for.
    pub(crate) scaling: Option<Scaling>,
    /// `None`: not asked for.
    pub(crate) depth: Option<Depth>,
    pub(crate) cases: Vec<Line>,
}

/// How the run was asked for.
#[derive(Serialize)]
pub(crate) struct Settings {
    pub(crate) nodes: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) lasting: f64,
    pub(crate) scale: f64,
    pub(crate) has_etcd: bool,
    pub(crate) has_hiqlite: bool,
    /// Which of MariaDB and Redis is not installed.
    pub(crate) stack_lacks: Option<&'static str>,
    /// Why QUIC was not compared with TCP, where that was asked for.
    pub(crate) tcp_lacks: Option<String>,
    /// Settings of the nodes that are not the defaults.
    pub(crate) raised: &'static str,
}

/// Where it ran.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    /// `/proc/loadavg` before anything was started, and after: others on the machine show here.
    pub(crate) load_before: String,
    pub(crate) load_after: String,
}

/// One case and what was measured of it, by round.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) is_ours: bool,
    pub(crate) connections: usize,
    pub(crate) samples: Vec<Sample>,
}

impl Settings {
    pub(crate) fn of(run: &Run, stage: &Stage) -> Self {
        Self {
            nodes: run.nodes,
            rounds: run.rounds,
            seconds: run.seconds,
            lasting: run.lasting,
            scale: run.scale,
            has_etcd: stage.has_etcd(),
            has_hiqlite: run.hiqlite.is_some(),
            stack_lacks: stage.stack_lacks,
            tcp_lacks: None,
            raised: RAISED,
        }
    }
}

impl Machine {
    pub(crate) fn now(load_before: String) -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load_before,
            load_after: machine_load(),
        }
    }
}

impl Machine {
    /// Had others more than half a processor's worth of work before anything was started?
    pub(crate) fn is_shared(&self) -> bool {
        let minute = self.load_before.split(' ').next();
        minute
            .and_then(|minute| minute.parse().ok())
            .is_some_and(|minute: f64| minute > 0.5)
    }
}

/// Empty where there is no such file.
pub(crate) fn machine_load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.trim().to_owned()
}

impl Line {
    pub(crate) fn of((case, samples): (&Case, Vec<Sample>)) -> Self {
        Self {
            name: case.name.clone(),
            is_ours: case.target == Target::Cluster,
            connections: case.connections,
            samples,
        }
    }

    /// Over the rounds.
    pub(crate) fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(of))
    }
}

/// Prints the tables and leaves `results.json` and `report.html` in `dir`.
pub(crate) fn write(results: &Results, dir: &Path) -> Result<()> {
    let judged = goals::judge(results);
    println!("{}\n", table::cases(results));
    if let Some(depth) = &results.depth {
        println!("{}\n", table::depth(depth));
    }
    println!("{}", table::goals(&judged));
    println!("{}", table::notes(results));
    let json = serde_json::json!({ "results": results, "goals": judged });
    let files = [
        ("results.json", serde_json::to_string_pretty(&json)?),
        ("report.html", page::html(results, &judged)),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Results with these rates by round, for tests.
#[cfg(test)]
pub(crate) fn sample_results(cases: &[(&str, usize, [f64; 3])]) -> Results {
    use crate::case;
    let sample = |per_second: f64| Sample {
        figures: load::Figures {
            done: 9,
            per_second,
            seconds: 1.0,
            slots: vec![load::figures::Slot::default(); 20],
            ..load::Figures::default()
        },
        server_cpu_us: 100.0,
        written_bytes: 600.0,
        resident_bytes: 1,
    };
    Results {
        settings: Settings {
            nodes: 3,
            rounds: 3,
            seconds: 1.0,
            lasting: 60.0,
            scale: 0.01,
            has_etcd: cases.iter().any(|(name, ..)| name.starts_with("etcd")),
            has_hiqlite: cases.iter().any(|(name, ..)| *name == case::HIQLITE),
            stack_lacks: None,
            tcp_lacks: None,
            raised: RAISED,
        },
        machine: Machine::now(String::new()),
        upload_bytes: None,
        starts: Starts {
            empty_ms: 100.0,
            full_ms: 200.0,
            idle_bytes: 1,
        },
        syncs: Vec::new(),
        failovers: Vec::new(),
        installs: None,
        scaling: None,
        depth: None,
        cases: cases
            .iter()
            .map(|(name, connections, rates)| Line {
                name: (*name).to_owned(),
                is_ours: !name.contains("etcd"),
                connections: *connections,
                samples: rates.map(sample).to_vec(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_on_the_machine_are_seen() {
        let before = |load: &str| Machine::now(load.to_owned()).is_shared();
        assert!(before("56.21 58.42 49.63 70/555 24690"));
        assert!(!before("0.12 3.00 9.00 1/80 99"));
        assert!(!before(""));
    }
}
