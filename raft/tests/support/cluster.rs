//! Nodes on a hub: started, cut off, killed, started again.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::command::Operation;
use model::id::{NodeId, UserId};
use storage::log::memory::{MemoryLog, Syncing};
use storage::state::memory::MemoryState;
use transport::memory::{Fault, Hub, Link, address_of};
use transport::network::{Network, PeerId};

use super::clock::TestClock;
use super::lossy::Lossy;
use super::shaky::{Builds, Shaky};
use super::wait::{eventually, until};
use super::words;
use crate::options::{Options, Parts, Room};
use crate::replica::{Consistency, Error, Proposal, Reading, Replica, Role, Written};

/// Long for a test on paused time, so that only what cannot happen fails by it.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) log: MemoryLog,
    /// In a box of its own, so that a test can count who holds it.
    pub(crate) state: Arc<MemoryState>,
    /// Of the next commits, this many fail.
    pub(crate) failures: Arc<AtomicU64>,
    pub(crate) builds: Arc<Builds>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) is_low: Arc<AtomicBool>,
    pub(crate) network: Arc<Lossy>,
    pub(crate) replica: Replica,
}

impl Node {
    pub(crate) fn proposal(&self, operation: Operation) -> Proposal {
        words::proposal(&*self.clock, operation)
    }

    pub(crate) async fn write(&self, operation: Operation) -> Result<Written, Error> {
        self.replica.write(self.proposal(operation), WITHIN).await
    }

    pub(crate) async fn read(&self, consistency: Consistency) -> Result<Reading, Error> {
        self.replica.read(consistency, WITHIN).await
    }

    pub(crate) fn set_low(&self, is_low: bool) {
        self.is_low.store(is_low, Ordering::Relaxed);
    }
}

pub(crate) struct Cluster {
    pub(crate) hub: Hub,
    pub(crate) nodes: BTreeMap<u64, Node>,
    make: fn(NodeId) -> Options,
    /// Who talks, and to whom.
    pub(crate) ann: UserId,
    pub(crate) bob: UserId,
}

impl Cluster {
    /// `count` voters.
    pub(crate) async fn of(count: u64) -> Self {
        Self::with(count, Options::new).await
    }

    pub(crate) async fn with(count: u64, make: fn(NodeId) -> Options) -> Self {
        let hub = Hub::new();
        let first = start(&hub, make(NodeId(1)), MemoryLog::new(Syncing::AtOnce), None).await;
        let address = address_of(PeerId(1));
        first.replica.bootstrap(address).await.unwrap();
        first.write(words::found()).await.unwrap();
        let ann = first.write(words::register("ann")).await.unwrap();
        let bob = first.write(words::register("bob")).await.unwrap();
        let mut cluster = Self {
            hub,
            nodes: BTreeMap::from([(1, first)]),
            make,
            ann: words::user_of(&ann.reply),
            bob: words::user_of(&bob.reply),
        };
        for id in 2..=count {
            cluster.join(id).await;
        }
        let voters = (1..=count).map(NodeId).collect();
        cluster.node(1).replica.set_voters(voters).await.unwrap();
        for node in cluster.nodes.values() {
            let is_voter = |role| matches!(role, Role::Leader | Role::Voter);
            until("a voter", &node.replica, |it| {
                is_voter(it.role) && it.is_recovered
            })
            .await;
        }
        cluster
    }

    /// Starts a new node and makes it a learner.
    pub(crate) async fn join(&mut self, id: u64) {
        let log = MemoryLog::new(Syncing::AtOnce);
        let node = start(&self.hub, (self.make)(NodeId(id)), log, None).await;
        let leader = self.leader().await;
        let address = address_of(PeerId(id));
        self.node(leader)
            .replica
            .add_learner(NodeId(id), address)
            .await
            .unwrap();
        until("a learner", &node.replica, |it| it.role == Role::Learner).await;
        self.nodes.insert(id, node);
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    /// Who leads and can: asked until there is exactly one that all connected nodes agree on.
    pub(crate) async fn leader(&self) -> u64 {
        self.leader_among(&self.nodes.keys().copied().collect())
            .await
    }

    pub(crate) async fn leader_among(&self, ids: &BTreeSet<u64>) -> u64 {
        eventually("one leader", || async {
            let statuses: Vec<_> = ids
                .iter()
                .map(|id| (*id, self.node(*id).replica.status()))
                .collect();
            let (leader, _) = statuses.iter().find(|(_, it)| it.role == Role::Leader)?;
            let agreed = |it: &crate::replica::Status| it.leader == Some(NodeId(*leader));
            statuses.iter().all(|(_, it)| agreed(it)).then_some(*leader)
        })
        .await
    }

    /// Some node that does not lead.
    pub(crate) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }

