//! `jepsen chaos`: starts a cluster, breaks it on a seeded schedule under load, heals it, reads all
//! back, and judges.
mod converge;
mod judgement;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch as tell;
use tokio::task::JoinSet;

use crate::evidence::{Begun, Evidence, Phase};
use crate::nemesis::atlas::Atlas;
use crate::nemesis::journal::{Journal, Trouble};
use crate::nemesis::runner::{RECOVER_WITHIN, Runner};
use crate::nemesis::{self, Nemesis, Scene};
use crate::schedule::{self, Kind, Planned};
use crate::target::Target;
use crate::workload::{self, Load};
use crate::world::config::Election;
use crate::world::stall::Probe;
use crate::world::{self, Ground, World, admin, wait};
use watch::Watch;

/// Last reads of everything from every node.
const LAST_READS_MAX: Duration = Duration::from_secs(60);
/// Faults end within this once they have to.
const END_WITHIN: Duration = Duration::from_secs(240);

/// Options of `jepsen chaos`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Chaos {
    /// The binary under test.
    #[arg(long)]
    pub(crate) yin: PathBuf,
    /// Decides what is done and when; chosen and printed when not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How long the cluster is broken under load; start and end come on top.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,
    /// Which kinds of faults, by name: all, none, kill, partition, links, power, …; several with
    /// commas.
    #[arg(long, default_value = "all", value_delimiter = ',')]
    pub(crate) profile: Vec<String>,
    /// Only these faults, by name (`jepsen doctor` lists them), instead of a profile.
    #[arg(long, value_delimiter = ',')]
    pub(crate) nemesis: Vec<String>,
    /// Operations per second over all workloads; 0: as fast as the clients can.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Clients of each workload.
    #[arg(long, default_value_t = 3)]
    pub(crate) clients: usize,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// A small clip to publish.
    #[arg(long)]
    pub(crate) clip: PathBuf,
    /// Where evidence and report are written, in a folder of this run's own.
    #[arg(long, default_value = "data/jepsen")]
    pub(crate) out: PathBuf,
    /// No namespaces, no mounts: plain processes on loopback.
    #[arg(long)]
    pub(crate) without_root: bool,
    /// How quickly a lost leader is replaced.
    #[arg(long, value_enum, default_value_t = Election::Normal)]
    pub(crate) election: Election,
    /// Repeats the faults of an earlier run's `schedule.json`, instead of planning by the seed.
    #[arg(long)]
    pub(crate) replay_schedule: Option<PathBuf>,
}

/// What faults there are in this run, and which are off.
struct Faults {
    kinds: Vec<Arc<dyn Nemesis>>,
    off: std::collections::BTreeMap<String, String>,
    planned: Vec<Planned>,
}

/// A run under way.
struct Running {
    chaos: Chaos,
    seed: u64,
    dir: PathBuf,
    begun: Begun,
    world: Arc<World>,
    journal: Journal,
    phases: Vec<Phase>,
    faults: Faults,
    probe: Probe,
}

