//! Proof that faults are faults: what works on this machine, and each fault seen to bite and heal.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::evidence::Begun;
use crate::nemesis::atlas::Atlas;
use crate::nemesis::journal::Journal;
use crate::nemesis::{self, Nemesis, Scene, runner};
use crate::target::Target;
use crate::workload::{self, Load};
use crate::world::abilities::Abilities;
use crate::world::config::Election;
use crate::world::{self, Ground, PATIENCE, World};

/// Operations a second while faults are proven.
const RATE: f64 = 100.0;

/// Prints what works here. Exit code 3 when something is off.
///
/// # Errors
/// Never; what does not work is told.
pub(crate) fn doctor() -> Result<u8> {
    let abilities = Abilities::look(false);
    println!("On this machine:\n{}", abilities.lines().join("\n"));
    println!("Faults:");
    let mut is_complete = true;
    for nemesis in nemesis::all() {
        let (name, class) = (nemesis.name(), nemesis.class().name());
        match nemesis.is_possible(&abilities, 3) {
            Ok(()) => println!("  yes  {name:26} ({class})"),
            Err(why) => {
                is_complete = false;
                println!("  no   {name:26} ({class}): {why}");
            }
        }
    }
    Ok(if is_complete { 0 } else { 3 })
}

/// Options of `jepsen self-test`.
#[derive(Debug, clap::Args)]
pub(crate) struct SelfTest {
    /// Only these faults; all if none is named.
    faults: Vec<String>,
    /// The binary that is broken.
    #[arg(long)]
    yin: PathBuf,
    /// A small clip to publish.
    #[arg(long)]
    clip: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where logs go.
    #[arg(long, default_value = "data/jepsen/self-test")]
    out: PathBuf,
    /// No namespaces, no mounts: plain processes on loopback.
    #[arg(long)]
    without_root: bool,
}

impl SelfTest {
    /// Gives the exit code: 0 all bite and heal, 3 one does not, 2 some are off here.
    ///
    /// # Errors
    /// When no cluster can be started.
    pub(crate) fn run(self) -> Result<u8> {
        let kinds = self.kinds()?;
        let yin = std::fs::canonicalize(&self.yin)
            .with_context(|| format!("there is no binary {}", self.yin.display()))?;
        let ground = Ground::prepare(self.seed, 3, self.without_root)?;
        std::fs::create_dir_all(&self.out).context("making the output folder")?;
        let options = world::Options {
            yin,
            nodes: 3,
            out: std::fs::canonicalize(&self.out).context("finding the output folder")?,
            election: Election::Normal,
            has_clocks: true,
        };
        crate::runtime()?.block_on(async {
            let scene = self.scene(ground, options).await?;
            Ok(self.each(&scene, &kinds).await)
        })
    }

    /// A cluster under some load.
    async fn scene(&self, ground: Ground, options: world::Options) -> Result<Scene> {
        let begun = Begun::now();
        let journal = Journal::new(&options.out, begun)?;
        let world = World::start(ground, options, begun).await?;
        let nodes = world.nodes();
        let nodes = nodes.iter().map(|node| (node.name.clone(), node.url()));
        let clip = std::fs::read(&self.clip)
            .with_context(|| format!("reading the clip {}", self.clip.display()))?;
        let options = workload::Options {
            seed: self.seed,
            clients: 2,
            rate: RATE,
            clip,
            only: Vec::new(),
        };
        let load = Load::start(Target::new(nodes.collect())?, options, begun).await?;
        Ok(Scene {
            world,
            atlas: Atlas::default(),
            load: Some(Arc::new(load)),
            journal,
        })
    }

    fn kinds(&self) -> Result<Vec<Arc<dyn Nemesis>>> {
        if self.faults.is_empty() {
            return Ok(nemesis::all());
        }
        let named = self
            .faults
            .iter()
            .map(|name| nemesis::named(name).with_context(|| format!("no fault is called {name}")));
        named.collect()
    }

    async fn each(&self, scene: &Scene, kinds: &[Arc<dyn Nemesis>]) -> u8 {
        let mut code = 0;
        for nemesis in kinds {
            let name = nemesis.name();
            if let Err(why) = nemesis.is_possible(&scene.world.abilities, 3) {
                println!("off     {name}: {why}");
                code = code.max(2);
                continue;
            }
            match self.one(scene, &**nemesis).await {
                Ok(proof) => println!(
                    "bites   {name}: {}; {}; {}",
                    proof.done, proof.bit, proof.healed
                ),
                Err(error) => {
                    println!("FAILED  {name}: {error:#}");
                    code = 3;
                }
            }
        }
        code
    }

    async fn one(&self, scene: &Scene, nemesis: &dyn Nemesis) -> Result<runner::Proof> {
        let troubles_before = scene.journal.troubles().len();
        let proof = runner::prove(scene, nemesis, self.seed).await?;
        for node in scene.world.nodes() {
            let ready = node.ready(PATIENCE).await;
            ready.context("it did not heal")?;
        }
        let load = scene.load.as_ref().context("there is no load")?;
        let before = scene.journal.now_ns();
        let written = world::wait::until(Duration::from_secs(10), || async {
            (load.last_ok_ns(true) > before).then_some(())
        });
        if written.await.is_none() {
            bail!("it did not heal: no write succeeds");
        }
        let troubles = scene.journal.troubles().len() - troubles_before;
        if troubles > 0 {
            bail!("it found {troubles} broken promises, see above");
        }
        Ok(proof)
    }
}