    /// Everyone but `id`.
    pub(crate) fn others(&self, id: u64) -> BTreeSet<u64> {
        self.nodes.keys().copied().filter(|it| *it != id).collect()
    }

    /// Cuts `id` off from all others, silently.
    pub(crate) fn isolate(&self, id: u64) {
        for other in self.others(id) {
            self.hub.cut(PeerId(id), PeerId(other));
        }
    }

    /// Makes all requests from and to `id` fail at once.
    pub(crate) fn unplug(&self, id: u64) {
        let link = Link {
            fault: Fault::Unreachable,
            delay: Duration::ZERO,
        };
        for other in self.others(id) {
            self.hub.set_link(PeerId(id), PeerId(other), link);
            self.hub.set_link(PeerId(other), PeerId(id), link);
        }
    }

    /// Ends a node as `kill -9` does at the worst moment for its state, and starts it again on what is
    /// left.
    pub(crate) async fn restart(&mut self, id: u64) {
        let node = self.kill(id).await;
        let (log, state) = (node.log.kill(), node.state.crash());
        self.start_again(node, log, state).await;
    }

    pub(crate) async fn kill(&mut self, id: u64) -> Node {
        let node = self.nodes.remove(&id).unwrap();
        self.hub.leave(PeerId(id));
        node.replica.stop().await;
        node
    }

    pub(crate) async fn start_again(&mut self, mut old: Node, log: MemoryLog, state: MemoryState) {
        let id = old.id.0;
        old.state = Arc::new(state);
        let node = start(&self.hub, (self.make)(old.id), log, Some(old)).await;
        self.nodes.insert(id, node);
    }

    /// Says `text` at node `id`.
    pub(crate) async fn say(&self, id: u64, text: &str) -> Result<Written, Error> {
        self.node(id).write(words::say(self.bob, text)).await
    }

    pub(crate) async fn said(&self, id: u64, consistency: Consistency) -> Vec<String> {
        let reading = self.node(id).read(consistency).await.unwrap();
        words::said(&reading, self.ann, self.bob)
    }

    /// Waits until all nodes have applied the same, and gives what was said then.
    pub(crate) async fn settled(&self) -> Vec<String> {
        let leader = self.leader().await;
        let reading = self.node(leader).read(Consistency::Linearizable).await;
        let reading = reading.unwrap();
        let said = words::said(&reading, self.ann, self.bob);
        for node in self.nodes.values() {
            let position = Consistency::Session(Some(reading.position));
            let theirs = node.read(position).await.unwrap();
            assert_eq!(
                words::said(&theirs, self.ann, self.bob),
                said,
                "node {}",
                node.id
            );
        }
        said
    }
}

async fn start(hub: &Hub, options: Options, log: MemoryLog, old: Option<Node>) -> Node {
    let id = options.node;
    let network = Arc::new(Lossy::new(hub.join(PeerId(id.0))));
    for other in 1..=9 {
        network.set_address(PeerId(other), address_of(PeerId(other)));
    }
    let (state, clock, is_low) = match old {
        Some(old) => (old.state, old.clock, old.is_low),
        None => (Arc::default(), Arc::new(TestClock::new()), Arc::default()),
    };
    let failures = Arc::<AtomicU64>::default();
    let builds = Arc::<Builds>::default();
    let room: Room = {
        let is_low = Arc::clone(&is_low);
        Arc::new(move || is_low.load(Ordering::Relaxed))
    };
    let parts = Parts {
        network: Arc::clone(&network) as Arc<dyn Network>,
        log: Arc::new(log.clone()),
        state: Arc::new(Shaky {
            inner: Arc::clone(&state),
            failures: Arc::clone(&failures),
            builds: Arc::clone(&builds),
        }),
        clock: Arc::clone(&clock) as Arc<dyn crate::clock::Clock>,
        room: Some(room),
    };
    let (replica, handlers) = Replica::start(options, parts).await.unwrap();
    network.serve(handlers);
    Node {
        id,
        log,
        state,
        failures,
        builds,
        clock,
        is_low,
        network,
        replica,
    }
}
