//! Gossip over real QUIC on loopback: nodes find each other, tell, die, come back, and nobody
//! passes for another.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may fail the test too"
)]
mod impostor;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::impostor::Impostor;
use bytes::Bytes;
use chitchat::{ChitchatId, Serializable as _};
use gossip::members::{Member, Members, Told};
use gossip::{Error, Gossip, Options};
use tokio::time::{Instant, timeout};
use transport::endpoint::{self, Endpoint};
use transport::identity::{Authority, Identity, NewNode};
use transport::memory::Hub;
use transport::network::{Network, PeerId};

const CLUSTER: &str = "demo";
const INTERVAL: Duration = Duration::from_millis(50);
/// Long enough for a busy machine, short enough to fail.
const PLENTY: Duration = Duration::from_secs(20);

struct Cluster {
    authority: Authority,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster {
            authority: Authority::generate(CLUSTER).unwrap(),
        }
    }

    fn identity(&self, peer: u64) -> Identity {
        let node = NewNode::generate().unwrap();
        Identity {
            cluster_id: CLUSTER.into(),
            peer: PeerId(peer),
            ca_certificate: self.authority.certificate(),
            certificate: self.authority.sign(&node.csr, PeerId(peer)).unwrap(),
            key: node.key,
        }
    }

    fn endpoint(&self, peer: u64) -> Arc<Endpoint> {
        Endpoint::bind(endpoint::Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: None,
            identity: self.identity(peer),
            gate: None,
        })
        .unwrap()
    }

    async fn node(&self, peer: u64, seeds: &[&Node]) -> Node {
        let endpoint = self.endpoint(peer);
        let seeds = seeds
            .iter()
            .map(|node| node.endpoint.local_addr())
            .collect();
        let gossip = start(endpoint.clone(), seeds, 1).await;
        Node { endpoint, gossip }
    }
}

struct Node {
    endpoint: Arc<Endpoint>,
    gossip: Gossip,
}

impl Node {
    async fn crash(self) {
        self.endpoint.close().await;
        self.gossip.stop().await;
    }
}

async fn start(network: Arc<dyn Network>, seeds: Vec<SocketAddr>, generation: u64) -> Gossip {
    let options = Options {
        cluster_id: CLUSTER.into(),
        interval: INTERVAL,
        seeds,
        generation,
        ..Options::default()
    };
    Gossip::start(options, network).await.unwrap()
}

/// Waits until the members are as wanted.
async fn until(gossip: &Gossip, what: &str, wanted: impl Fn(&Members) -> bool) -> Arc<Members> {
    let mut members = gossip.members();
    let found = timeout(PLENTY, members.wait_for(|members| wanted(members))).await;
    match found {
        Ok(found) => found.unwrap().clone(),
        Err(_elapsed) => panic!(
            "never happened: {what}; last seen: {:#?}",
            gossip.members().borrow()
        ),
    }
}

fn living(members: &Members) -> Vec<u64> {
    let living = members.values().filter(|member| member.is_alive);
    living.map(|member| member.peer.0).collect()
}

fn member(members: &Members, peer: u64) -> &Member {
    &members[&PeerId(peer)]
}

fn told(applied: u64) -> Told {
    Told {
        http_url: "http://127.0.0.1:8080".into(),
        zone: "home".into(),
        role: "voter".into(),
        version: "0.1.0".into(),
        applied,
        load: 3,
        disk_free_bytes: 1 << 40,
        clock_ms: 1_700_000_000_000,
    }
}

#[tokio::test]
async fn a_node_alone_knows_itself() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    one.gossip.tell(told(5));
    let members = until(&one.gossip, "itself", |members| {
        members
            .get(&PeerId(1))
            .is_some_and(|own| own.told == told(5))
    })
    .await;
    let own = member(&members, 1);
    assert_eq!((own.is_alive, own.round_trip), (true, None));
    assert_eq!(own.address, one.endpoint.local_addr());
    assert_eq!(members.len(), 1);
    let second = Gossip::start(Options::default(), one.endpoint.clone()).await;
    assert!(matches!(second.err(), Some(Error::MessagesTaken)));
}

#[tokio::test]
async fn three_nodes_find_each_other_through_one() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let two = cluster.node(2, &[&one]).await;
    let three = cluster.node(3, &[&one]).await;
    for node in [&one, &two, &three] {
        let members = until(&node.gossip, "three living nodes", |members| {
            living(members) == [1, 2, 3]
        })
        .await;
        for other in [&one, &two, &three] {
            let seen = member(&members, other.endpoint.me().0);
            assert_eq!(seen.address, other.endpoint.local_addr());
        }
    }
    // Two and three were never told of each other, but their networks are now.
    let address = three.endpoint.local_addr();
    assert_eq!(two.endpoint.address(PeerId(3)), Some(address));
    until(&two.gossip, "a round trip to three", |members| {
        member(members, 3).round_trip.is_some()
    })
    .await;
}

