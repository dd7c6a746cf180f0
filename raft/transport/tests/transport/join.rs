//! How a new node gets in, and how it does not.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use transport::endpoint::Endpoint;
use transport::identity::{Identity, JoinToken, NewNode, hash_secret};
use transport::join::{Gate, JoinError, JoinGrant, JoinRequest, join};
use transport::network::{Network as _, PeerId, Refusal};

use crate::support::*;

/// Admits whoever knows the secret.
struct Doorkeeper {
    cluster: Cluster,
    token_hash: [u8; 32],
    next: AtomicU64,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    pause: Duration,
}

#[async_trait]
impl Gate for Doorkeeper {
    async fn admit(&self, request: JoinRequest) -> Result<JoinGrant, Refusal> {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        sleep(self.pause).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if hash_secret(&request.secret) != self.token_hash {
            return Err(Refusal("this join token is not valid".into()));
        }
        let peer = PeerId(self.next.fetch_add(1, Ordering::SeqCst));
        let certificate = self.cluster.authority.sign(&request.csr, peer);
        Ok(JoinGrant {
            cluster_id: CLUSTER.into(),
            peer,
            ca_certificate: self.cluster.authority.certificate(),
            certificate: certificate.map_err(|error| Refusal(error.to_string()))?,
            peers: vec![(PeerId(1), "127.0.0.1:1".into())],
        })
    }
}

struct Door {
    node: Arc<Endpoint>,
    token: JoinToken,
    keeper: Arc<Doorkeeper>,
}

impl Door {
    fn new(pause: Duration) -> Door {
        let cluster = Cluster::new();
        let token = JoinToken::generate(&cluster.authority.certificate());
        let node = cluster.node(1);
        let keeper = Arc::new(Doorkeeper {
            cluster,
            token_hash: token.hash(),
            next: AtomicU64::new(2),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
            pause,
        });
        Door {
            node,
            token,
            keeper,
        }
    }

    fn open() -> Door {
        let door = Door::new(Duration::ZERO);
        door.node.set_gate(door.keeper.clone());
        door
    }

    fn address(&self) -> String {
        self.node.local_addr().to_string()
    }
}

fn request(token: &JoinToken, node: &NewNode) -> JoinRequest {
    JoinRequest {
        secret: token.secret,
        csr: node.csr.clone(),
        incarnation: [1; 16],
        zone: "home".into(),
        request: [2; 16],
    }
}

async fn knock(door: &Door, token: &JoinToken) -> Result<JoinGrant, JoinError> {
    let node = NewNode::generate().unwrap();
    let address = [door.address()];
    bounded(join(&address, token, request(token, &node), PLENTY)).await
}

