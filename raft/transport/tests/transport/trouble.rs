//! Peers that are gone, silent, restarted or moved.
use std::net::UdpSocket;
use std::sync::mpsc as blocking;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use transport::network::{Error, Network as _, PeerId};

use crate::support::*;

#[tokio::test]
async fn an_unknown_peer_is_unreachable_at_once() {
    let one = Cluster::new().node(1);
    let started = Instant::now();
    for peer in [1, 2] {
        let answer = ask(&one, peer, FORWARD, b"").await;
        assert!(
            matches!(answer, Err(Error::Unreachable { .. })),
            "{answer:?}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_dead_peer_is_unreachable_soon_and_then_at_once() {
    let one = Cluster::new().node(1);
    // Somebody who never answers, as a machine without power.
    let dead = UdpSocket::bind(LOOPBACK).unwrap();
    one.set_address(PeerId(2), dead.local_addr().unwrap());
    let started = Instant::now();
    let answer = bounded(ask(&one, 2, URGENT, b"")).await;
    assert!(
        matches!(answer, Err(Error::Unreachable { .. })),
        "{answer:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    for _ in 0..10 {
        let started = Instant::now();
        let answer = bounded(ask(&one, 2, URGENT, b"")).await;
        assert!(
            matches!(answer, Err(Error::Unreachable { .. })),
            "{answer:?}"
        );
        assert!(
            started.elapsed() < Duration::from_millis(500),
            "{:?}",
            started.elapsed()
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_peer_that_was_closed_and_started_again_is_found() {
    let cluster = Cluster::new();
    let (identity, one) = (cluster.identity(2), cluster.node(1));
    let mut two = bind(identity.clone(), LOOPBACK).unwrap();
    let address = two.local_addr();
    one.set_address(PeerId(2), address);
    for round in 0..3 {
        two.serve(echo());
        for lane in LANES {
            let answer = bounded(ask(&one, 2, lane, b"x")).await;
            assert_eq!(answer.unwrap(), "x", "round {round}");
        }
        bounded(two.close()).await;
        drop(two);
        two = bind_again(&identity, address).await;
    }
}

#[tokio::test]
async fn a_peer_that_crashed_and_started_again_is_found_before_the_idle_time() {
    let cluster = Cluster::new();
    let (identity, one) = (cluster.identity(2), cluster.node(1));
    // A runtime of its own dies without a word, as a killed process does.
    let (report, reported) = blocking::channel();
    let first = identity.clone();
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    doomed.spawn(async move {
        let two = bind(first, LOOPBACK).unwrap();
        two.serve(echo());
        report.send(two.local_addr()).unwrap();
        std::future::pending::<()>().await;
        drop(two);
    });
    let address = reported.recv().unwrap();
    one.set_address(PeerId(2), address);
    bounded(ask(&one, 2, FORWARD, b"before")).await.unwrap();
    tokio::task::spawn_blocking(move || doomed.shutdown_timeout(PLENTY))
        .await
        .unwrap();

    let two = bind_again(&identity, address).await;
    two.serve(echo());
    let started = Instant::now();
    let answer = loop {
        let answer = ask(&one, 2, FORWARD, b"after").await;
        if answer.is_ok() || started.elapsed() > PLENTY {
            break answer;
        }
    };
    assert_eq!(answer.unwrap(), "after");
    // Without the reset the old connection lives on until five idle seconds are over.
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_silent_connection_is_given_up_before_the_idle_time() {
    let cluster = Cluster::new();
    let (one, two) = cluster.pair(echo());
    let wire = Wire::to(two.local_addr()).await;
    one.set_address(PeerId(2), wire.address);
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();

    wire.cut(true);
    let started = Instant::now();
    let within = Duration::from_millis(200);
    let mut lost = 0;
    loop {
        match one.request(PeerId(2), FORWARD, Bytes::new(), within).await {
            Err(Error::NoAnswer { .. }) => lost += 1,
            Err(Error::Unreachable { .. }) => break,
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() < PLENTY);
    }
    assert!(lost >= 3, "given up after {lost} timeouts");
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );

    wire.cut(false);
    let started = Instant::now();
    while ask(&one, 2, FORWARD, b"x").await.is_err() {
        assert!(started.elapsed() < PLENTY, "not found again");
    }
}

#[tokio::test]
async fn a_slow_handler_costs_no_connection() {
    let (one, two) = Cluster::new().pair(handlers(|_, body, _| async move {
        if body.is_empty() {
            sleep(PLENTY).await;
        }
        Ok(body)
    }));
    let wire = Wire::to(two.local_addr()).await;
    one.set_address(PeerId(2), wire.address);
    let patient = tokio::spawn({
        let one = one.clone();
        async move {
            // Lost if the connection is dropped meanwhile.
            let slow = one.request(PeerId(2), FORWARD, Bytes::new(), Duration::from_secs(3));
            slow.await
        }
    });
    for _ in 0..8 {
        let within = Duration::from_millis(250);
        let answer = one.request(PeerId(2), URGENT, Bytes::new(), within).await;
        assert!(matches!(answer, Err(Error::NoAnswer { .. })), "{answer:?}");
    }
    let trip = one.round_trip(PeerId(2));
    assert!(trip.is_some(), "the connection was dropped");
    let slow = bounded(patient).await.unwrap();
    assert!(
        matches!(&slow, Err(Error::NoAnswer { why, .. }) if why.contains("time")),
        "{slow:?}"
    );
}

#[tokio::test]
async fn a_peer_that_moved_is_found_at_its_new_address() {
    let cluster = Cluster::new();
    let (one, old) = cluster.pair(echo());
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    let new = cluster.node(2);
    new.serve(handlers(|_, _, _| async { Ok("new".into()) }));
    one.set_address(PeerId(2), new.local_addr());
    assert_eq!(one.address(PeerId(2)), Some(new.local_addr()));
    assert_eq!(bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap(), "new");
    bounded(old.close()).await;
    assert_eq!(bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap(), "new");
}

#[tokio::test]
async fn many_callers_share_one_dial() {
    let cluster = Cluster::new();
    let (one, two) = cluster.pair(echo());
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let one = one.clone();
        asked.spawn(async move { ask(&one, 2, URGENT, b"x").await.unwrap() });
    }
    bounded(asked.join_all()).await;
    assert_eq!(two.connections(), 1);
}