#[tokio::test]
async fn what_a_node_tells_is_heard_by_five() {
    let cluster = Cluster::new();
    let mut nodes = vec![cluster.node(1, &[]).await];
    for peer in 2..=5 {
        let node = cluster.node(peer, &[&nodes[nodes.len() - 1]]).await;
        nodes.push(node);
    }
    for (node, applied) in nodes.iter().zip(100..) {
        node.gossip.tell(told(applied));
    }
    for node in &nodes {
        until(&node.gossip, "what five told", |members| {
            let heard: Vec<u64> = members.values().map(|member| member.told.applied).collect();
            living(members).len() == 5 && heard == [100, 101, 102, 103, 104]
        })
        .await;
    }
    nodes[2].gossip.tell(told(999));
    for node in &nodes {
        let members = until(&node.gossip, "the news", |members| {
            member(members, 3).told.applied == 999
        });
        let members = members.await;
        assert_eq!(member(&members, 3).told, told(999));
    }
}

#[tokio::test]
async fn a_dead_node_is_seen_in_time_and_its_next_start_too() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let two = cluster.node(2, &[&one]).await;
    let three = cluster.node(3, &[&one]).await;
    three.gossip.tell(told(7));
    for node in [&one, &two] {
        until(&node.gossip, "three and its news", |members| {
            living(members) == [1, 2, 3] && member(members, 3).told == told(7)
        })
        .await;
    }
    let old = three.endpoint.local_addr();
    three.crash().await;
    let died = Instant::now();
    for node in [&one, &two] {
        let members = until(&node.gossip, "the death", |members| {
            living(members) == [1, 2]
        })
        .await;
        // It is remembered, with what it told.
        assert_eq!(member(&members, 3).told, told(7));
    }
    assert!(
        died.elapsed() < Duration::from_secs(6),
        "{:?}",
        died.elapsed()
    );

    // It comes back elsewhere, as after a move to another machine.
    let endpoint = cluster.endpoint(3);
    let new = endpoint.local_addr();
    assert_ne!(old, new);
    let again = start(endpoint, vec![one.endpoint.local_addr()], 2).await;
    until(&again, "everyone", |members| living(members) == [1, 2, 3]).await;
    for node in [&one, &two] {
        let members = until(&node.gossip, "the return", |members| {
            living(members) == [1, 2, 3] && member(members, 3).address == new
        })
        .await;
        assert_eq!(members.len(), 3, "one entry per node");
        assert_eq!(member(&members, 3).told, Told::default());
        assert_eq!(node.endpoint.address(PeerId(3)), Some(new));
    }
}

#[tokio::test]
async fn seeds_may_come_later() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let two = cluster.node(2, &[]).await;
    // Nobody lives there; harmless.
    two.gossip.add_seeds(vec!["127.0.0.1:9".parse().unwrap()]);
    until(&one.gossip, "itself", |members| living(members) == [1]).await;
    two.gossip.add_seeds(vec![one.endpoint.local_addr()]);
    for node in [&one, &two] {
        until(&node.gossip, "the other", |members| {
            living(members) == [1, 2]
        })
        .await;
    }
}

#[tokio::test]
async fn stopping_ends_everything() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let two = cluster.node(2, &[&one]).await;
    until(&one.gossip, "two", |members| living(members) == [1, 2]).await;
    let mut members = two.gossip.members();
    timeout(PLENTY, two.gossip.stop())
        .await
        .expect("stop hangs");
    timeout(PLENTY, two.gossip.clone().stop())
        .await
        .expect("a second stop hangs");
    members.mark_unchanged();
    let ended = timeout(PLENTY, members.changed())
        .await
        .expect("the keeper lives on");
    assert!(ended.is_err());
    until(&one.gossip, "the end of two", |members| {
        living(members) == [1]
    })
    .await;
    // Dropping the last handle ends it too.
    let mut members = one.gossip.members();
    drop(one.gossip);
    let ended = async { while members.changed().await.is_ok() {} };
    timeout(PLENTY, ended).await.expect("the keeper lives on");
}

