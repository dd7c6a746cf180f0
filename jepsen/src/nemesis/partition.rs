//! Links that carry nothing: who can still reach whom.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use router::{Link, Member, Network};

use super::atlas::{Claim, NETWORK};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::World;
use crate::world::abilities::Abilities;

/// A directed link.
pub(super) type Way = (Member, Member);

/// How long a flapping link is up or down.
const FLAP: Duration = Duration::from_millis(200);

/// Which links are cut.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One node from all other nodes; clients still reach it.
    One,
    /// The leader likewise.
    Leader,
    /// One node from everybody.
    Gone,
    /// Two random groups.
    Halves,
    /// Each node sees itself and its neighbours in a ring; with three nodes, one pair is cut.
    Ring,
    /// Two groups that only one node sees both of.
    Bridge,
    /// The leader is not heard by others.
    OneWayOut,
    /// The leader does not hear others.
    OneWayIn,
    /// The leader and one follower.
    LeaderFollower,
    /// Clients from one node.
    Clients,
    /// The leader comes and goes.
    Flapping,
}

struct Partition(&'static str, Shape);

#[async_trait]
impl Nemesis for Partition {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Partition
    }

    fn length_ms(&self) -> (u64, u64) {
        (1_000, 12_000)
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
        let ways = ways(&scene.world, self.1, dice).await?;
        if ways.is_empty() {
            return Err(Refusal::Skip("there is nobody to cut off".into()));
        }
        let network = network(scene)?;
        let before = cut_count(network, &ways);
        for (from, to) in &ways {
            network.set(*from, *to, cut());
        }
        let is_flapping = matches!(self.1, Shape::Flapping);
        let flapping = is_flapping.then(|| tokio::spawn(flap(scene.world.clone(), ways.clone())));
        Ok(Box::new(Partitioned {
            ways,
            before,
            flapping,
            _claim: claim,
        }))
    }
}

pub(super) fn network(scene: &Scene) -> Result<&Network> {
    scene.world.net.router().context("there is no router here")
}

fn cut() -> Link {
    Link {
        is_cut: true,
        ..Link::default()
    }
}

fn cut_count(network: &Network, ways: &[Way]) -> u64 {
    let counts = ways.iter().map(|(from, to)| network.count(*from, *to).cut);
    counts.sum()
}

/// Down, up, down, … until aborted.
async fn flap(world: Arc<World>, ways: Vec<Way>) {
    let mut is_cut = true;
    loop {
        tokio::time::sleep(FLAP).await;
        is_cut = !is_cut;
        let link = || if is_cut { cut() } else { Link::default() };
        if let Some(network) = world.net.router() {
            for (from, to) in &ways {
                network.set(*from, *to, link());
            }
        }
    }
}

async fn ways(world: &World, shape: Shape, dice: &mut Dice) -> Result<Vec<Way>, Refusal> {
    let mut nodes: Vec<Member> = world.nodes().iter().map(|node| node.member).collect();
    let random = *dice.pick(&nodes);
    let leader = match shape {
        Shape::Leader
        | Shape::OneWayOut
        | Shape::OneWayIn
        | Shape::LeaderFollower
        | Shape::Flapping => {
            let leader = world.leader().await;
            leader
                .ok_or_else(|| Refusal::Skip("nobody leads".into()))?
                .member
        }
        _ => random,
    };
    dice.shuffle(&mut nodes);
    Ok(shape_ways(shape, &nodes, leader, dice))
}

/// `hit` is the leader where the shape asks for one; `nodes` are shuffled.
fn shape_ways(shape: Shape, nodes: &[Member], hit: Member, dice: &mut Dice) -> Vec<Way> {
    let others: Vec<Member> = nodes.iter().copied().filter(|node| *node != hit).collect();
    match shape {
        Shape::One | Shape::Leader | Shape::Flapping => both(&[hit], &others),
        Shape::Gone => {
            let mut all = others;
            all.push(Member::Clients);
            both(&[hit], &all)
        }
        Shape::Halves => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            both(left, right)
        }
        Shape::Ring => ring(nodes),
        Shape::Bridge => {
            let (left, right) = others.split_at(others.len() / 2);
            both(left, right)
        }
        Shape::OneWayOut => others.iter().map(|other| (hit, *other)).collect(),
        Shape::OneWayIn => others.iter().map(|other| (*other, hit)).collect(),
        Shape::LeaderFollower if others.is_empty() => vec![],
        Shape::LeaderFollower => both(&[hit], &[*dice.pick(&others)]),
        Shape::Clients => both(&[hit], &[Member::Clients]),
    }
}