impl Chaos {
    /// Call it on the main thread before any other exists. Gives the exit code.
    ///
    /// # Errors
    /// When the harness fails; that is no verdict.
    pub(crate) fn run(mut self) -> Result<u8> {
        let seed = self.seed.unwrap_or_else(crate::chosen_seed);
        self.yin = std::fs::canonicalize(&self.yin)
            .with_context(|| format!("there is no binary {}", self.yin.display()))?;
        let ground = Ground::prepare(seed, self.nodes.into(), self.without_root)?;
        println!("seed {seed}");
        let faults = self.faults(seed, &ground)?;
        crate::runtime()?.block_on(async {
            tokio::select! {
                ran = self.in_order(seed, ground, faults) => ran,
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        })
    }

    /// Which faults, as asked for and as possible here.
    fn faults(&self, seed: u64, ground: &Ground) -> Result<Faults> {
        let mut wanted: Vec<Arc<dyn Nemesis>> = Vec::new();
        if self.nemesis.is_empty() {
            for profile in &self.profile {
                let kinds = nemesis::of_profile(profile).with_context(|| {
                    let all = nemesis::PROFILES.join(", ");
                    format!("no profile is called {profile}; there are {all}")
                })?;
                wanted.extend(kinds);
            }
        }
        for name in &self.nemesis {
            let kind = nemesis::named(name);
            wanted.push(kind.with_context(|| format!("no fault is called {name}"))?);
        }
        let mut off = std::collections::BTreeMap::new();
        let mut kinds = Vec::new();
        for kind in wanted {
            match kind.is_possible(&ground.abilities, self.nodes.into()) {
                Ok(()) => kinds.push(kind),
                Err(why) => {
                    println!("off        {}: {why}", kind.name());
                    off.insert(kind.name().to_owned(), why);
                }
            }
        }
        let planned = match &self.replay_schedule {
            None => schedule::plan(seed, self.seconds, &for_schedule(&kinds)),
            Some(path) => {
                let text =
                    std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                serde_json::from_slice(&text)
                    .with_context(|| format!("understanding {}", path.display()))?
            }
        };
        Ok(Faults {
            kinds,
            off,
            planned,
        })
    }

    async fn in_order(self, seed: u64, ground: Ground, faults: Faults) -> Result<u8> {
        let dir = self.out.join(format!("{}-{seed}", self.profile_name()));
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = std::fs::canonicalize(&dir).context("finding the output folder")?;
        let clip = std::fs::read(&self.clip)
            .with_context(|| format!("reading the clip {}", self.clip.display()))?;
        let begun = Begun::now();
        let journal = Journal::new(&dir, begun)?;
        let plan = serde_json::to_vec_pretty(&faults.planned)?;
        std::fs::write(dir.join("schedule.json"), plan).context("writing schedule.json")?;
        let has_clocks = faults
            .kinds
            .iter()
            .any(|kind| kind.class() == nemesis::Class::Clock);
        let options = world::Options {
            yin: self.yin.clone(),
            nodes: self.nodes.into(),
            out: dir.clone(),
            election: self.election,
            has_clocks,
        };
        let world = World::start(ground, options, begun).await?;
        let mut running = Running {
            chaos: self,
            seed,
            dir,
            begun,
            world,
            journal,
            phases: Vec::new(),
            faults,
            probe: Probe::start(begun),
        };
        running.phase("setup");
        let evidence = running.go(clip).await?;
        running.leave_behind(evidence)
    }

    fn profile_name(&self) -> String {
        if self.nemesis.is_empty() {
            self.profile.join("+")
        } else {
            self.nemesis.join("+")
        }
    }
}

fn for_schedule(kinds: &[Arc<dyn Nemesis>]) -> Vec<Kind> {
    let kinds = kinds.iter().map(|kind| Kind {
        name: kind.name(),
        class: kind.class().name(),
        length_ms: kind.length_ms(),
    });
    kinds.collect()
}

impl Running {
    /// The phase that now ends is called `name`; the next begins.
    fn phase(&mut self, name: &str) {
        let from_ns = self.phases.last().map_or(0, |last| last.until_ns);
        let until_ns = self.begun.elapsed_ns();
        let took = Duration::from_nanos(until_ns - from_ns);
        println!("phase      {name} took {:.1} s", took.as_secs_f64());
        self.phases.push(Phase {
            name: name.to_owned(),
            from_ns,
            until_ns,
        });
    }

    async fn go(&mut self, clip: Vec<u8>) -> Result<Evidence> {
        let nodes = self.world.nodes();
        let targets = nodes.iter().map(|node| (node.name.clone(), node.url()));
        let target = Target::new(targets.collect())?;
        let options = workload::Options {
            seed: self.seed,
            clients: self.chaos.clients,
            rate: self.chaos.rate,
            clip,
            only: self.chaos.only.clone(),
        };
        let load = Arc::new(Load::start(target, options, self.begun).await?);
        let scene = Scene {
            world: self.world.clone(),
            atlas: Atlas::default(),
            load: Some(load.clone()),
            journal: self.journal.clone(),
        };
        let watch = Watch::start(
            self.world.clone(),
            scene.atlas.clone(),
            self.journal.clone(),
        );
        tokio::time::sleep(Duration::from_millis(schedule::QUIET_MS)).await;
        self.phase("quiet");
        self.break_it(&scene).await?;
        self.phase("main");
        self.heal(&load).await;
        self.phase("heal");
        load.stop().await;
        let stall_max_ms = self.stall_max_ms();
        let main_ns = self.phases.last().map_or(0, |phase| phase.from_ns);
        let stalled_ms = self.probe.worst_ms(main_ns, self.begun.elapsed_ns());
        let found = converge::judge(&self.world, stalled_ms, stall_max_ms).await;
        self.phase("converge");
        drop(scene);
        let load = Arc::into_inner(load).context("a fault still holds the load")?;
        let histories = load.finish(LAST_READS_MAX).await;
        self.phase("final");
        let samples = watch.end();
        self.evidence(histories, samples, found).await
    }

