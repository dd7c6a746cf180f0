//! How fresh a read is, and what it costs.
use std::time::Duration;

use futures_util::future::join_all;
use transport::network::Network;

use crate::position::{Invalid, Position};
use crate::replica::{Consistency, Error};
use crate::tests::support::cluster::Cluster;
use crate::tests::support::words::{EPOCH, POSITION_KEY};

#[tokio::test(start_paused = true)]
async fn reads_at_once_share_a_barrier() {
    let cluster = Cluster::of(3).await;
    let id = cluster.follower().await;
    let node = cluster.node(id);
    let before = node.network.sent().requests;
    let reads = (0..1_000).map(|_| node.read(Consistency::Linearizable));
    for reading in join_all(reads).await {
        reading.unwrap();
    }
    let asked = node.network.sent().requests - before;
    assert!((1..=3).contains(&asked), "1000 reads asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_reached_asks_nobody() {
    let cluster = Cluster::of(3).await;
    let id = cluster.follower().await;
    let written = cluster.say(id, "hello").await.unwrap();
    let node = cluster.node(id);
    let before = node.network.sent();
    for _ in 0..100 {
        let session = Consistency::Session(Some(written.position));
        node.read(session).await.unwrap();
        node.read(Consistency::Local).await.unwrap();
    }
    assert_eq!(node.network.sent(), before);
}

#[tokio::test(start_paused = true)]
async fn a_barrier_sees_what_was_written_elsewhere_before_it() {
    let cluster = Cluster::of(3).await;
    for number in 0..30_u64 {
        let (writer, reader) = (number % 3 + 1, (number + 1) % 3 + 1);
        let text = format!("number {number}");
        cluster.say(writer, &text).await.unwrap();
        let said = cluster.said(reader, Consistency::Linearizable).await;
        assert_eq!(said.last(), Some(&text));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_leader_serves_no_barrier() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    cluster.isolate(old);
    let node = cluster.node(old);
    // At once, while it still believes that it leads.
    for consistency in [Consistency::Session(None), Consistency::Linearizable] {
        let refused = node
            .replica
            .read(consistency, Duration::from_millis(300))
            .await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
    }
    let others = cluster.others(old);
    let new = cluster.leader_among(&others).await;
    cluster.say(new, "meanwhile").await.unwrap();
    let late = node
        .replica
        .read(Consistency::Linearizable, Duration::from_secs(2))
        .await;
    assert!(matches!(late, Err(Error::Unavailable { .. })));
    // What it has applied it still shows to who asks for no more.
    assert_eq!(cluster.said(old, Consistency::Local).await, [""; 0]);
    cluster.hub.heal();
    let said = cluster.said(old, Consistency::Linearizable).await;
    assert_eq!(said, ["meanwhile"]);
}

/// What makes a leader's lease worthless: a follower that restarts has forgotten that it gave one.
#[tokio::test(start_paused = true)]
async fn a_follower_that_restarts_fast_makes_no_stale_read() {
    let mut cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let [forgetful, far] = cluster.others(old).into_iter().collect::<Vec<_>>()[..] else {
        unreachable!();
    };
    // The far one is alone for so long that it holds no lease of the leader's.
    cluster.isolate(far);
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.isolate(old);
    cluster.restart(forgetful).await;
    cluster.hub.heal();
    cluster.isolate(old);
    let written = cluster.say(far, "newer").await.unwrap();
    let stale = cluster
        .node(old)
        .replica
        .read(Consistency::Linearizable, Duration::from_millis(500))
        .await;
    assert!(matches!(stale, Err(Error::Unavailable { .. })));
    cluster.hub.heal();
    let session = Consistency::Session(Some(written.position));
    assert_eq!(cluster.said(old, session).await, ["newer"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_from_the_future_is_told_apart_from_a_node_that_lags() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let behind = cluster.follower().await;
    let index = cluster.node(leader).replica.status().last_log_index + 1_000;
    let position = Position {
        epoch: EPOCH,
        index,
    };
    let future = Consistency::Session(Some(position));
    for id in [leader, behind] {
        let refused = cluster.node(id).read(future).await;
        assert!(matches!(refused, Err(Error::FuturePosition)));
    }
    cluster.isolate(behind);
    let written = cluster.say(leader, "unheard").await.unwrap();
    let session = Consistency::Session(Some(written.position));
    let lagging = cluster
        .node(behind)
        .replica
        .read(session, Duration::from_secs(2))
        .await;
    assert!(matches!(lagging, Err(Error::Unavailable { .. })));
    cluster.hub.heal();
    assert_eq!(cluster.said(behind, session).await, ["unheard"]);
}

#[tokio::test(start_paused = true)]
async fn positions_travel_sealed() {
    let cluster = Cluster::of(1).await;
    let replica = &cluster.node(1).replica;
    let position = Position {
        epoch: EPOCH,
        index: 12_345,
    };
    let text = replica.encode_position(position).unwrap();
    assert_eq!(replica.decode_position(&text), Ok(position));
    let forged = text.replace(&text[6..8], "zz");
    for not_one in ["", "v1.", "v2.AAAA", forged.as_str(), "v1.%%%"] {
        assert_eq!(replica.decode_position(not_one), Err(Invalid::Forged));
    }
    let other_key = position.encode(&[8; 32]);
    assert_eq!(replica.decode_position(&other_key), Err(Invalid::Forged));
    let earlier = Position {
        epoch: EPOCH - 1,
        index: 1,
    };
    let earlier = earlier.encode(&POSITION_KEY);
    assert_eq!(replica.decode_position(&earlier), Err(Invalid::OldEpoch));
}
