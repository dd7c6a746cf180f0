//! `jepsen run`: drives and judges a cluster that is already there. It injects no faults itself:
//! kill, pause and cut what you like meanwhile.
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use checkers::verdict::Verdict;

use crate::evidence::{Begun, Judged};
use crate::target::Target;
use crate::workload;

/// How long nodes that do not answer are asked again in the end.
const LAST_READS_MAX: Duration = Duration::from_secs(30);

/// Options of `jepsen run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Base URL of a node; give each node of the cluster.
    #[arg(long = "node", required = true)]
    nodes: Vec<String>,
    /// How long to drive it.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Clients of each workload.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Operations per second over all workloads; 0: as fast as the clients can.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Only these workloads; all if none is named.
    #[arg(long)]
    only: Vec<String>,
    /// What the clients do follows from this; the same seed asks the same.
    #[arg(long)]
    seed: Option<u64>,
    /// A small clip to publish.
    #[arg(long)]
    clip: PathBuf,
    /// Where histories and verdict are written.
    #[arg(long, default_value = "data/jepsen")]
    out: PathBuf,
}

impl Run {
    /// Gives the exit code.
    ///
    /// # Errors
    /// When the harness fails; that is no verdict.
    pub(crate) async fn run(&self) -> Result<u8> {
        if self.clients == 0 || self.seconds == 0 {
            bail!("need at least one client and one second");
        }
        let seed = self.seed.unwrap_or_else(crate::chosen_seed);
        println!("seed {seed}");
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("making {}", self.out.display()))?;
        let clip = std::fs::read(&self.clip)
            .with_context(|| format!("reading the clip {}", self.clip.display()))?;
        let nodes = self.nodes.iter().map(|url| (url.clone(), url.clone()));
        let target = Target::new(nodes.collect())?;
        let options = workload::Options {
            seed,
            clients: self.clients,
            rate: self.rate,
            clip,
            only: self.only.clone(),
        };
        let load = workload::Load::start(target, options, Begun::now()).await?;
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let histories = load.finish(LAST_READS_MAX).await;
        workload::write(&self.out, &histories)?;
        self.report(seed, &workload::judge(&histories))
    }

    fn report(&self, seed: u64, judged: &[Judged]) -> Result<u8> {
        let verdict = serde_json::json!({ "seed": seed, "nodes": self.nodes, "workloads": judged });
        let verdict = serde_json::to_vec_pretty(&verdict)?;
        std::fs::write(self.out.join("verdict.json"), verdict).context("writing the verdict")?;
        let mut overall = Verdict::Valid;
        for one in judged {
            println!(
                "{:10} {:6} ok {:5} failed {:5} unknown  {:?}",
                one.workload, one.ok, one.failed, one.unknown, one.verdict
            );
            overall = overall.and(one.verdict.clone());
        }
        println!("histories and verdict: {}", self.out.display());
        Ok(crate::exit_code(&overall))
    }
}
