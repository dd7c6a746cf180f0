//! Wall clocks that jump, tremble and drift. The monotonic clock stays: it is the kernel's.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::atlas::Claim;
use super::process::{Who, choose, names};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::admin;
use crate::world::node::Node;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Jump,
    /// There and back several times a second.
    Strobe,
    Drift,
}

struct Clocks(&'static str, Kind, Who);

struct Off {
    nodes: Vec<Arc<Node>>,
    detail: String,
    /// What gossip should show; `None`: too little for that.
    seen_ms: Option<i64>,
    strobe: Option<tokio::task::JoinHandle<()>>,
    _claim: Claim,
}

/// Smallest jump.
const JUMP_MS_MIN: u64 = 4;
/// Largest jump of one clock: beyond the hour for which requests are remembered.
const JUMP_MS_MAX: u64 = JUMP_MS_MIN << 21;
/// Largest jump of a majority's clocks: what they say is the time, and no cluster can know better.
const MAJORITY_MS_MAX: u64 = JUMP_MS_MIN << 16;
/// How old the time is that gossip tells, at most.
const GOSSIP_MS: i64 = 3_000;
/// Smaller jumps cannot be told from the age of gossip.
const SEEN_FROM_MS: u64 = 4_000;

#[async_trait]
impl Nemesis for Clocks {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Clock
    }

    fn length_ms(&self) -> (u64, u64) {
        (2_000, 10_000)
    }

    fn is_possible(&self, abilities: &Abilities, _: usize) -> Result<(), String> {
        abilities.clocks.clone()
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (nodes, claim) = choose(scene, self.2, dice).await?;
        let jump_ms = jump_ms(dice, self.2);
        let mut strobe = None;
        let (detail, is_seen) = match self.1 {
            Kind::Jump => {
                set(&nodes, jump_ms * 1_000_000, 0)?;
                (format!("{jump_ms:+} ms"), true)
            }
            Kind::Drift => {
                let rate_ppm = i64::try_from(dice.between(500, 100_000)).context("small")?;
                let rate_ppm = if dice.roll(2) == 0 {
                    rate_ppm
                } else {
                    -rate_ppm
                };
                set(&nodes, 0, rate_ppm)?;
                (format!("gains {rate_ppm} µs a second"), false)
            }
            Kind::Strobe => {
                let pause = Duration::from_millis(dice.between(20, 200));
                let task = strobe_task(nodes.clone(), jump_ms * 1_000_000, pause);
                strobe = Some(tokio::spawn(task));
                (format!("{jump_ms:+} ms and back, every {pause:?}"), false)
            }
        };
        let seen = is_seen && jump_ms.unsigned_abs() >= SEEN_FROM_MS;
        Ok(Box::new(Off {
            nodes,
            detail,
            seen_ms: seen.then_some(jump_ms),
            strobe,
            _claim: claim,
        }))
    }
}

/// Any order of magnitude is as likely as any other.
fn jump_ms(dice: &mut Dice, who: Who) -> i64 {
    let max = match who {
        Who::Majority | Who::All => MAJORITY_MS_MAX,
        Who::One | Who::Leader => JUMP_MS_MAX,
    };
    let doublings = u64::from((max / JUMP_MS_MIN).ilog2());
    let size = JUMP_MS_MIN << dice.between(0, doublings);
    let size = i64::try_from(size).expect("hours in milliseconds fit");
    if dice.roll(2) == 0 { size } else { -size }
}

fn set(nodes: &[Arc<Node>], offset_ns: i64, rate_ppm: i64) -> Result<()> {
    for node in nodes {
        let clock = node.clock.as_ref();
        let clock = clock.with_context(|| format!("{} has no clock of its own", node.name))?;
        clock.set(offset_ns, rate_ppm)?;
    }
    Ok(())
}

/// Until aborted.
async fn strobe_task(nodes: Vec<Arc<Node>>, offset_ns: i64, pause: Duration) {
    let mut is_off = false;
    loop {
        is_off = !is_off;
        if let Err(error) = set(&nodes, if is_off { offset_ns } else { 0 }, 0) {
            eprintln!("strobing a clock: {error:#}");
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

#[async_trait]
impl Fault for Off {
    fn targets(&self) -> Vec<String> {
        names(&self.nodes)
    }

    fn detail(&self) -> String {
        self.detail.clone()
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let Some(wanted) = self.seen_ms else {
            // Too small or too quick for gossip: that the library shows it is tested alone, and
            // that this process has it loaded is seen here.
            return self.are_loaded().then(|| "shown to the process".into());
        };
        let right = scene.world.nodes().into_iter();
        let right = right.filter(|node| self.nodes.iter().all(|hit| hit.name != node.name));
        let right: Vec<String> = right.map(|node| node.url()).collect();
        for node in &self.nodes {
            let seen = offset_ms(node, &right).await?;
            if (seen - wanted).abs() > GOSSIP_MS {
                return None;
            }
        }
        Some(format!("the nodes themselves see it, {wanted:+} ms"))
    }

    async fn heal(&mut self, _: &Scene) -> Result<String> {
        if let Some(strobe) = self.strobe.take() {
            strobe.abort();
            // Cancelled on purpose; it must not set the clock once more after this.
            drop(strobe.await);
        }
        set(&self.nodes, 0, 0)?;
        Ok("right time again".into())
    }
}

impl Off {
    fn are_loaded(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.all(|node| {
            let (Some(pid), Some(clock)) = (node.pid(), &node.clock) else {
                return false;
            };
            let maps = format!("/proc/{}/maps", pid.as_raw_nonzero());
            let maps = std::fs::read_to_string(maps).unwrap_or_default();
            maps.contains(crate::world::text(&clock.setting))
        })
    }
}

/// How far the node's clock is from that of a node in `right`, by its own word: what it hears in
/// gossip against what it shows itself.
async fn offset_ms(node: &Node, right: &[String]) -> Option<i64> {
    let members = admin::ask(&node.data, "members", Duration::from_secs(2)).await;
    let members = members.ok()?;
    let told = members.as_array()?.iter().find(|member| {
        let url = member["http_url"].as_str().unwrap_or_default();
        member["is_alive"] == true && right.iter().any(|right| right == url)
    })?;
    Some(-told["clock_offset_ms"].as_i64()?)
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(Clocks("clock-jump", Kind::Jump, Who::One)),
        Arc::new(Clocks("clock-jump-leader", Kind::Jump, Who::Leader)),
        Arc::new(Clocks("clock-jump-majority", Kind::Jump, Who::Majority)),
        Arc::new(Clocks("clock-strobe", Kind::Strobe, Who::One)),
        Arc::new(Clocks("clock-drift", Kind::Drift, Who::Leader)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_small_and_large_forth_and_back() {
        let mut dice = Dice::new(5);
        let jumps: Vec<i64> = (0..500).map(|_| jump_ms(&mut dice, Who::One)).collect();
        let hours = 8_388_608;
        assert!(jumps.iter().all(|jump| (4..=hours).contains(&jump.abs())));
        assert!(jumps.iter().any(|jump| *jump <= -3_600_000));
        assert!(jumps.iter().any(|jump| *jump >= 3_600_000));
        assert!(jumps.iter().any(|jump| (4..=16).contains(jump)));
        let few = (0..500).map(|_| jump_ms(&mut dice, Who::Majority));
        assert!(few.map(i64::abs).max() == Some(262_144));
    }
}
