//! Everything is measured in turn, and that several times: what disturbs the machine disturbs all
//! cases alike.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use load::figures::per_operation_us;
use load::{Api, Figures, Moment, Plan, Sizes, Until, World, drive};

use crate::Run;
use crate::case::{self, Case, Target};
use crate::cluster::{Cluster, RAISED};
use crate::meter::{Disk, Usage};
use crate::process::log_folder;
use crate::progress::Bars;
use crate::table;
use crate::yardstick::Site;

/// Loading waits for the disk more than it works.
const LOAD_CONNECTIONS: usize = 64;
/// Enough names for logins that do not meet.
const LOGIN_NAMES: usize = 64;

/// One measurement of one case.
pub(crate) struct Sample {
    pub(crate) figures: Figures,
    /// Processor time of the servers per operation.
    pub(crate) server_cpu_us: f64,
    pub(crate) written_bytes: f64,
    pub(crate) resident_bytes: u64,
}

/// All servers, and what was put into them.
struct Stage {
    cluster: Cluster,
    world: Arc<World>,
    web: Site,
    append: Site,
    disk: Disk,
}

/// Starts, loads, measures and prints.
pub(crate) fn run(run: &Run) -> Result<()> {
    let unknown = case::unknown(&run.only);
    ensure!(
        unknown.is_empty(),
        "nothing is called {}",
        unknown.join(", ")
    );
    let dir = run.dir.join("run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let logs = log_folder(&dir)?;
    let done = Stage::set(run, &dir, &logs).and_then(|stage| measure(run, &stage));
    if done.is_ok() {
        for folder in [&dir, &logs] {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
    }
    let samples = done?;
    println!("{}", table::cases(&case::cases(run), &samples));
    Ok(())
}

fn measure(run: &Run, stage: &Stage) -> Result<Vec<Vec<Sample>>> {
    let cases = case::cases(run);
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 1..=run.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            eprintln!(
                "round {round} of {}: {} at {} connections",
                run.rounds,
                case.scenario.name(),
                case.connections
            );
            samples.push(stage.sample(case, run.seconds, round)?);
            stage.cluster.forget_logs()?;
        }
    }
    Ok(samples)
}

impl Stage {
    fn set(run: &Run, dir: &Path, logs: &Path) -> Result<Self> {
        let yin = run.yin.canonicalize();
        let yin = yin.with_context(|| format!("no binary at {}", run.yin.display()))?;
        let clip = std::fs::read(&run.clip)
            .with_context(|| format!("reading the clip {}", run.clip.display()))?;
        let sizes = sizes(run.scale);
        eprintln!("{} nodes of {}; raised: {RAISED}", run.nodes, yin.display());
        let mut cluster = Cluster::start(&yin, dir, logs, run.nodes)?;
        let (nodes, bars) = (cluster.nodes(), Bars::default());
        let prefix = prefix()?;
        let world = World::load(&nodes, LOAD_CONNECTIONS, sizes, &prefix, clip.into(), &bars);
        bars.end();
        let mut world = world.context("loading data")?;
        cluster.go_into_production()?;
        let alone = Arc::get_mut(&mut world).context("nobody else has the world yet")?;
        alone
            .enrol(&nodes, LOGIN_NAMES)
            .context("registering users for logins")?;
        Ok(Self {
            cluster,
            world,
            web: Site::web(logs)?,
            append: Site::append(dir, logs)?,
            disk: Disk::of(dir)?,
        })
    }

    fn sample(&self, case: &Case, seconds: f64, round: usize) -> Result<Sample> {
        let (nodes, pids) = match case.target {
            Target::Cluster => (self.cluster.nodes(), self.cluster.pids()),
            Target::Web => (self.web.nodes.clone(), self.web.pids()),
            Target::Append => (self.append.nodes.clone(), self.append.pids()),
        };
        let work = Api {
            nodes,
            world: Arc::clone(&self.world),
            scenario: case.scenario,
        };
        let plan = Plan {
            connections: case.connections,
            pace: case.pace,
            until: Until::Time(Duration::from_secs_f64(seconds)),
            warm_up: Duration::from_secs_f64(seconds / 5.0),
            threads: 1,
            seed: round as u64,
        };
        let (mut before, mut used) = (Usage::default(), Usage::default());
        let figures = drive(&plan, &work, &mut |moment| {
            let now = Usage::of(&pids, self.disk);
            match moment {
                Moment::Begin => before = now,
                Moment::End => used = now.since(before),
            }
        });
        let figures = figures.with_context(|| format!("measuring {}", case.scenario.name()))?;
        Ok(Sample {
            server_cpu_us: per_operation_us(used.cpu, figures.done),
            written_bytes: used.written_bytes as f64 / figures.done.max(1) as f64,
            resident_bytes: used.resident_bytes,
            figures,
        })
    }
}

/// The full size is 10 k users, 50 k videos, 1 M likes, 500 k follows; never so small that the
/// feed's page or the pairs run out.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a factor times a count: rounding is fine"
)]
fn sizes(scale: f64) -> Sizes {
    let scaled = |full: f64| (full * scale) as usize;
    Sizes {
        users: scaled(10_000.0).max(100),
        videos: scaled(50_000.0).max(60),
        likes: scaled(1_000_000.0) as u64,
        follows: scaled(500_000.0) as u64,
    }
}

/// So that a second run on the same servers finds no names taken.
fn prefix() -> Result<String> {
    let chance = getrandom::u32().context("the system gives no randomness")?;
    Ok(format!("b{chance:08x}"))
}
