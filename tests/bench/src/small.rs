//! A cluster of its own with a little data, for what the large one cannot tell.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use load::{Api, Pace, Plan, Progress, Scenario, Sizes, Until, World};

use crate::Run;
use crate::case::USUAL;
use crate::cluster::Cluster;
use crate::meter::Disk;
use crate::sample::{Sample, measure};

const SIZES: Sizes = Sizes {
    users: 2 * USUAL,
    videos: 20,
    likes: 500,
    follows: 500,
};

/// A cluster, and what it is asked.
pub(crate) struct Small {
    cluster: Cluster,
    api: Api,
    disk: Disk,
}

impl Small {
    /// Starts `nodes` nodes in `dir`, which is made, and loads data.
    pub(crate) fn start(
        yin: &Path,
        dir: &Path,
        logs: &Path,
        nodes: usize,
        scenario: Scenario,
    ) -> Result<Self> {
        for folder in [dir, logs] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        let mut cluster = Cluster::start(yin, dir, logs, nodes)?;
        let places = cluster.nodes();
        let world = World::load(&places, USUAL, SIZES, "scale", load::CLIP.into(), &Silent);
        let world = world.context("loading data")?;
        cluster.go_into_production()?;
        let disk = Disk::of(dir)?;
        let api = Api {
            nodes: places,
            world,
            scenario,
        };
        Ok(Self { cluster, api, disk })
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Measures once, with the usual number of connections, and tells it as `name`'s.
    pub(crate) fn sample(&self, run: &Run, round: usize, name: &str) -> Result<Sample> {
        let plan = Plan {
            connections: USUAL,
            pace: Pace::Closed,
            until: Until::Time(Duration::from_secs_f64(run.seconds)),
            warm_up: Duration::from_secs_f64(run.seconds / 5.0),
            threads: 1,
            seed: round as u64,
        };
        let sample = measure(&self.cluster.pids(), self.disk, &plan, &self.api)?;
        let figures = &sample.figures;
        eprintln!(
            "{name}, round {round}: {:.0}/s, {:.0} µs of the servers, {} errors",
            figures.per_second,
            sample.server_cpu_us,
            figures.error_count()
        );
        self.cluster.forget_logs()?;
        Ok(sample)
    }
}

/// Little is loaded here.
struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64, _: &Arc<AtomicU64>) {}
}
