//! Looks at every node twice a second: for the report's lanes, and for processes that end by
//! themselves.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::evidence::{NodeStatus, Sample};
use crate::nemesis::atlas::Atlas;
use crate::nemesis::journal::{Journal, Trouble};
use crate::world::World;
use crate::world::node::Node;

const EVERY: Duration = Duration::from_millis(500);
/// Samples that are kept: five nodes for three days.
const KEPT_MAX: usize = 3_000_000;

/// Without a quorum nobody can be let in: giving up after a while is right.
const EXCUSES: [&str; 2] = ["no voter admitted this damaged node", "joining the cluster"];

/// The watch; ends when told or dropped.
pub(super) struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(world: Arc<World>, atlas: Atlas, journal: Journal) -> Self {
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let task = tokio::spawn(watch(world, atlas, journal, samples.clone()));
        Self { samples, task }
    }

    pub(super) fn end(self) -> Vec<Sample> {
        self.task.abort();
        std::mem::take(&mut *self.samples.lock().expect("no holder panics"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    world: Arc<World>,
    atlas: Atlas,
    journal: Journal,
    samples: Arc<Mutex<Vec<Sample>>>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(&world, &samples).await;
        ended_by_themselves(&world, &atlas, &journal);
    }
}

async fn look(world: &World, samples: &Mutex<Vec<Sample>>) {
    let time_ns = world.begun.elapsed_ns();
    let statuses = world.statuses().await.into_iter();
    let now = statuses.map(|(node, status)| Sample {
        time_ns,
        node: node.name.clone(),
        status: status.as_ref().map(NodeStatus::from),
    });
    let mut samples = samples.lock().expect("no holder panics");
    if samples.len() < KEPT_MAX {
        samples.extend(now);
    }
}

/// The last line that it printed.
fn last_words(node: &Node) -> String {
    let log = std::fs::read(&node.log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or_default().to_owned()
}

/// A process that nobody touches has to stay. It is started again, so that the run goes on.
fn ended_by_themselves(world: &World, atlas: &Atlas, journal: &Journal) {
    for node in world.nodes() {
        // The claim keeps faults away while we look.
        let Ok(_claim) = atlas.claim(&[&node.name]) else {
            continue;
        };
        let Some(status) = node.ended() else {
            continue;
        };
        let last_words = last_words(&node);
        if !EXCUSES.iter().any(|excuse| last_words.contains(excuse)) {
            journal.trouble(Trouble {
                check: "exits",
                why: format!("{} ended by itself ({status}): {last_words}", node.name),
                from_ns: journal.now_ns(),
                until_ns: journal.now_ns(),
            });
        }
        if let Err(error) = node.start(world) {
            journal.failure(format!("starting {} again: {error:#}", node.name));
        }
    }
}
