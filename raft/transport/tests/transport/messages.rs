//! Small messages: best effort, never in the way.
use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use transport::network::{Network as _, PeerId};

use crate::support::*;

#[tokio::test]
async fn a_message_reaches_an_address_whose_node_is_not_known() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    let mut inbox = two.messages().unwrap();
    assert!(two.messages().is_none());
    one.message(two.local_addr(), "first".into());
    let message = bounded(inbox.recv()).await.unwrap();
    assert_eq!(
        (message.from, &message.body[..]),
        (PeerId(1), &b"first"[..])
    );
    // One port serves both directions, so an answer finds its way.
    assert_eq!(message.address, one.local_addr());
    let mut answers = one.messages().unwrap();
    two.message(message.address, "second".into());
    assert_eq!(bounded(answers.recv()).await.unwrap().body, "second");
    assert_eq!((one.sent().messages, two.sent().messages), (1, 1));
}

#[tokio::test]
async fn a_connection_by_address_goes_on_when_the_node_becomes_known() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    two.serve(echo());
    let mut inbox = two.messages().unwrap();
    one.message(two.local_addr(), "hello".into());
    bounded(inbox.recv()).await.unwrap();
    one.set_address(PeerId(2), two.local_addr());
    assert!(one.round_trip(PeerId(2)).is_some());
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    one.message(two.local_addr(), "again".into());
    bounded(inbox.recv()).await.unwrap();
    assert_eq!(two.connections(), 1);
}

#[tokio::test]
async fn long_messages_pass_and_too_long_ones_are_dropped() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    let mut inbox = two.messages().unwrap();
    one.message(two.local_addr(), Bytes::from(vec![1; 70_001]));
    let long = Bytes::from(vec![2; 65_507]);
    one.message(two.local_addr(), long.clone());
    assert_eq!(bounded(inbox.recv()).await.unwrap().body, long);
}

#[tokio::test]
async fn a_flood_into_the_void_blocks_nobody() {
    let cluster = Cluster::new();
    let (one, two) = cluster.pair(echo());
    let mut inbox = two.messages().unwrap();
    let dead = UdpSocket::bind(LOOPBACK).unwrap();
    let started = Instant::now();
    for _ in 0..100_000 {
        one.message(dead.local_addr().unwrap(), Bytes::from_static(b"anyone?"));
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    // Once the flood is over there is room again.
    bounded(async {
        loop {
            one.message(two.local_addr(), "still here".into());
            let got = timeout(Duration::from_millis(200), inbox.recv()).await;
            if matches!(got, Ok(Some(message)) if message.body == "still here") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_reads_no_messages_keeps_a_bounded_number() {
    let cluster = Cluster::new();
    let (one, two) = cluster.pair(echo());
    for number in 0..5000_u32 {
        one.message(
            two.local_addr(),
            Bytes::copy_from_slice(&number.to_be_bytes()),
        );
        if number % 50 == 0 {
            bounded(ask(&one, 2, URGENT, b"x")).await.unwrap();
        }
    }
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    let mut inbox = two.messages().unwrap();
    let mut kept = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(200), inbox.recv()).await {
        kept += 1;
    }
    assert!((500..=1100).contains(&kept), "{kept} were kept");
}
