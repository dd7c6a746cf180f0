//! More nodes: do reads grow with them, and what do they cost the writes?
//!
//! Each node is held to a share of a processor, so that one machine can be several. For the writes
//! nodes beyond the third are learners.
use std::path::Path;

use anyhow::{Context, Result};
use load::Scenario;
use serde::Serialize;

use crate::Run;
use crate::cgroup::Cgroup;
use crate::sample::Sample;
use crate::small::Small;

/// Of a processor for a node: seven that serve as many reads as that allows them, and the clients,
/// fit on two.
pub(crate) const READ_CORES: f64 = 0.15;
/// As [`READ_CORES`]; clients of writes have less to do.
pub(crate) const LIKE_CORES: f64 = 0.2;
const READS: [usize; 5] = [1, 2, 3, 5, 7];
const LIKES: [usize; 5] = [3, 4, 5, 6, 7];

/// One number of nodes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) nodes: usize,
    pub(crate) samples: Vec<Sample>,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Scaling {
    pub(crate) reads: Vec<Point>,
    pub(crate) likes: Vec<Point>,
    /// Why something is missing.
    pub(crate) missing: Option<String>,
}

impl Scaling {
    /// Starts clusters of several sizes, one after the other, in `dir`. What goes wrong is told and
    /// noted: the rest of the run is worth keeping.
    pub(crate) fn measure(run: &Run, yin: &Path, dir: &Path, logs: &Path) -> Self {
        let mut scaling = Self::default();
        let measured = Cgroup::new("probe", LIKE_CORES).and_then(|_| {
            for nodes in READS {
                let point = point(run, yin, dir, logs, nodes, Scenario::Read)?;
                scaling.reads.push(point);
            }
            for nodes in LIKES {
                let point = point(run, yin, dir, logs, nodes, Scenario::Like)?;
                scaling.likes.push(point);
            }
            Ok(())
        });
        if let Err(error) = measured {
            eprintln!("other sizes: {error:#}");
            let why = format!("{error:#}");
            scaling.missing = Some(why.lines().take(1).collect());
        }
        scaling
    }
}

fn point(
    run: &Run,
    yin: &Path,
    dir: &Path,
    logs: &Path,
    nodes: usize,
    scenario: Scenario,
) -> Result<Point> {
    let dir = dir.join(format!("{}-{nodes}", scenario.name()));
    // Dropped after the cluster: a group with a process in it stays.
    let mut groups = Vec::new();
    let small = Small::start(yin, &dir, logs, nodes, scenario)?;
    let cores = if scenario == Scenario::Read {
        READ_CORES
    } else {
        LIKE_CORES
    };
    for (number, pid) in small.cluster().pids().into_iter().enumerate() {
        let group = Cgroup::new(&number.to_string(), cores)?;
        group.take_in(pid)?;
        groups.push(group);
    }
    let name = format!("{} at {nodes} nodes", scenario.name());
    let samples = (1..=run.rounds)
        .map(|round| small.sample(run, round, &name))
        .collect::<Result<Vec<_>>>()?;
    drop(small);
    std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    Ok(Point { nodes, samples })
}
