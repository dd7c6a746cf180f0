//! Real endpoints on loopback: nodes find each other, miss each other, and take no one else's word.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gossip::members::{Members, Told};
use gossip::{Gossip, Options};
use transport::endpoint::{Endpoint, Options as EndpointOptions};
use transport::identity::{Authority, Identity, NewNode};
use transport::network::{Handlers, Network, PeerId};

const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: &str = "00112233445566778899aabbccddeeff";

struct Node {
    network: Arc<Endpoint>,
    gossip: Gossip,
}

fn identity(authority: &Authority, peer: u64) -> Identity {
    let node = NewNode::generate().unwrap();
    Identity {
        cluster_id: CLUSTER.into(),
        peer: PeerId(peer),
        ca_certificate: authority.certificate(),
        certificate: authority.sign(&node.csr, PeerId(peer)).unwrap(),
        key: node.key,
    }
}

async fn start(
    identity: Identity,
    listen: SocketAddr,
    seeds: Vec<SocketAddr>,
    generation: u64,
) -> Node {
    let network = Endpoint::bind(EndpointOptions {
        listen,
        advertise: None,
        identity,
        gate: None,
    })
    .unwrap();
    network.serve(Handlers::default());
    let options = Options {
        cluster_id: CLUSTER.into(),
        interval: Duration::from_millis(50),
        seeds,
        generation,
        ..Options::default()
    };
    let gossip = Gossip::start(options, network.clone()).await.unwrap();
    Node { network, gossip }
}

async fn cluster(count: u64) -> (Authority, Vec<Node>) {
    let authority = Authority::generate(CLUSTER).unwrap();
    let mut nodes: Vec<Node> = Vec::new();
    for peer in 1..=count {
        let seeds = nodes.iter().take(1).map(|node| node.network.local_addr());
        let any = "127.0.0.1:0".parse().unwrap();
        let node = start(identity(&authority, peer), any, seeds.collect(), 1).await;
        nodes.push(node);
    }
    (authority, nodes)
}

async fn until(node: &Node, what: &str, condition: impl Fn(&Members) -> bool) {
    let mut members = node.gossip.members();
    let waited = tokio::time::timeout(PATIENCE, members.wait_for(|members| condition(members)));
    let waited = waited.await;
    assert!(
        waited.is_ok(),
        "{what}: {:?}",
        node.gossip.members().borrow()
    );
}

fn all_alive(count: usize) -> impl Fn(&Members) -> bool {
    move |members| members.values().filter(|member| member.is_alive).count() == count
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_find_each_other_and_hear_what_is_told() {
    let (_authority, nodes) = cluster(5).await;
    for node in &nodes {
        until(node, "five alive", all_alive(5)).await;
    }
    let told = Told {
        http_url: "http://127.0.0.1:8080".into(),
        role: "leader".into(),
        applied: 42,
        ..Told::default()
    };
    nodes[3].gossip.tell(told.clone());
    for node in &nodes {
        until(node, "what node 4 told", |members| {
            members
                .get(&PeerId(4))
                .is_some_and(|member| member.told == told)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_missed_and_found_again() {
    let (authority, mut nodes) = cluster(3).await;
    for node in &nodes {
        until(node, "three alive", all_alive(3)).await;
    }
    let dead = nodes.pop().unwrap();
    dead.gossip.stop().await;
    dead.network.close().await;
    until(&nodes[0], "node 3 to be missed", |members| {
        members
            .get(&PeerId(3))
            .is_some_and(|member| !member.is_alive)
    })
    .await;
    // It comes back elsewhere, in a later life.
    let seeds = vec![nodes[0].network.local_addr()];
    let any = "127.0.0.1:0".parse().unwrap();
    let back = start(identity(&authority, 3), any, seeds, 2).await;
    let address = back.network.local_addr();
    for node in &nodes {
        until(node, "node 3 at its new place", |members| {
            let found = members.get(&PeerId(3));
            found.is_some_and(|member| member.is_alive && member.address == address)
        })
        .await;
        assert_eq!(node.network.address(PeerId(3)), Some(address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_node_is_not_heard() {
    let (_authority, nodes) = cluster(1).await;
    let stranger = Authority::generate(CLUSTER).unwrap();
    let seeds = vec![nodes[0].network.local_addr()];
    let any = "127.0.0.1:0".parse().unwrap();
    let outside = start(identity(&stranger, 9), any, seeds, 1).await;
    outside.gossip.tell(Told {
        role: "leader".into(),
        ..Told::default()
    });
    // The stranger has spoken often by the time that the node saw itself tell twenty things.
    let mut members = nodes[0].gossip.members();
    for applied in 1..=20 {
        nodes[0].gossip.tell(Told {
            applied,
            ..Told::default()
        });
        let seen = members.wait_for(|members| {
            members
                .get(&PeerId(1))
                .is_some_and(|me| me.told.applied == applied)
        });
        drop(tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap());
    }
    assert!(!members.borrow().contains_key(&PeerId(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_gossips_once() {
    let (_authority, nodes) = cluster(1).await;
    let again = Gossip::start(Options::default(), nodes[0].network.clone()).await;
    assert!(again.is_err());
}
