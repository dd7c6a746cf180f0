//! Power cuts: the disk keeps what was synced and nothing else.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use rustix::process::Signal;

use super::atlas::Claim;
use super::process::{Who, choose, names};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::disk::Disk;
use crate::world::node::Node;

/// The file systems are cut off, then the processes killed, a moment apart: in between a node that
/// does not look at what its disk says would go on promising.
struct PowerCut(&'static str, Who);

struct Cut {
    nodes: Vec<Arc<Node>>,
    /// Disks mounted again so far.
    mounted: usize,
    /// Canaries that were lost.
    lost: usize,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for PowerCut {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Power
    }

    fn length_ms(&self) -> (u64, u64) {
        (500, 5_000)
    }

    fn is_possible(&self, abilities: &Abilities, _: usize) -> Result<(), String> {
        abilities.mounts.clone()
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (nodes, claim) = choose(scene, self.1, dice).await?;
        for node in &nodes {
            disk(node)?.cut_power()?;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(150))).await;
        for node in &nodes {
            // One that noticed may have ended by itself.
            if node.is_running() {
                node.signal(Signal::KILL)?;
            }
        }
        Ok(Box::new(Cut {
            nodes,
            mounted: 0,
            lost: 0,
            _claim: claim,
        }))
    }
}

fn disk(node: &Node) -> Result<&Disk> {
    let disk = node.disk.as_ref();
    disk.with_context(|| format!("{} has no disk of its own", node.name))
}

impl Cut {
    async fn mount(&mut self) -> Result<()> {
        for node in &self.nodes[self.mounted..] {
            if node.pid().is_some() {
                node.gone(Duration::from_secs(10)).await?;
            }
            let disk = disk(node)?;
            disk.power_up().await?;
            self.mounted += 1;
            self.lost += usize::from(disk.was_canary_lost());
        }
        Ok(())
    }
}

#[async_trait]
impl Fault for Cut {
    fn targets(&self) -> Vec<String> {
        names(&self.nodes)
    }

    fn detail(&self) -> String {
        "disk cut off, kill -9".into()
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        if let Err(error) = self.mount().await {
            scene.journal.failure(format!("power up: {error:#}"));
            return None;
        }
        let all = self.nodes.len();
        (self.lost == all).then(|| format!("unsynced bytes were lost on {all} disks"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        self.mount().await?;
        for node in &self.nodes {
            node.start(&scene.world)?;
        }
        Ok("power is back".into())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(PowerCut("power-one", Who::One)),
        Arc::new(PowerCut("power-leader", Who::Leader)),
        Arc::new(PowerCut("power-majority", Who::Majority)),
        Arc::new(PowerCut("power-all", Who::All)),
    ]
}
