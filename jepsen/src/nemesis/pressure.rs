//! More clients than usual, and a standard error that nobody reads.
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::atlas::{Claim, LOAD};
use super::journal::Trouble;
use super::process::{Who, choose};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::node::Node;

/// How many times as much is asked.
const TIMES: f64 = 10.0;

struct Overload;

struct Overloaded {
    rate: f64,
    ok_before: u64,
    begun: Instant,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Overload {
    fn name(&self) -> &'static str {
        "overload"
    }

    fn class(&self) -> Class {
        Class::Overload
    }

    fn length_ms(&self) -> (u64, u64) {
        (3_000, 8_000)
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, _: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let claim = scene.atlas.claim(&[LOAD])?;
        let load = scene.load.as_ref();
        let load = load.ok_or_else(|| Refusal::Skip("there is no load".into()))?;
        let rate = load.rate_now();
        if rate <= 0.0 {
            return Err(Refusal::Skip(
                "clients ask as fast as they can already".into(),
            ));
        }
        load.set_rate(rate * TIMES);
        Ok(Box::new(Overloaded {
            rate,
            ok_before: load.ok_count(),
            begun: Instant::now(),
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Overloaded {
    fn targets(&self) -> Vec<String> {
        vec!["clients".into()]
    }

    fn detail(&self) -> String {
        format!("{:.0} operations a second are asked for", self.rate * TIMES)
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let load = scene.load.as_ref()?;
        let count = load.ok_count() - self.ok_before;
        #[allow(
            clippy::cast_precision_loss,
            reason = "counts of seconds are exact as floats"
        )]
        let rate = count as f64 / self.begun.elapsed().as_secs_f64();
        // More was done than before, or less than was asked for: then this is all that there is.
        let is_felt = rate > self.rate * 1.2 || rate < self.rate * TIMES * 0.9;
        (count > 0 && is_felt).then(|| format!("{rate:.0} a second were done"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        let load = scene.load.as_ref().context("there is no load")?;
        load.set_rate(self.rate);
        Ok(format!("{:.0} a second again", self.rate))
    }
}

/// Who hangs for its standard error hangs for as long as nobody reads it; who is only slow, on a
/// machine where fifty others wait for a processor, has answered by then (seed 2007: after 6 s).
const HANGS: Duration = Duration::from_secs(30);

/// A node that logs much into a pipe that is full.
struct BlockedStderr;

struct Blocked {
    node: Arc<Node>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for BlockedStderr {
    fn name(&self) -> &'static str {
        "stderr-blocked"
    }

    fn class(&self) -> Class {
        Class::Stderr
    }

    fn length_ms(&self) -> (u64, u64) {
        (5_000, 12_000)
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (mut nodes, claim) = choose(scene, Who::One, dice).await?;
        let node = nodes.remove(0);
        node.kill().await?;
        node.start_unread(&scene.world)?;
        Ok(Box::new(Blocked {
            node,
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Blocked {
    fn targets(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn detail(&self) -> String {
        "started anew, with a standard error that nobody reads".into()
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let waiting = self.node.unread_bytes()?;
        if !self.node.is_error_stuck() {
            return None;
        }
        // A line waits; now the node must go on all the same.
        let from_ns = scene.journal.now_ns();
        let answers = crate::world::wait::until(HANGS, || async { self.node.status().await.ok() });
        if answers.await.is_none() {
            scene.journal.trouble(Trouble {
                check: "stderr",
                why: format!(
                    "{} hangs because nobody reads its standard error ({waiting} bytes wait)",
                    self.node.name
                ),
                from_ns,
                until_ns: scene.journal.now_ns(),
            });
        }
        Some(format!("a line waits behind {waiting} bytes"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        self.node.kill().await?;
        self.node.start(&scene.world)?;
        Ok("started anew, as usual".into())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![Arc::new(Overload), Arc::new(BlockedStderr)]
}
