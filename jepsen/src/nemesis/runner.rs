//! One fault from installing to recovery, written down step by step.
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::journal::{Journal, Trouble};
use super::{Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::evidence::{FaultEvent, FaultStep};
use crate::schedule::Planned;
use crate::world::wait;

/// After a fault has ended and nothing else is broken, a write has to succeed within this.
pub(crate) const RECOVER_WITHIN: Duration = Duration::from_secs(10);
/// What cannot be installed within this is skipped.
const INSTALL_WITHIN: Duration = Duration::from_secs(8);
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Longer than any restart or rejoin; a fault that cannot be healed is the harness' failure.
const HEAL_WITHIN: Duration = Duration::from_secs(180);

/// Runs planned faults.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) scene: Scene,
    /// True once faults have to end.
    pub(crate) is_ending: watch::Receiver<bool>,
}

/// What does not change over the steps of one fault.
struct Steps<'a> {
    journal: &'a Journal,
    id: usize,
    fault: &'static str,
    targets: Vec<String>,
}

impl Steps<'_> {
    fn note(&self, time_ns: u64, step: FaultStep, detail: String) {
        self.journal.note(FaultEvent {
            time_ns,
            id: self.id,
            fault: self.fault.to_owned(),
            step,
            targets: self.targets.clone(),
            detail,
        });
    }
}

impl Runner {
    /// Installs it, waits for its length, looks whether it bit, heals it, and sees how long the
    /// cluster takes to write again.
    pub(crate) async fn run(mut self, id: usize, nemesis: &dyn Nemesis, planned: &Planned) {
        let journal = self.scene.journal.clone();
        let mut steps = Steps {
            journal: &journal,
            id,
            fault: nemesis.name(),
            targets: Vec::new(),
        };
        let mut fault = match self.install(nemesis, planned).await {
            Ok(fault) => fault,
            Err(Refusal::Skip(why)) => {
                return steps.note(journal.now_ns(), FaultStep::Skipped, why);
            }
            Err(Refusal::Failed(error)) => {
                journal.failure(format!("installing {}: {error:#}", nemesis.name()));
                return steps.note(journal.now_ns(), FaultStep::Skipped, format!("{error:#}"));
            }
        };
        steps.targets = fault.targets();
        steps.note(journal.now_ns(), FaultStep::Installed, fault.detail());
        self.wait(Duration::from_millis(planned.length_ms)).await;
        if let Some(how) = fault.bite(&self.scene).await {
            steps.note(journal.now_ns(), FaultStep::Bit, how);
        }
        let healed = tokio::time::timeout(HEAL_WITHIN, fault.heal(&self.scene)).await;
        let healed_ns = journal.now_ns();
        let detail = match healed {
            Ok(Ok(detail)) => detail,
            Ok(Err(error)) => self.not_healed(nemesis.name(), &error),
            Err(_) => self.not_healed(nemesis.name(), &anyhow::anyhow!("it takes too long")),
        };
        drop(fault);
        let detail = match self.recovered(healed_ns).await {
            Some(after) => format!("{detail}; first write {} ms later", after.as_millis()),
            None => detail,
        };
        steps.note(healed_ns, FaultStep::Healed, detail);
    }

    /// Tries again for a while when it makes no sense at once: most often because another fault
    /// is at the same node.
    async fn install(
        &mut self,
        nemesis: &dyn Nemesis,
        planned: &Planned,
    ) -> Result<Box<dyn Fault>, Refusal> {
        let until = tokio::time::Instant::now() + INSTALL_WITHIN;
        loop {
            // The same dice each time: what is chosen follows from the plan alone.
            let mut dice = Dice::new(planned.roll);
            let refusal = match nemesis.install(&self.scene, &mut dice).await {
                Err(Refusal::Skip(why)) => Refusal::Skip(why),
                installed_or_failed => return installed_or_failed,
            };
            if tokio::time::Instant::now() >= until || *self.is_ending.borrow() {
                return Err(refusal);
            }
            self.wait(TRY_AGAIN_AFTER).await;
        }
    }

    fn not_healed(&self, fault: &str, error: &anyhow::Error) -> String {
        self.scene
            .journal
            .failure(format!("healing {fault}: {error:#}"));
        format!("not healed: {error:#}")
    }

    /// Until the time is over, or faults have to end.
    async fn wait(&mut self, length: Duration) {
        let ending = self.is_ending.wait_for(|is_ending| *is_ending);
        // Both ends of the wait are good ones.
        drop(tokio::time::timeout(length, ending).await);
    }

    /// How long the first write took to succeed after `healed_ns`. When nothing else was broken
    /// meanwhile and there was none, that is a broken promise.
    async fn recovered(&self, healed_ns: u64) -> Option<Duration> {
        let load = self.scene.load.as_ref()?;
        let mut is_quiet = self.scene.atlas.is_quiet();
        let first = wait::until(RECOVER_WITHIN, || {
            is_quiet &= self.scene.atlas.is_quiet();
            let last = load.last_ok_ns(true);
            async move { (last > healed_ns).then_some(last) }
        });
        if let Some(first) = first.await {
            return Some(Duration::from_nanos(first - healed_ns));
        }
        if is_quiet && !*self.is_ending.borrow() {
            self.scene.journal.trouble(Trouble {
                check: "liveness",
                why: format!(
                    "nothing was broken any more, and no write succeeded for {RECOVER_WITHIN:?}"
                ),
                from_ns: healed_ns,
                until_ns: self.scene.journal.now_ns(),
            });
        }
        None
    }
}

/// Runs one fault alone: it has to bite, and healing has to heal.
///
/// # Errors
/// When it does not.
pub(crate) async fn prove(scene: &Scene, nemesis: &dyn Nemesis, seed: u64) -> Result<Proof> {
    let mut dice = Dice::named(seed, nemesis.name());
    let mut fault = match nemesis.install(scene, &mut dice).await {
        Ok(fault) => fault,
        Err(Refusal::Skip(why)) => anyhow::bail!("not installed: {why}"),
        Err(Refusal::Failed(error)) => return Err(error.context("installing")),
    };
    let (shortest, _) = nemesis.length_ms();
    tokio::time::sleep(Duration::from_millis(shortest.max(2_000))).await;
    let (targets, detail) = (fault.targets().join(","), fault.detail());
    let bit = fault.bite(scene).await;
    let healed = fault.heal(scene).await?;
    Ok(Proof {
        done: format!("{targets}: {detail}"),
        bit: bit.ok_or_else(|| anyhow::anyhow!("it did not bite ({targets}: {detail})"))?,
        healed,
    })
}

/// That a fault bites, in words.
pub(crate) struct Proof {
    pub(crate) done: String,
    pub(crate) bit: String,
    pub(crate) healed: String,
}
