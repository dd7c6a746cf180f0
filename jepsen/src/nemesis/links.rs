//! Links that are slow, lossy, or cannot carry large packets.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use router::{Count, Link, Member};

use super::atlas::{Claim, NETWORK};
use super::partition::{Way, network, way_names};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Delay,
    Loss,
    Duplicate,
    Reorder,
    Slow,
    /// Large packets vanish: a path whose MTU is smaller than anybody told.
    BlackHole,
}

struct Links(&'static str, Kind);

#[async_trait]
impl Nemesis for Links {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Links
    }

    fn length_ms(&self) -> (u64, u64) {
        (3_000, 12_000)
    }

    fn is_possible(&self, abilities: &Abilities, nodes: usize) -> Result<(), String> {
        abilities.network.clone()?;
        if nodes < 2 {
            return Err("needs two nodes".into());
        }
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let claim = scene.atlas.claim(&[NETWORK])?;
        let ways = ways(scene, dice);
        let link = self.1.link(dice);
        let network = network(scene)?;
        let before = counts(network, &ways);
        for (from, to) in &ways {
            network.set(*from, *to, link);
        }
        Ok(Box::new(Slowed {
            kind: self.1,
            link,
            ways,
            before,
            _claim: claim,
        }))
    }
}

/// All links between nodes, or those of one node, clients' included.
fn ways(scene: &Scene, dice: &mut Dice) -> Vec<Way> {
    let nodes: Vec<Member> = scene.world.nodes().iter().map(|one| one.member).collect();
    let hit = *dice.pick(&nodes);
    let is_everywhere = dice.roll(2) == 0;
    let mut ways = Vec::new();
    for from in nodes.iter().copied().chain([Member::Clients]) {
        for to in nodes.iter().copied().chain([Member::Clients]) {
            let is_between_nodes = from != Member::Clients && to != Member::Clients;
            let is_hit = from == hit || to == hit;
            if from != to && (is_everywhere && is_between_nodes || !is_everywhere && is_hit) {
                ways.push((from, to));
            }
        }
    }
    ways
}

impl Kind {
    fn link(self, dice: &mut Dice) -> Link {
        let mut link = Link::default();
        #[allow(
            clippy::cast_precision_loss,
            reason = "a roll below 100 is exact as a float"
        )]
        let percent = |low, high, dice: &mut Dice| dice.between(low, high) as f64 / 100.0;
        match self {
            Self::Delay => {
                link.delay = Duration::from_millis(dice.between(20, 250));
                link.jitter = link.delay / 2;
            }
            Self::Loss => link.loss = percent(5, 30, dice),
            Self::Duplicate => link.duplicate = percent(10, 50, dice),
            Self::Reorder => {
                link.reorder = percent(10, 50, dice);
                link.delay = Duration::from_millis(dice.between(2, 20));
            }
            Self::Slow => link.bytes_per_second = Some(dice.between(20, 200) << 10),
            Self::BlackHole => link.largest_packet = Some(1_280),
        }
        link
    }

    /// What the router counts when this bites.
    fn bitten(self, count: &Count) -> (u64, &'static str) {
        match self {
            Self::Delay | Self::Slow => (count.delayed, "packets delayed"),
            Self::Loss => (count.lost, "packets lost"),
            Self::Duplicate => (count.duplicated, "packets doubled"),
            Self::Reorder => (count.reordered, "packets overtaken"),
            Self::BlackHole => (count.oversized, "large packets swallowed"),
        }
    }
}

fn counts(network: &router::Network, ways: &[Way]) -> Vec<Count> {
    let ways = ways.iter();
    ways.map(|(from, to)| network.count(*from, *to)).collect()
}

/// In effect.
struct Slowed {
    kind: Kind,
    link: Link,
    ways: Vec<Way>,
    before: Vec<Count>,
    _claim: Claim,
}

#[async_trait]
impl Fault for Slowed {
    fn targets(&self) -> Vec<String> {
        way_names(&self.ways)
    }

    fn detail(&self) -> String {
        let link = &self.link;
        match self.kind {
            Kind::Delay => format!("{:?} ± {:?} each way", link.delay, link.jitter),
            Kind::Loss => format!("{:.0} % lost", link.loss * 100.0),
            Kind::Duplicate => format!("{:.0} % doubled", link.duplicate * 100.0),
            Kind::Reorder => format!("{:.0} % overtaken", link.reorder * 100.0),
            Kind::Slow => format!("{} KiB/s", link.bytes_per_second.unwrap_or(0) >> 10),
            Kind::BlackHole => "packets above 1,280 bytes vanish".into(),
        }
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let now = counts(network(scene).ok()?, &self.ways);
        let pairs = now.iter().zip(&self.before);
        let count: u64 = pairs
            .map(|(now, before)| self.kind.bitten(now).0 - self.kind.bitten(before).0)
            .sum();
        let (_, what) = self.kind.bitten(&Count::default());
        (count > 0).then(|| format!("{count} {what}"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        let network = network(scene)?;
        for (from, to) in &self.ways {
            network.set(*from, *to, Link::default());
        }
        Ok("links are as they should be".into())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    let all = [
        Links("links-delay", Kind::Delay),
        Links("links-loss", Kind::Loss),
        Links("links-duplicate", Kind::Duplicate),
        Links("links-reorder", Kind::Reorder),
        Links("links-slow", Kind::Slow),
        Links("links-black-hole", Kind::BlackHole),
    ];
    all.into_iter()
        .map(|one| Arc::new(one) as Arc<dyn Nemesis>)
        .collect()
}
