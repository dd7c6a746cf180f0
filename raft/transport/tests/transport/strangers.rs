//! Those who must not get in, and those who got in and break the rules.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transport::endpoint::{BindError, Endpoint, Options};
use transport::network::{Error, Handlers, Network as _, PeerId};

use crate::support::*;

/// Handlers that count how often anyone got through.
fn counting() -> (Handlers, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = count.clone();
    let handlers = handlers(move |_, body, _| {
        calls.fetch_add(1, Ordering::SeqCst);
        async move { Ok(body) }
    });
    (handlers, count)
}

/// A well-formed urgent request to service 1.
fn request() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 14, 1, 1];
    bytes.extend(0_u64.to_be_bytes());
    bytes.extend(5000_u32.to_be_bytes());
    bytes
}

/// Sends `bytes` on a stream of its own and gives what came back.
async fn try_stream(connection: &quinn::Connection, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(bytes).await.ok()?;
    send.finish().ok()?;
    bounded(receive.read_to_end(1 << 20)).await.ok()
}

#[tokio::test]
async fn a_known_peer_may_ask_by_hand() {
    let cluster = Cluster::new();
    let (handlers, calls) = counting();
    let (_one, two) = cluster.pair(handlers);
    let identity = cluster.identity(3);
    let connection = raw_client(&cluster, Some(&identity), b"yin/1", two.local_addr());
    let answer = try_stream(&connection.await.unwrap(), &request())
        .await
        .unwrap();
    assert_eq!(answer[..4], [0, 0, 0, 14]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_without_a_certificate_gets_a_byte_in() {
    let cluster = Cluster::new();
    let (handlers, calls) = counting();
    let (_one, two) = cluster.pair(handlers);
    let connection = raw_client(&cluster, None, b"yin/1", two.local_addr())
        .await
        .unwrap();
    assert_eq!(try_stream(&connection, &request()).await, None);
    let (code, why) = closed_with(&connection).await;
    assert_eq!((code, why.contains("none was shown")), (1, true), "{why}");
    // The join protocol reads joins and nothing else.
    let connection = raw_client(&cluster, None, b"yin-join/1", two.local_addr())
        .await
        .unwrap();
    let answer = try_stream(&connection, &request()).await.unwrap();
    assert_eq!(answer[..2], [1, 1], "a refusal");
    let other = raw_client(&cluster, None, b"http/3", two.local_addr()).await;
    assert!(other.is_err());
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_node_of_another_authority_gets_nowhere() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let (handlers, calls) = counting();
    let (_one, two) = ours.pair(handlers);
    // Same cluster id, own CA.
    let foreign = theirs.node(3);
    foreign.serve(echo());
    meet(&[&foreign, &two]);
    for (from, to) in [(&foreign, 2), (&two, 3)] {
        let answer = from
            .request(PeerId(to), FORWARD, "x".into(), Duration::from_secs(2))
            .await;
        assert!(
            matches!(answer, Err(Error::Unreachable { .. })),
            "{answer:?}"
        );
    }
    // One that trusts us, but whom we do not trust.
    let identity = theirs.identity(3);
    let connection = raw_client(&ours, Some(&identity), b"yin/1", two.local_addr()).await;
    if let Ok(connection) = connection {
        assert_eq!(try_stream(&connection, &request()).await, None);
        bounded(connection.closed()).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_node_at_anothers_address_is_not_taken_for_it() {
    let cluster = Cluster::new();
    let (handlers, calls) = counting();
    let (one, three) = (cluster.node(1), cluster.node(3));
    three.serve(handlers);
    one.set_address(PeerId(2), three.local_addr());
    let answer = bounded(ask(&one, 2, FORWARD, b"for two only")).await;
    assert!(
        matches!(answer, Err(Error::Unreachable { .. })),
        "{answer:?}"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    one.set_address(PeerId(3), three.local_addr());
    bounded(ask(&one, 3, FORWARD, b"for three")).await.unwrap();
}

#[tokio::test]
async fn a_nodes_own_id_from_elsewhere_is_refused() {
    let cluster = Cluster::new();
    let (handlers, calls) = counting();
    let (_one, two) = cluster.pair(handlers);
    let twin = cluster.identity(2);
    let connection = raw_client(&cluster, Some(&twin), b"yin/1", two.local_addr())
        .await
        .unwrap();
    assert_eq!(try_stream(&connection, &request()).await, None);
    assert_eq!(closed_with(&connection).await.0, 1);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn malformed_frames_cost_their_sender_the_connection_and_nobody_else() {
    let cluster = Cluster::new();
    let (one, two) = cluster.pair(echo());
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    let mut wrong_version = request();
    wrong_version[5] = 9;
    let malformed: [(&[u8], &str); 6] = [
        (&[0], "stream kind 0"),
        (&[77, 1, 2, 3], "stream kind 77"),
        (&[1, 0, 0, 0, 1, 1], "too short"),
        (&[2, 0xff, 0xff, 0xff, 0xff], "too long"),
        (&[3, 0x7f, 0, 0, 0, 1], "too long"),
        (&wrong_version, "version 9"),
    ];
    let identity = cluster.identity(3);
    for (bytes, word) in malformed {
        let connection = raw_client(&cluster, Some(&identity), b"yin/1", two.local_addr());
        let connection = connection.await.unwrap();
        assert_eq!(try_stream(&connection, bytes).await, None);
        let (code, why) = closed_with(&connection).await;
        assert_eq!((code, why.contains(word)), (2, true), "{why}");
    }
    // A frame that is cut off, and a stream of nothing, are nobody's fault.
    let connection = raw_client(&cluster, Some(&identity), b"yin/1", two.local_addr());
    let connection = connection.await.unwrap();
    for bytes in [&[][..], &[1], &[2, 0, 0], &[5, 0, 0, 0, 99, 1, 1]] {
        assert_eq!(
            try_stream(&connection, bytes).await.unwrap_or_default(),
            b""
        );
    }
    let answer = try_stream(&connection, &request()).await;
    assert!(answer.is_some());
    for lane in LANES {
        assert_eq!(bounded(ask(&one, 2, lane, b"x")).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn a_malformed_message_costs_the_connection() {
    let cluster = Cluster::new();
    let (_one, two) = cluster.pair(echo());
    let identity = cluster.identity(3);
    for bytes in [vec![9, 1, 2], vec![], vec![1; 80_000]] {
        let connection = raw_client(&cluster, Some(&identity), b"yin/1", two.local_addr());
        let connection = connection.await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        // The other end may close while this one still writes.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.finish();
        assert_eq!(closed_with(&connection).await.0, 2);
    }
}

#[tokio::test]
async fn an_identity_whose_parts_do_not_fit_does_not_start() {
    let cluster = Cluster::new();
    let (good, other) = (cluster.identity(1), cluster.identity(2));
    let foreign = Cluster::new().identity(1);
    let mut wrong = vec![good.clone(); 5];
    wrong[0].key = other.key.clone();
    wrong[1].peer = PeerId(9);
    wrong[2].ca_certificate = foreign.ca_certificate.clone();
    wrong[3].cluster_id = "other".into();
    wrong[4].certificate = b"junk".to_vec();
    for (number, identity) in wrong.into_iter().enumerate() {
        match bind(identity, LOOPBACK) {
            Err(BindError::Identity(_)) => {}
            Err(error) => panic!("case {number}: {error}"),
            Ok(_) => panic!("case {number} was bound"),
        }
    }
    assert!(bind(good, LOOPBACK).is_ok());
}

#[tokio::test]
async fn a_node_says_where_it_is() {
    let cluster = Cluster::new();
    let bind = |listen: &str, advertise: Option<&str>| {
        Endpoint::bind(Options {
            listen: listen.parse().unwrap(),
            advertise: advertise.map(|address| address.parse().unwrap()),
            identity: cluster.identity(1),
            gate: None,
        })
    };
    assert!(matches!(
        bind("0.0.0.0:0", None),
        Err(BindError::NoAdvertise(_))
    ));
    assert!(matches!(
        bind("127.0.0.1:0", Some("0.0.0.0:7")),
        Err(BindError::NoAdvertise(_))
    ));
    let one = bind("0.0.0.0:0", Some("127.0.0.1:0")).unwrap();
    assert_ne!(one.local_addr().port(), 0);
    let two = bind("127.0.0.1:0", Some("10.1.2.3:999")).unwrap();
    assert_eq!(two.local_addr(), "10.1.2.3:999".parse().unwrap());
    let taken = bind(&one.local_addr().to_string(), None);
    assert!(matches!(taken, Err(BindError::Socket { .. })));
}