#[tokio::test]
async fn nobody_passes_for_another() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let two = cluster.node(2, &[&one]).await;
    two.gossip.tell(told(1));
    until(&one.gossip, "two", |members| living(members) == [1, 2]).await;
    let liar = |peer, claims| {
        let endpoint = cluster.endpoint(peer);
        let claims = PeerId(claims);
        Arc::new(Impostor { endpoint, claims })
    };
    // One that claims a living node's id with a newer generation, and one a node's nobody knows.
    let seeds = vec![one.endpoint.local_addr(), two.endpoint.local_addr()];
    let mut liars = Vec::new();
    for network in [liar(3, 2), liar(4, 77)] {
        let gossip = start(network, seeds.clone(), 1_000_000).await;
        gossip.tell(told(666));
        liars.push(gossip);
    }
    // Time enough for the truth to spread ten times over.
    let members = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, mut watch) = (members.clone(), one.gossip.members());
    let watching = tokio::spawn(async move {
        while watch.changed().await.is_ok() {
            seen.lock().unwrap().push(watch.borrow_and_update().clone());
        }
    });
    for applied in 2..12 {
        two.gossip.tell(told(applied));
        until(&one.gossip, "the truth", |members| {
            member(members, 2).told == told(applied)
        })
        .await;
    }
    watching.abort();
    let members = members.lock().unwrap();
    assert!(members.len() >= 10);
    for members in members.iter() {
        assert_eq!(members.len(), 2, "{members:#?}");
        let two_seen = member(members, 2);
        assert_eq!(two_seen.address, two.endpoint.local_addr());
        assert_ne!(two_seen.told.applied, 666);
    }
}

#[tokio::test]
async fn another_clusters_node_is_not_heard() {
    let one = Cluster::new().node(1, &[]).await;
    // Same cluster id, another CA.
    let stranger = Cluster::new().node(9, &[&one]).await;
    stranger.gossip.tell(told(666));
    until(&stranger.gossip, "itself", |members| living(members) == [9]).await;
    // The stranger has spoken often by the time that the node heard itself tell twenty things.
    for applied in 1..=20 {
        one.gossip.tell(told(applied));
        let members = until(&one.gossip, "itself", |members| {
            members
                .get(&PeerId(1))
                .is_some_and(|own| own.told.applied == applied)
        });
        assert_eq!(members.await.len(), 1);
        tokio::time::sleep(INTERVAL).await;
    }
}

#[tokio::test]
async fn junk_messages_are_ignored() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    let rowdy = cluster.endpoint(9);
    // Too short, not gossip, and a digest that promises more nodes than it has.
    let junk: [&[u8]; 4] = [
        b"",
        b"abc",
        &[0; 500],
        &[0x53, 0xb0, 0, 0, 0xff, 0xff, 1, 0],
    ];
    for body in junk.iter().cycle().take(100) {
        rowdy.message(one.endpoint.local_addr(), Bytes::from_static(body));
    }
    let two = cluster.node(2, &[&one]).await;
    for node in [&one, &two] {
        until(&node.gossip, "business as usual", |members| {
            living(members) == [1, 2]
        })
        .await;
    }
}

/// A digest that names its sender and `count` others that do not exist.
fn crowd(sender: &Endpoint, first: u64, count: u64) -> Bytes {
    let mut body = vec![0x53, 0xb0, 0, 0];
    let ids = std::iter::once((sender.me().0, sender.local_addr()))
        .chain((first..first + count).map(|peer| (peer, "127.0.0.1:9".parse().unwrap())));
    u16::try_from(count + 1).unwrap().serialize(&mut body);
    for (peer, address) in ids {
        ChitchatId::new(peer.to_string(), 1, address).serialize(&mut body);
        for number in [1_u64, 0, 0] {
            number.serialize(&mut body);
        }
    }
    CLUSTER.to_owned().serialize(&mut body);
    body.into()
}

#[tokio::test]
async fn a_broken_chitchat_is_started_again() {
    let cluster = Cluster::new();
    let one = cluster.node(1, &[]).await;
    one.gossip.tell(told(5));
    let rowdy = cluster.endpoint(9);
    // Digests of chitchat's have no bound, and with two thousand nodes it counts below zero.
    for round in 0..5 {
        rowdy.message(
            one.endpoint.local_addr(),
            crowd(&rowdy, 1000 * (round + 1), 500),
        );
    }
    let two = cluster.node(2, &[&one]).await;
    for node in [&one, &two] {
        until(&node.gossip, "business as usual", |members| {
            living(members) == [1, 2] && member(members, 1).told == told(5)
        })
        .await;
    }
}

#[tokio::test]
async fn it_runs_in_memory_too_and_heals_after_a_cut() {
    let hub = Hub::new();
    let mut nodes = Vec::new();
    for peer in 1..=3 {
        let network = hub.join(PeerId(peer));
        let seeds = vec![transport::memory::address_of(PeerId(1))];
        nodes.push(start(network, seeds, 1).await);
    }
    for gossip in &nodes {
        until(gossip, "three", |members| living(members) == [1, 2, 3]).await;
    }
    hub.cut(PeerId(1), PeerId(3));
    hub.cut(PeerId(2), PeerId(3));
    until(&nodes[0], "three lost", |members| living(members) == [1, 2]).await;
    until(&nodes[2], "alone", |members| living(members) == [3]).await;
    hub.heal();
    for gossip in &nodes {
        until(gossip, "three again", |members| {
            living(members) == [1, 2, 3]
        })
        .await;
    }
}