#[tokio::test]
async fn a_new_node_joins_and_is_one_of_them() {
    let door = Door::open();
    door.node.serve(echo());
    let new = NewNode::generate().unwrap();
    let request = request(&door.token, &new);
    let grant = bounded(join(&[door.address()], &door.token, request, PLENTY)).await;
    let grant = grant.unwrap();
    assert_eq!((grant.peer, &*grant.cluster_id), (PeerId(2), CLUSTER));
    let identity = Identity {
        cluster_id: grant.cluster_id,
        peer: grant.peer,
        ca_certificate: grant.ca_certificate,
        certificate: grant.certificate,
        key: new.key,
    };
    let two = bind(identity, LOOPBACK).unwrap();
    two.set_address(PeerId(1), door.node.local_addr());
    assert_eq!(
        bounded(ask(&two, 1, FORWARD, b"hello")).await.unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn a_token_of_another_cluster_is_noticed_before_the_secret_is_sent() {
    let door = Door::open();
    let mut token = door.token.clone();
    token.ca_digest[0] ^= 1;
    let error = knock(&door, &token).await.unwrap_err();
    assert!(matches!(error, JoinError::WrongCluster { .. }), "{error}");
    assert_eq!(
        door.keeper.busiest.load(Ordering::SeqCst),
        0,
        "the secret was sent"
    );
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_words() {
    let door = Door::open();
    let mut token = door.token.clone();
    token.secret[0] ^= 1;
    let error = knock(&door, &token).await.unwrap_err();
    assert_eq!(
        error,
        JoinError::Refused("this join token is not valid".into())
    );
}

#[tokio::test]
async fn joining_waits_for_a_node_that_is_still_starting() {
    let door = Door::new(Duration::ZERO);
    let (node, keeper) = (door.node.clone(), door.keeper.clone());
    tokio::spawn(async move {
        sleep(Duration::from_millis(600)).await;
        node.set_gate(keeper);
    });
    knock(&door, &door.token).await.unwrap();
}

#[tokio::test]
async fn the_first_address_that_answers_will_do() {
    let door = Door::open();
    let dead = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let dead = dead.local_addr().unwrap().to_string();
    let stranger = Cluster::new().node(1);
    let new = NewNode::generate().unwrap();
    let addresses = [dead, stranger.local_addr().to_string(), door.address()];
    let asked = join(&addresses, &door.token, request(&door.token, &new), PLENTY);
    bounded(asked).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_in_time() {
    let token = JoinToken::generate(b"any");
    let new = NewNode::generate().unwrap();
    let none = join(&[], &token, request(&token, &new), PLENTY).await;
    assert_eq!(none, Err(JoinError::NoAddress));
    let started = Instant::now();
    let addresses = ["127.0.0.1:9".to_owned(), "no such host:1".to_owned()];
    let within = Duration::from_secs(1);
    let error = join(&addresses, &token, request(&token, &new), within)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, JoinError::NoAnswer(why) if why.contains("127.0.0.1:9")),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_in_a_few_at_a_time() {
    let door = Arc::new(Door::new(Duration::from_millis(50)));
    door.node.set_gate(door.keeper.clone());
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let door = door.clone();
        crowd.spawn(async move { knock(&door, &door.token).await.unwrap().peer });
    }
    let mut peers = bounded(crowd.join_all()).await;
    peers.sort();
    peers.dedup();
    assert_eq!(peers.len(), 20);
    let busiest = door.keeper.busiest.load(Ordering::SeqCst);
    assert!((1..=8).contains(&busiest), "{busiest} at once");
}

#[tokio::test]
async fn junk_and_endless_requests_are_broken_off() {
    let door = Door::open();
    let connect = || async {
        let (cluster, to) = (&door.keeper.cluster, door.node.local_addr());
        raw_client(cluster, None, b"yin-join/1", to).await.unwrap()
    };
    let connection = connect().await;
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&[1, 2, 3]).await.unwrap();
    send.finish().unwrap();
    let answer = bounded(receive.read_to_end(1000)).await.unwrap();
    assert_eq!(answer[..2], [1, 1]);

    let connection = connect().await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    // Fails as soon as the other end has had enough.
    let _ = send.write_all(&[1; 200_000]).await;
    bounded(connection.closed()).await;
    knock(&door, &door.token).await.unwrap();
}

/// Grants whatever it was made with.
struct Liar(JoinGrant);

#[async_trait]
impl Gate for Liar {
    async fn admit(&self, _request: JoinRequest) -> Result<JoinGrant, Refusal> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_grant_that_does_not_fit_is_not_taken() {
    let cluster = Cluster::new();
    let token = JoinToken::generate(&cluster.authority.certificate());
    let (node, new) = (cluster.node(1), NewNode::generate().unwrap());
    let good = JoinGrant {
        cluster_id: CLUSTER.into(),
        peer: PeerId(5),
        ca_certificate: cluster.authority.certificate(),
        certificate: cluster.authority.sign(&new.csr, PeerId(5)).unwrap(),
        peers: Vec::new(),
    };
    let other = Cluster::new();
    let mut lies = vec![good.clone(); 5];
    lies[0].peer = PeerId(6);
    lies[1].cluster_id = "other".into();
    lies[2].ca_certificate = other.authority.certificate();
    lies[3].certificate = other.authority.sign(&new.csr, PeerId(5)).unwrap();
    lies[4].certificate = cluster.identity(5).certificate;
    let address = [node.local_addr().to_string()];
    for (number, lie) in lies.into_iter().enumerate() {
        node.set_gate(Arc::new(Liar(lie)));
        let error = bounded(join(&address, &token, request(&token, &new), PLENTY)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, JoinError::BadAnswer { .. }),
            "lie {number}: {error}"
        );
    }
    node.set_gate(Arc::new(Liar(good.clone())));
    let grant = bounded(join(&address, &token, request(&token, &new), PLENTY)).await;
    assert_eq!(grant, Ok(good));
}