/// Both directions between two groups.
fn both(left: &[Member], right: &[Member]) -> Vec<Way> {
    left.iter()
        .flat_map(|a| right.iter().flat_map(|b| [(*a, *b), (*b, *a)]))
        .collect()
}

/// Nodes that are no neighbours in the ring do not see each other. Three are all neighbours, so
/// there one pair is cut and the third sees both.
fn ring(nodes: &[Member]) -> Vec<Way> {
    let count = nodes.len();
    if count <= 3 {
        return nodes.split_first().map_or(vec![], |(first, rest)| {
            both(&[*first], &rest[..rest.len().min(1)])
        });
    }
    let mut ways = Vec::new();
    for (i, from) in nodes.iter().enumerate() {
        for (j, to) in nodes.iter().enumerate() {
            let apart = (i + count - j) % count;
            if ![0, 1, count - 1].contains(&apart) {
                ways.push((*from, *to));
            }
        }
    }
    ways
}

/// In effect.
struct Partitioned {
    ways: Vec<Way>,
    before: u64,
    flapping: Option<tokio::task::JoinHandle<()>>,
    _claim: Claim,
}

#[async_trait]
impl Fault for Partitioned {
    fn targets(&self) -> Vec<String> {
        way_names(&self.ways)
    }

    fn detail(&self) -> String {
        let ends = self.ways.iter().flat_map(|(from, to)| [from, to]);
        let ends: BTreeSet<String> = ends.map(ToString::to_string).collect();
        let ends: Vec<String> = ends.into_iter().collect();
        format!("{} links cut between {}", self.ways.len(), ends.join(", "))
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        if self.ways.iter().any(|(from, _)| *from == Member::Clients) {
            scene.world.knock().await;
        }
        let network = network(scene).ok()?;
        let cut = cut_count(network, &self.ways) - self.before;
        (cut > 0).then(|| format!("{cut} packets dropped"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        if let Some(flapping) = self.flapping.take() {
            flapping.abort();
            // Cancelled on purpose; it must not cut once more after this.
            drop(flapping.await);
        }
        let network = network(scene)?;
        for (from, to) in &self.ways {
            network.set(*from, *to, Link::default());
        }
        Ok("links restored".into())
    }
}

pub(super) fn way_names(ways: &[Way]) -> Vec<String> {
    let ways = ways.iter();
    ways.map(|(from, to)| format!("{from}>{to}")).collect()
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    let all = [
        Partition("partition-one", Shape::One),
        Partition("partition-leader", Shape::Leader),
        Partition("partition-gone", Shape::Gone),
        Partition("partition-halves", Shape::Halves),
        Partition("partition-ring", Shape::Ring),
        Partition("partition-bridge", Shape::Bridge),
        Partition("partition-leader-mute", Shape::OneWayOut),
        Partition("partition-leader-deaf", Shape::OneWayIn),
        Partition("partition-leader-follower", Shape::LeaderFollower),
        Partition("partition-clients", Shape::Clients),
        Partition("partition-flapping", Shape::Flapping),
    ];
    all.into_iter()
        .map(|one| Arc::new(one) as Arc<dyn Nemesis>)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Member> {
        (0..count).map(Member::Node).collect()
    }

    fn shape(shape: Shape, count: usize) -> BTreeSet<Way> {
        let ways = shape_ways(shape, &nodes(count), Member::Node(0), &mut Dice::new(1));
        ways.into_iter().collect()
    }

    #[test]
    fn in_a_ring_of_five_everybody_sees_a_majority() {
        let cut = shape(Shape::Ring, 5);
        for from in nodes(5) {
            let seen = nodes(5)
                .into_iter()
                .filter(|to| !cut.contains(&(from, *to)));
            assert_eq!(seen.count(), 3);
        }
        assert_eq!(shape(Shape::Ring, 3).len(), 2);
    }

    #[test]
    fn a_bridge_sees_both_sides_and_they_do_not_see_each_other() {
        let cut = shape(Shape::Bridge, 5);
        assert!(
            cut.iter()
                .all(|(from, to)| { *from != Member::Node(0) && *to != Member::Node(0) })
        );
        assert_eq!(cut.len(), 8);
    }

    #[test]
    fn one_way_is_one_way() {
        let out = shape(Shape::OneWayOut, 3);
        assert!(out.iter().all(|(from, _)| *from == Member::Node(0)));
        let into = shape(Shape::OneWayIn, 3);
        assert!(out.is_disjoint(&into));
        assert_eq!(shape(Shape::Leader, 3), &out | &into);
    }
}
