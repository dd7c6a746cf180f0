//! Processes that are killed, stopped for a while, or restarted.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use rustix::process::Signal;

use super::atlas::Claim;
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::node::Node;

/// Longest orderly stop: the node itself gives up waiting for requests after 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(45);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Which nodes are hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    One,
    Leader,
    Majority,
    All,
}

/// Chooses and claims nodes; only such that run.
pub(super) async fn choose(
    scene: &Scene,
    who: Who,
    dice: &mut Dice,
) -> Result<(Vec<Arc<Node>>, Claim), Refusal> {
    let mut nodes = scene.world.nodes();
    let voters = scene.world.options.nodes;
    let chosen = match who {
        Who::Leader => {
            let leader = scene.world.leader().await;
            vec![leader.ok_or_else(|| Refusal::Skip("nobody leads".into()))?]
        }
        Who::All => nodes,
        Who::One | Who::Majority => {
            nodes.truncate(voters);
            dice.shuffle(&mut nodes);
            nodes.truncate(match who {
                Who::Majority => voters / 2 + 1,
                _ => 1,
            });
            nodes
        }
    };
    let names: Vec<&str> = chosen.iter().map(|node| node.name.as_str()).collect();
    let claim = scene.atlas.claim(&names)?;
    match chosen.iter().find(|node| !node.is_running()) {
        Some(down) => Err(Refusal::Skip(format!("{} does not run", down.name))),
        None => Ok((chosen, claim)),
    }
}

pub(super) fn names(nodes: &[Arc<Node>]) -> Vec<String> {
    nodes.iter().map(|node| node.name.clone()).collect()
}

/// `kill -9`, and a start some time later.
struct Kill(&'static str, Who);

struct Killed {
    nodes: Vec<Arc<Node>>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Kill {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Kill
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (nodes, claim) = choose(scene, self.1, dice).await?;
        // All at once, then awaited.
        for node in &nodes {
            node.signal(Signal::KILL)?;
        }
        Ok(Box::new(Killed {
            nodes,
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Killed {
    fn targets(&self) -> Vec<String> {
        names(&self.nodes)
    }

    fn detail(&self) -> String {
        "kill -9".into()
    }

    async fn bite(&mut self, _: &Scene) -> Option<String> {
        for node in &self.nodes {
            let status = node.gone(Duration::from_secs(10)).await.ok()?;
            if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
                return None;
            }
        }
        Some("ended by signal 9".into())
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        for node in &self.nodes {
            if !node.is_running() {
                node.start(&scene.world)?;
            }
        }
        Ok("started again".into())
    }
}

/// SIGSTOP, and SIGCONT some time later: the cheapest way to a stale reader.
struct Pause(&'static str, Who);

struct Paused {
    nodes: Vec<Arc<Node>>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Pause {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Pause
    }

    fn length_ms(&self) -> (u64, u64) {
        (200, 15_000)
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (nodes, claim) = choose(scene, self.1, dice).await?;
        for node in &nodes {
            node.signal(Signal::STOP)?;
        }
        Ok(Box::new(Paused {
            nodes,
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Paused {
    fn targets(&self) -> Vec<String> {
        names(&self.nodes)
    }

    fn detail(&self) -> String {
        "SIGSTOP".into()
    }

    async fn bite(&mut self, _: &Scene) -> Option<String> {
        let is_stopped = |node: &Arc<Node>| {
            let pid = node.pid()?.as_raw_nonzero();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let state = status.lines().find(|line| line.starts_with("State:"))?;
            state.contains('T').then_some(())
        };
        let stopped = crate::world::wait::until(Duration::from_secs(2), || async {
            let mut nodes = self.nodes.iter();
            nodes.all(|node| is_stopped(node).is_some()).then_some(())
        });
        stopped.await?;
        for node in &self.nodes {
            if node.status().await.is_ok() {
                return None;
            }
        }
        Some("stopped, and does not answer".into())
    }

    async fn heal(&mut self, _: &Scene) -> Result<String> {
        for node in &self.nodes {
            node.signal(Signal::CONT)?;
        }
        Ok("goes on".into())
    }
}

/// Orderly restarts: of one node, of all in turn, or of one again and again.
struct Restart(&'static str, Round);

#[derive(Clone, Copy)]
enum Round {
    Once,
    Rolling,
    Storm,
}

/// The work goes on by itself; healing waits for its end.
struct Restarting {
    nodes: Vec<Arc<Node>>,
    detail: &'static str,
    work: tokio::task::JoinHandle<Result<usize>>,
    done: Option<usize>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Restart {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Restart
    }

    fn is_possible(&self, _: &Abilities, _: usize) -> Result<(), String> {
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let who = match self.1 {
            Round::Once | Round::Storm => *dice.pick(&[Who::One, Who::Leader]),
            Round::Rolling => Who::All,
        };
        let (nodes, claim) = choose(scene, who, dice).await?;
        let (its, scene) = (nodes.clone(), scene.clone());
        let (detail, work) = match self.1 {
            Round::Once => ("SIGTERM and start", tokio::spawn(restart(its, scene))),
            Round::Rolling => (
                "SIGTERM and start of each in turn",
                tokio::spawn(restart(its, scene)),
            ),
            Round::Storm => {
                let rounds = dice.between(3, 6);
                (
                    "started and killed again and again",
                    tokio::spawn(storm(its, scene, rounds, Dice::new(dice.next()))),
                )
            }
        };
        Ok(Box::new(Restarting {
            nodes,
            detail,
            work,
            done: None,
            _claim: claim,
        }))
    }
}

/// One after the other; the next when the last is ready, or has had its time.
async fn restart(nodes: Vec<Arc<Node>>, scene: Scene) -> Result<usize> {
    for node in &nodes {
        node.terminate(STOP_WITHIN).await?;
        node.start(&scene.world)?;
        if nodes.len() > 1 {
            node.ready(READY_WITHIN).await?;
        }
    }
    Ok(nodes.len())
}

/// Killed while it starts, at a moment that the dice choose.
async fn storm(nodes: Vec<Arc<Node>>, scene: Scene, rounds: u64, mut dice: Dice) -> Result<usize> {
    let mut done = 0;
    for _ in 0..rounds {
        for node in &nodes {
            node.kill().await?;
            node.start(&scene.world)?;
            done += 1;
        }
        tokio::time::sleep(Duration::from_millis(dice.between(20, 800))).await;
    }
    Ok(done)
}

#[async_trait]
impl Fault for Restarting {
    fn targets(&self) -> Vec<String> {
        names(&self.nodes)
    }

    fn detail(&self) -> String {
        self.detail.into()
    }

    async fn bite(&mut self, _: &Scene) -> Option<String> {
        let done = (&mut self.work).await.ok()?.ok()?;
        self.done = Some(done);
        Some(format!("{done} times"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        if self.done.is_none() && !self.work.is_finished() {
            (&mut self.work).await??;
        }
        for node in &self.nodes {
            if !node.is_running() {
                node.start(&scene.world)?;
            }
        }
        Ok("all run".into())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(Kill("kill-one", Who::One)),
        Arc::new(Kill("kill-leader", Who::Leader)),
        Arc::new(Kill("kill-majority", Who::Majority)),
        Arc::new(Kill("kill-all", Who::All)),
        Arc::new(Pause("pause-one", Who::One)),
        Arc::new(Pause("pause-leader", Who::Leader)),
        Arc::new(Pause("pause-majority", Who::Majority)),
        Arc::new(Restart("restart", Round::Once)),
        Arc::new(Restart("restart-rolling", Round::Rolling)),
        Arc::new(Restart("restart-storm", Round::Storm)),
    ]
}
