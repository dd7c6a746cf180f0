//! Leaders that should not lead: a wrong clock, a full disk.
use std::time::Duration;

use model::command::Reply;

use crate::replica::{Consistency, Error};
use crate::tests::support::cluster::Cluster;
use crate::tests::support::wait::{eventually, until};
use crate::tests::support::words;

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_off_hands_over() {
    let cluster = Cluster::of(3).await;
    for ahead_ms in [60_000, -60_000] {
        let old = cluster.leader().await;
        cluster.node(old).clock.set_ahead(ahead_ms);
        eventually("another leader", || async {
            let leader = cluster.leader().await;
            (leader != old).then_some(())
        })
        .await;
        cluster.node(old).clock.set_ahead(0);
    }
    let leader = cluster.leader().await;
    cluster.say(leader, "in time").await.unwrap();
}

/// What is older than log time by an hour is refused for good: one wild clock must not move it.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_runs_off_by_hours_shuts_nobody_out() {
    let cluster = Cluster::of(3).await;
    let wild = cluster.leader().await;
    cluster.say(wild, "before").await.unwrap();
    cluster.node(wild).clock.set_ahead(5 * 3_600_000);
    // Its own clients go by its clock. Whether it takes their writes or not is its business.
    for _ in 0..20 {
        drop(cluster.say(wild, "ahead").await);
    }
    for other in cluster.others(wild) {
        eventually("taken", || async {
            let written = cluster.say(other, "on time").await.ok()?;
            (!matches!(written.reply, Reply::Rejected(_))).then_some(())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_nearly_right_stays() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.node(leader).clock.set_ahead(4_000);
    let follower = cluster.follower().await;
    cluster.node(follower).clock.set_ahead(-90_000);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test(start_paused = true)]
async fn a_leader_with_a_full_disk_hands_over() {
    let cluster = Cluster::of(3).await;
    let full = cluster.leader().await;
    cluster.node(full).set_low(true);
    let replica = &cluster.node(full).replica;
    until("low", replica, |it| it.is_disk_low).await;
    eventually("another leader", || async {
        (cluster.leader().await != full).then_some(())
    })
    .await;
    // It takes writes for the leader, and reads what it has.
    let others = cluster.others(full);
    let new = cluster.leader_among(&others).await;
    cluster.say(new, "goes on").await.unwrap();
    // It does not come back to power while it is full.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_ne!(cluster.leader().await, full);
    cluster.node(full).set_low(false);
    assert_eq!(
        cluster.said(full, Consistency::Linearizable).await,
        ["goes on"]
    );
}

#[tokio::test(start_paused = true)]
async fn with_full_disks_everywhere_writes_are_refused_until_there_is_room() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.say(leader, "before").await.unwrap();
    for node in cluster.nodes.values() {
        node.set_low(true);
    }
    for node in cluster.nodes.values() {
        until("low", &node.replica, |it| it.is_disk_low).await;
    }
    let follower = cluster.follower().await;
    for id in [leader, follower] {
        let node = cluster.node(id);
        let write = node.proposal(words::say(cluster.bob, "no"));
        let refused = node.replica.write(write, Duration::from_secs(2)).await;
        let Err(Error::Unavailable { why, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("nearly full"), "{why}");
        // Reads go on.
        assert_eq!(
            cluster.said(id, Consistency::Linearizable).await,
            ["before"]
        );
    }
    for node in cluster.nodes.values() {
        node.set_low(false);
    }
    for node in cluster.nodes.values() {
        until("with room", &node.replica, |it| !it.is_disk_low).await;
    }
    eventually("a write", || async {
        cluster.say(follower, "after").await.ok()
    })
    .await;
    assert_eq!(cluster.settled().await, ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn full_followers_take_the_leaders_writes_with_them() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for id in cluster.others(leader) {
        cluster.node(id).set_low(true);
        until("low", &cluster.node(id).replica, |it| it.is_disk_low).await;
    }
    // Once the leader has asked them, it takes nothing that it could not commit.
    eventually("refused", || async {
        let node = cluster.node(leader);
        let write = node.proposal(words::say(cluster.bob, "no"));
        let refused = node.replica.write(write, Duration::from_millis(500)).await;
        matches!(refused, Err(Error::Unavailable { .. })).then_some(())
    })
    .await;
}
