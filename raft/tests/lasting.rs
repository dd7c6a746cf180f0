//! What outlives restarts, power cuts and purged logs.
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use storage::log::LogStore as _;
use storage::state::StateStore;

use crate::codec;
use crate::options::{Limits, Options};
use crate::replica::{Consistency, Error, Role};
use crate::tests::support::cluster::Cluster;
use crate::tests::support::shaky::SLOW_BUILD;
use crate::tests::support::wait::{eventually, until};
use crate::tests::support::words;
use crate::types::{Entry, Payload, log_id};

fn short_log(node: model::id::NodeId) -> Options {
    Options {
        limits: Limits {
            keep_entries: 5,
            // A snapshot that is sent into the void is given up before the void is healed for long.
            transfer_stall: Duration::from_secs(1),
            ..Limits::default()
        },
        ..Options::new(node)
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_goes_on_from_its_stores() {
    let mut cluster = Cluster::of(3).await;
    cluster.say(1, "before").await.unwrap();
    for id in [1, 2, 3] {
        cluster.restart(id).await;
        let leader = cluster.leader().await;
        cluster.say(leader, &format!("after {id}")).await.unwrap();
    }
    let expected = ["before", "after 1", "after 2", "after 3"];
    assert_eq!(cluster.settled().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_single_node_goes_on_from_its_stores() {
    let mut cluster = Cluster::of(1).await;
    cluster.say(1, "before").await.unwrap();
    cluster.restart(1).await;
    assert_eq!(cluster.said(1, Consistency::Local).await, ["before"]);
    cluster.say(1, "after").await.unwrap();
    assert_eq!(cluster.settled().await, ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_power_cut_everywhere_nothing_acknowledged_is_gone() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..20 {
        cluster.say(1, &format!("number {number}")).await.unwrap();
    }
    let mut dead = Vec::new();
    for id in [1, 2, 3] {
        dead.push(cluster.kill(id).await);
    }
    for node in dead {
        // The state loses everything: nothing of it was made durable.
        let (log, state) = (node.log.power_cut(), node.state.crash());
        cluster.start_again(node, log, state).await;
    }
    // Local reads wait until the state is where it was.
    for id in [1, 2, 3] {
        assert_eq!(cluster.said(id, Consistency::Local).await.len(), 20);
    }
    assert_eq!(cluster.settled().await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn the_log_goes_only_up_to_what_survives_a_power_cut() {
    let mut cluster = Cluster::with(1, short_log).await;
    for number in 0..30 {
        cluster.say(1, &format!("number {number}")).await.unwrap();
    }
    cluster.node(1).replica.snapshot_now().await.unwrap();
    let purged = |it: &crate::replica::Status| it.purged_index > 20;
    until("purged", &cluster.node(1).replica, purged).await;
    cluster.say(1, "after the snapshot").await.unwrap();
    let node = cluster.kill(1).await;
    let (log, state) = (node.log.power_cut(), node.state.crash());
    cluster.start_again(node, log, state).await;
    let said = cluster.said(1, Consistency::Local).await;
    assert_eq!(said.len(), 31);
}

/// A node that applied what its own log did not get to write before it was killed, with a snapshot
/// that is older than that; `other` then stands in the log instead.
async fn a_state_ahead_of_its_log(other: Option<u64>) {
    let mut cluster = Cluster::with(3, short_log).await;
    for number in 0..30 {
        cluster.say(1, &format!("number {number}")).await.unwrap();
    }
    cluster.settled().await;
    let hit = cluster.follower().await;
    let replica = &cluster.node(hit).replica;
    replica.snapshot_now().await.unwrap();
    until("purged", replica, |it| it.purged_index > 20).await;
    for number in 30..40 {
        cluster.say(hit, &format!("number {number}")).await.unwrap();
    }
    cluster.settled().await;
    let node = cluster.kill(hit).await;
    // All of it had left the write buffers.
    let (log, state) = (node.log.kill(), node.state.reopen());
    let last = log.held().last.unwrap();
    log.truncate_from(last).await.unwrap();
    if let Some(term) = other {
        let entry = Entry {
            log_id: log_id(term, last),
            payload: Payload::Blank,
        };
        let (done, synced) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        log.append(vec![(last, codec::encode_entry(&entry))], done)
            .await
            .unwrap();
        synced.await.unwrap().unwrap();
    }
    cluster.start_again(node, log, state).await;
    cluster.say(hit, "after").await.unwrap();
    assert_eq!(cluster.settled().await.len(), 41);
}

/// Found by `jepsen chaos --profile all --seed 11`: openraft's state was invalid and it panicked at
/// every start.
#[tokio::test(start_paused = true)]
async fn a_state_ahead_of_its_log_starts() {
    a_state_ahead_of_its_log(None).await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_stands_where_the_state_has_another_is_cut_off() {
    a_state_ahead_of_its_log(Some(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_behind_a_purged_log_gets_a_snapshot() {
    let mut cluster = Cluster::with(3, short_log).await;
    let behind = cluster.follower().await;
    cluster.isolate(behind);
    let leader = cluster.leader_among(&cluster.others(behind)).await;
    for number in 0..60 {
        let text = format!("number {number}");
        cluster.say(leader, &text).await.unwrap();
    }
    for id in cluster.others(behind) {
        let replica = &cluster.node(id).replica;
        replica.snapshot_now().await.unwrap();
        until("purged", replica, |it| it.purged_index > 40).await;
    }
    let before = cluster.node(behind).replica.status().applied_index;
    let mut events = cluster.node(behind).replica.events();
    cluster.hub.heal();
    assert_eq!(cluster.settled().await.len(), 60);
    let status = cluster.node(behind).replica.status();
    assert!(status.snapshot_index > before, "{status:?}");
    let replaced = std::iter::from_fn(|| events.try_recv().ok()).find(|it| it.is_replaced);
    assert!(replaced.is_some_and(|it| it.index > before));
    // And it is a good node from then on.
    cluster.restart(behind).await;
    cluster.say(behind, "back").await.unwrap();
    assert_eq!(cluster.settled().await.len(), 61);
}

#[tokio::test(start_paused = true)]
async fn a_new_node_starts_from_a_snapshot() {
    let mut cluster = Cluster::with(1, short_log).await;
    for number in 0..40 {
        cluster.say(1, &format!("number {number}")).await.unwrap();
    }
    let first = &cluster.node(1).replica;
    first.snapshot_now().await.unwrap();
    until("purged", first, |it| it.purged_index > 20).await;
    cluster.join(2).await;
    assert_eq!(cluster.said(2, Consistency::Linearizable).await.len(), 40);
    let second = &cluster.node(2).replica;
    until("a learner", second, |it| {
        it.role == Role::Learner && it.is_recovered
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_taken_when_they_are_due() {
    let often = |node| Options {
        limits: Limits {
            snapshot_entries: 50,
            keep_entries: 10,
            ..Limits::default()
        },
        ..Options::new(node)
    };
    let cluster = Cluster::with(3, often).await;
    for id in [1, 2, 3] {
        let replica = &cluster.node(id).replica;
        eventually("two snapshots", || async {
            cluster.say(1, "again and again").await.unwrap();
            let status = replica.status();
            (status.snapshot_index > 100 && status.purged_index > 50).then_some(())
        })
        .await;
    }
    cluster.settled().await;
}

/// A crash between the receipt of a snapshot and its installation, with entries in the log that
/// were never committed.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_came_in_before_a_crash_is_installed_at_the_start() {
    let options = |node| Options {
        limits: Limits {
            entry_commands_max: 1,
            entries_in_flight_max: 16,
            ..Limits::default()
        },
        ..Options::new(node)
    };
    let mut cluster = Cluster::with(3, options).await;
    let old = cluster.leader().await;
    cluster.isolate(old);
    // In the old leader's log only, and beyond the end of the snapshot.
    let node = cluster.node(old);
    let lost = (0..10).map(|_| {
        let lost = node.proposal(words::say(cluster.bob, "never"));
        node.replica.write(lost, Duration::from_millis(300))
    });
    for lost in join_all(lost).await {
        assert!(matches!(lost, Err(Error::Unknown { .. })));
    }
    let new = cluster.leader_among(&cluster.others(old)).await;
    for number in 0..3 {
        let text = format!("number {number}");
        cluster.say(new, &text).await.unwrap();
    }
    let ends = [old, new].map(|id| cluster.node(id).replica.status().last_log_index);
    assert!(ends[0] > ends[1], "{ends:?}");
    let node = cluster.kill(old).await;
    let (log, state) = (node.log.kill(), node.state.crash());
    cluster.hub.heal();
    let sender = &cluster.node(new).state;
    let sent = sender.build_snapshot().unwrap();
    let mut sink = state.receive_snapshot().unwrap();
    for chunk in sender.snapshot_chunks(&sent.id).unwrap() {
        sink.write(&chunk.unwrap()).unwrap();
    }
    sink.finish().unwrap();
    cluster.start_again(node, log, state).await;
    assert_eq!(cluster.settled().await.len(), 3);
    cluster.say(old, "and on").await.unwrap();
    assert_eq!(cluster.settled().await.len(), 4);
}

/// On real time: a build that nobody calls off keeps a thread, and paused time stands still for it.
#[tokio::test]
async fn stopping_does_not_wait_for_a_long_snapshot() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(1);
    node.builds.are_slow.store(true, Ordering::Relaxed);
    let build = tokio::spawn({
        let replica = node.replica.clone();
        async move { replica.snapshot_now().await }
    });
    eventually("a build", || async {
        let is_one_under_way = node.builds.is_one_under_way.load(Ordering::Relaxed);
        is_one_under_way.then_some(())
    })
    .await;
    let start = Instant::now();
    node.replica.stop().await;
    assert!(start.elapsed() < SLOW_BUILD / 4, "{:?}", start.elapsed());
    assert!(!node.builds.is_one_under_way.load(Ordering::Relaxed));
    assert!(node.state.snapshots().unwrap().is_empty());
    assert!(build.await.unwrap().is_err());
}
