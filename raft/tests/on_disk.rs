//! The real engines under a cluster, on several threads and in real time.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::id::{NodeId, UserId};
use storage::log::SegmentLog;
use storage::owner::Owner;
use storage::state::RocksState;
use tempfile::TempDir;
use transport::memory::{Hub, address_of};
use transport::network::{Network, PeerId};

use crate::clock::SystemClock;
use crate::options::{Limits, Options, Parts, Timing};
use crate::replica::{Consistency, Error, Replica, Role, Written};
use crate::tests::support::wait::until;
use crate::tests::support::words;

const WITHIN: Duration = Duration::from_secs(20);

struct Node {
    dir: TempDir,
    replica: Replica,
}

fn owner(id: u64) -> Owner {
    Owner {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node: id,
        incarnation: [1; 16],
    }
}

async fn start(hub: &Hub, id: u64, dir: TempDir, is_new: bool) -> Node {
    let owner = owner(id);
    let (log, state) = (dir.path().join("log"), dir.path().join("state"));
    let (log, state) = if is_new {
        (
            SegmentLog::create(&log, &owner, storage::log::Options::default()).unwrap(),
            RocksState::create(&state, &owner, storage::state::Options::default()).unwrap(),
        )
    } else {
        (
            SegmentLog::open(&log, &owner, storage::log::Options::default()).unwrap(),
            RocksState::open(&state, &owner, storage::state::Options::default()).unwrap(),
        )
    };
    let network: Arc<dyn Network> = hub.join(PeerId(id));
    let options = Options {
        limits: Limits {
            snapshot_entries: 200,
            keep_entries: 50,
            ..Limits::default()
        },
        // A machine that also compiles things may well be slow for a moment.
        timing: Timing::wan(),
        ..Options::new(NodeId(id))
    };
    let parts = Parts {
        network: Arc::clone(&network),
        log: Arc::new(log),
        state: Arc::new(state),
        clock: Arc::new(SystemClock),
        room: None,
    };
    let (replica, handlers) = Replica::start(options, parts).await.unwrap();
    network.serve(handlers);
    Node { dir, replica }
}

async fn say(node: &Node, bob: UserId, text: &str) -> Result<Written, Error> {
    let proposal = words::proposal(&SystemClock, words::say(bob, text));
    node.replica.write(proposal, WITHIN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_disk_writes_restarts_and_goes_on() {
    let hub = Hub::new();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(&hub, id, tempfile::tempdir().unwrap(), true).await);
    }
    let first = &nodes[0].replica;
    first.bootstrap(address_of(PeerId(1))).await.unwrap();
    for id in 2..=3 {
        let address = address_of(PeerId(id));
        first.add_learner(NodeId(id), address).await.unwrap();
    }
    first
        .set_voters((1..=3).map(NodeId).collect())
        .await
        .unwrap();
    let mut users = Vec::new();
    for operation in [
        words::found(),
        words::register("ann"),
        words::register("bob"),
    ] {
        let proposal = words::proposal(&SystemClock, operation);
        users.push(first.write(proposal, WITHIN).await.unwrap().reply);
    }
    let (ann, bob) = (words::user_of(&users[1]), words::user_of(&users[2]));

    let texts: Vec<String> = (0..600).map(|number| format!("number {number}")).collect();
    let (before, after) = texts.split_at(500);
    let writes = before.iter().enumerate();
    let writes = writes.map(|(number, text)| say(&nodes[number % 3], bob, text));
    for written in join_all(writes).await {
        written.unwrap();
    }
    let mut again = Vec::new();
    for (id, node) in (1..).zip(nodes) {
        node.replica.stop().await;
        hub.leave(PeerId(id));
        let Node { dir, replica } = node;
        drop(replica);
        again.push(start(&hub, id, dir, false).await);
    }
    for node in &again {
        until("recovered", &node.replica, |it| {
            it.is_recovered && it.leader.is_some() && it.role != Role::Outside
        })
        .await;
    }
    for (number, text) in after.iter().enumerate() {
        say(&again[number % 3], bob, text).await.unwrap();
    }
    for node in &again {
        let reading = node.replica.read(Consistency::Linearizable, WITHIN).await;
        let said = words::said(&reading.unwrap(), ann, bob);
        assert_eq!(said.len(), texts.len());
        let said: BTreeSet<_> = said.into_iter().collect();
        assert_eq!(said, texts.iter().cloned().collect());
    }
    for node in again {
        node.replica.stop().await;
    }
}