    /// Runs the plan; returns when all faults have ended.
    async fn break_it(&self, scene: &Scene) -> Result<()> {
        let (end, is_ending) = tell::channel(false);
        let runner = Runner {
            scene: scene.clone(),
            is_ending,
        };
        let start = tokio::time::Instant::now();
        let mut faults = JoinSet::new();
        for (id, planned) in self.faults.planned.iter().cloned().enumerate() {
            let nemesis = nemesis::named(&planned.fault)
                .with_context(|| format!("no fault is called {}", planned.fault))?;
            tokio::time::sleep_until(start + Duration::from_millis(planned.at_ms)).await;
            let runner = runner.clone();
            faults.spawn(async move { runner.run(id, &*nemesis, &planned).await });
        }
        tokio::time::sleep_until(start + Duration::from_secs(self.chaos.seconds)).await;
        end.send_replace(true);
        drop(runner);
        let all = async {
            while let Some(ended) = faults.join_next().await {
                ended.context("a fault panicked")?;
            }
            Ok(())
        };
        tokio::time::timeout(END_WITHIN, all)
            .await
            .context("faults do not end")?
    }

    /// Makes sure that nothing is broken any more, and that writes succeed soon after.
    async fn heal(&self, load: &Load) {
        if let Some(network) = self.world.net.router() {
            network.heal();
        }
        for node in self.world.nodes() {
            if !node.is_running()
                && let Err(error) = node.start(&self.world)
            {
                self.journal.failure(format!("{error:#}"));
            }
        }
        let healed_ns = self.begun.elapsed_ns();
        let written = wait::until(RECOVER_WITHIN, || async {
            (load.last_ok_ns(true) > healed_ns).then_some(())
        });
        if written.await.is_none() {
            self.journal.trouble(Trouble {
                check: "liveness",
                why: format!("all is healed, and no write succeeded for {RECOVER_WITHIN:?}"),
                from_ns: healed_ns,
                until_ns: self.begun.elapsed_ns(),
            });
        }
    }

    /// A stall longer than this excuses an election.
    fn stall_max_ms(&self) -> u64 {
        let (_, shortest, _) = self.chaos.election.timing_ms();
        shortest / 2
    }

    /// The command that repeats this run.
    fn command(&self) -> String {
        let chaos = &self.chaos;
        let mut words = vec![
            "jepsen chaos".to_owned(),
            format!("--yin {}", chaos.yin.display()),
            format!("--seed {}", self.seed),
            format!("--seconds {}", chaos.seconds),
            format!("--nodes {}", chaos.nodes),
        ];
        if chaos.nemesis.is_empty() {
            words.push(format!("--profile {}", chaos.profile.join(",")));
        } else {
            words.push(format!("--nemesis {}", chaos.nemesis.join(",")));
        }
        if !chaos.only.is_empty() {
            words.push(format!("--only {}", chaos.only.join(",")));
        }
        words.push(format!("--rate {}", chaos.rate));
        words.push(format!("--clients {}", chaos.clients));
        words.push(format!("--clip {}", chaos.clip.display()));
        if chaos.without_root {
            words.push("--without-root".into());
        }
        words.join(" ")
    }

    /// Writes everything, prints the summary, gives the exit code.
    fn leave_behind(&self, evidence: Evidence) -> Result<u8> {
        workload::write(&self.dir, &evidence.histories)?;
        crate::report::save(&self.dir, &evidence)?;
        crate::report::write(&self.dir, &evidence)?;
        println!("\n{}", crate::report::summary(&evidence));
        println!("report     {}", self.dir.join("report.html").display());
        if !self.journal.failures().is_empty() {
            bail!("the harness failed: {}", self.journal.failures().join("; "));
        }
        Ok(crate::exit_code(&evidence.judgement.overall))
    }

    async fn version(&self) -> Result<String> {
        admin::version(&self.chaos.yin).await
    }
}
