//! Who belongs to the cluster: nodes that join under load, are wiped and replaced, and leadership
//! that is handed over. Draining and decommissioning have their place here once they exist.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::atlas::{Claim, DATA};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::node::Node;
use crate::world::{admin, wait};

/// Nodes added in one run at most: memory and processors are finite.
const ADDED_MAX: usize = 2;
/// A new node is ready within this, under load and other faults.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Leadership is somewhere else within this.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(5);

/// A node that was never there joins; or one that joined so is wiped and joins anew, which is what
/// happens when there are enough of them, or when that is preferred and there is one.
struct Join {
    name: &'static str,
    prefers_replacing: bool,
}

struct Joining {
    node: Arc<Node>,
    is_replaced: bool,
    /// Its id, once it has one.
    id: Option<u64>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Join {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> Class {
        Class::Membership
    }

    fn length_ms(&self) -> (u64, u64) {
        (2_000, 5_000)
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let world = &scene.world;
        let added: Vec<Arc<Node>> = world.nodes().split_off(world.options.nodes);
        let is_replaced = added.len() >= ADDED_MAX || self.prefers_replacing && !added.is_empty();
        let token = token(scene, dice).await?;
        let (node, claim) = if is_replaced {
            let node = dice.pick(&added).clone();
            let claim = scene.atlas.claim(&[&node.name, DATA])?;
            holds_no_vote(scene, &node).await?;
            if node.is_running() {
                node.kill().await?;
            }
            std::fs::remove_dir_all(&node.data).context("wiping the node")?;
            (node, claim)
        } else {
            let name = format!("n{}", world.nodes().len() + 1);
            let claim = scene.atlas.claim(&[&name])?;
            (world.add_node().await?, claim)
        };
        node.give_token(token);
        node.start(world)?;
        Ok(Box::new(Joining {
            node,
            is_replaced,
            id: None,
            _claim: claim,
        }))
    }
}

/// A wiped voter would stay one for ever under its old id, as long as there is no decommissioning.
async fn holds_no_vote(scene: &Scene, node: &Node) -> Result<(), Refusal> {
    let statuses = scene.world.statuses().await;
    let id = statuses
        .iter()
        .find_map(|(one, status)| (one.name == node.name).then_some(status.as_ref()?.node));
    let id = id.ok_or_else(|| {
        Refusal::Skip(format!("{} does not answer: it may be a voter", node.name))
    })?;
    let mut known = statuses.iter().filter_map(|(_, status)| status.as_ref());
    if known.any(|status| status.voters.contains(&id)) {
        return Err(Refusal::Skip(format!(
            "{} became a voter: wiping it would cost the cluster a vote",
            node.name
        )));
    }
    Ok(())
}

/// A join token, from any founder that gives one.
async fn token(scene: &Scene, dice: &mut Dice) -> Result<String, Refusal> {
    let mut nodes = scene.world.nodes();
    nodes.truncate(scene.world.options.nodes);
    dice.shuffle(&mut nodes);
    let mut last = String::new();
    for node in nodes.iter().filter(|node| node.is_running()) {
        match admin::token(&scene.world.options.yin, &node.data).await {
            Ok(token) => return Ok(token),
            Err(error) => last = format!("{error:#}"),
        }
    }
    Err(Refusal::Skip(format!("nobody gives a join token: {last}")))
}

#[async_trait]
impl Fault for Joining {
    fn targets(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn detail(&self) -> String {
        if self.is_replaced {
            "kill -9, wiped, joins anew".into()
        } else {
            "a new node joins".into()
        }
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let joined = wait::until(READY_WITHIN, || async {
            if !self.node.is_running() {
                // It gave up for want of a quorum, as it should; it tries again.
                self.node.start(&scene.world).ok()?;
            }
            let status = self.node.status().await.ok()?;
            let is_member =
                status.learners.contains(&status.node) || status.voters.contains(&status.node);
            is_member.then_some(status.node)
        });
        self.id = joined.await;
        Some(format!("is node {}", self.id?))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        if !self.node.is_running() {
            self.node.start(&scene.world)?;
        }
        Ok(match self.id {
            Some(id) => format!("stays as node {id}"),
            None => "goes on trying to join".into(),
        })
    }
}

/// The leader is asked to hand over.
struct Transfer;

struct Transferred {
    from: Arc<Node>,
    to: u64,
    term: u64,
}

#[async_trait]
impl Nemesis for Transfer {
    fn name(&self) -> &'static str {
        "membership-transfer"
    }

    fn class(&self) -> Class {
        Class::Membership
    }

    fn length_ms(&self) -> (u64, u64) {
        (500, 2_000)
    }

    fn is_possible(&self, _: &Abilities, nodes: usize) -> Result<(), String> {
        if nodes < 2 {
            return Err("needs two nodes".into());
        }
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let from = scene.world.leader().await;
        let from = from.ok_or_else(|| Refusal::Skip("nobody leads".into()))?;
        let status = from.status().await;
        let status = status.map_err(|error| Refusal::Skip(format!("{error:#}")))?;
        let others = status.voters.iter().copied();
        let others: Vec<u64> = others.filter(|voter| *voter != status.node).collect();
        if others.is_empty() {
            return Err(Refusal::Skip("nobody else votes".into()));
        }
        let to = *dice.pick(&others);
        let asked = admin::transfer(&scene.world.options.yin, &from.data, to).await;
        // A target that is down or behind is refused, as it should be.
        asked.map_err(|error| Refusal::Skip(format!("{error:#}")))?;
        Ok(Box::new(Transferred {
            from,
            to,
            term: status.term,
        }))
    }
}

#[async_trait]
impl Fault for Transferred {
    fn targets(&self) -> Vec<String> {
        vec![self.from.name.clone()]
    }

    fn detail(&self) -> String {
        format!("leadership handed to node {}", self.to)
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let led = wait::until(HANDED_OVER_WITHIN, || async {
            let leader = scene.world.leader().await?;
            let status = leader.status().await.ok()?;
            (status.term > self.term).then_some((leader, status.term))
        });
        let (leader, term) = led.await?;
        Some(format!("{} leads in term {term}", leader.name))
    }

    async fn heal(&mut self, _: &Scene) -> Result<String> {
        Ok("done".into())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(Join {
            name: "membership-join",
            prefers_replacing: false,
        }),
        Arc::new(Join {
            name: "membership-replace",
            prefers_replacing: true,
        }),
        Arc::new(Transfer),
    ]
}
