//! Writes while nodes are cut off, answers are lost and leaders change.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use storage::log::LogStore as _;
use storage::log::memory::{MemoryLog, Syncing};
use storage::state::memory::MemoryState;
use transport::memory::{Fault, Link};
use transport::network::PeerId;

use crate::options::{Limits, Options};
use crate::replica::{Consistency, Error, Role};
use crate::tests::support::cluster::{Cluster, WITHIN};
use crate::tests::support::wait::{eventually, until};
use crate::tests::support::words;

#[tokio::test(start_paused = true)]
async fn another_node_leads_when_the_leader_is_cut_off() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    cluster.say(old, "before").await.unwrap();
    cluster.isolate(old);
    let others = cluster.others(old);
    let follower = *others.first().unwrap();
    cluster.say(follower, "meanwhile").await.unwrap();
    let new = cluster.leader_among(&others).await;
    assert_ne!(new, old);
    cluster.hub.heal();
    assert_eq!(cluster.settled().await, ["before", "meanwhile"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_cut_off_leader_took_is_unknown_and_is_done_once() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    cluster.isolate(old);
    let node = cluster.node(old);
    let proposal = node.proposal(words::say(cluster.bob, "in doubt"));
    // At once, so while it still believes to have a quorum.
    let lost = node
        .replica
        .write(proposal.clone(), Duration::from_secs(3))
        .await;
    assert!(matches!(lost, Err(Error::Unknown { .. })), "{lost:?}");
    // A later one certainly is not taken: the leader knows by now that it has no quorum.
    let refused = node
        .replica
        .write(
            node.proposal(words::say(cluster.bob, "no")),
            Duration::from_secs(1),
        )
        .await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    let others = cluster.others(old);
    let new = cluster.leader_among(&others).await;
    cluster.say(new, "meanwhile").await.unwrap();
    cluster.hub.heal();
    let again = node.replica.write(proposal.clone(), WITHIN).await.unwrap();
    let once_more = cluster.node(new).replica.write(proposal, WITHIN).await;
    assert_eq!(again.reply, once_more.unwrap().reply);
    assert_eq!(cluster.settled().await, ["meanwhile", "in doubt"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_outlives_the_leader_that_it_was_sent_to() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let follower = *cluster.others(old).first().unwrap();
    cluster.isolate(old);
    // Sent to the old leader, which never answers; the time is long enough for an election.
    cluster.say(follower, "patient").await.unwrap();
    cluster.hub.heal();
    assert_eq!(cluster.settled().await, ["patient"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_is_certainly_done() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for id in [1, 2, 3] {
        cluster.unplug(id);
    }
    eventually("a leader that knows it has no quorum", || async {
        let age = cluster.node(leader).replica.status().quorum_age_ms?;
        (age > 1_000).then_some(())
    })
    .await;
    for id in [1, 2, 3] {
        let node = cluster.node(id);
        let write = node.proposal(words::say(cluster.bob, "no"));
        let refused = node.replica.write(write, Duration::from_secs(2)).await;
        assert!(
            matches!(refused, Err(Error::Unavailable { .. })),
            "{refused:?}"
        );
    }
    cluster.hub.heal();
    assert_eq!(cluster.settled().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_never_double_a_write() {
    let cluster = Cluster::of(3).await;
    for node in cluster.nodes.values() {
        node.network.lose(60);
    }
    let texts: Vec<String> = (0..300).map(|number| format!("number {number}")).collect();
    // Few at once, since all that wait share a request.
    for some in texts.chunks(6) {
        let writes = some.iter().zip([1, 2, 3].iter().cycle());
        let writes = writes.map(|(text, id)| cluster.say(*id, text));
        for written in join_all(writes).await {
            written.unwrap();
        }
    }
    let nodes = cluster.nodes.values();
    let lost: u64 = nodes
        .map(|it| it.network.lost.load(Ordering::Relaxed))
        .sum();
    assert!(lost > 100, "only {lost} answers were lost");
    let said = cluster.settled().await;
    assert_eq!(said.len(), texts.len());
    let said: BTreeSet<_> = said.into_iter().collect();
    assert_eq!(said, texts.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn requests_that_vanished_do_not_hold_up_those_behind_them() {
    let cluster = Cluster::of(3).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let silent = Link {
        fault: Fault::Silent,
        ..Link::default()
    };
    let way = (PeerId(follower), PeerId(leader));
    cluster.hub.set_link(way.0, way.1, silent);
    let node = cluster.node(follower);
    let write = |text: &str, within| {
        let proposal = node.proposal(words::say(cluster.bob, text));
        node.replica.write(proposal, within)
    };
    let vanishing = ["one", "two", "three", "four"]
        .into_iter()
        .zip(0..)
        .map(|(text, number)| {
            let write = write(text, Duration::from_secs(60));
            async move {
                tokio::time::sleep(Duration::from_millis(10 * number)).await;
                write.await
            }
        });
    let vanished = join_all(vanishing);
    let healed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.hub.set_link(way.0, way.1, Link::default());
        write("five", Duration::from_secs(2)).await
    };
    tokio::select! {
        _ = vanished => panic!("what vanished was answered"),
        written = healed => drop(written.unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_that_come_and_go_never_double_or_lose_a_write() {
    let cluster = Cluster::of(3).await;
    let texts: Vec<String> = (0..200).map(|number| format!("number {number}")).collect();
    let writing = async {
        let mut unknown = Vec::new();
        for part in texts.chunks(20) {
            let writes = part.iter().enumerate().map(|(number, text)| {
                let id = u64::try_from(number % 3).unwrap() + 1;
                cluster.say(id, text)
            });
            let written = join_all(writes).await;
            let failed = part.iter().zip(written).filter(|(_, it)| it.is_err());
            unknown.extend(failed.map(|(text, _)| text.clone()));
        }
        unknown
    };
    let breaking = async {
        loop {
            let leader = cluster.leader().await;
            cluster.isolate(leader);
            tokio::time::sleep(Duration::from_millis(900)).await;
            cluster.hub.heal();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let unknown: Vec<String> = tokio::select! {
        unknown = writing => unknown,
        () = breaking => unreachable!(),
    };
    cluster.hub.heal();
    let said = cluster.settled().await;
    let once: BTreeSet<_> = said.iter().cloned().collect();
    assert_eq!(once.len(), said.len(), "something was said twice");
    let missing = texts.iter().filter(|text| !once.contains(*text));
    for text in missing {
        assert!(
            unknown.contains(text),
            "{text} was acknowledged and is gone"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_certainly_not_done() {
    let options = |node| Options {
        limits: Limits {
            waiting_writes_max: 2,
            entries_in_flight_max: 1,
            entry_commands_max: 1,
            ..Limits::default()
        },
        ..Options::new(node)
    };
    let cluster = Cluster::with(3, options).await;
    let leader = cluster.leader().await;
    cluster.isolate(leader);
    let texts: Vec<String> = (0..20).map(|number| format!("number {number}")).collect();
    let node = cluster.node(leader);
    let writes = texts.iter().map(|text| {
        let write = node.proposal(words::say(cluster.bob, text));
        node.replica.write(write, Duration::from_millis(200))
    });
    let outcomes = join_all(writes).await;
    let unknown = outcomes
        .iter()
        .filter(|it| matches!(it, Err(Error::Unknown { .. })));
    assert_eq!(unknown.count(), 1, "only one entry could be under way");
    let unavailable = outcomes
        .iter()
        .filter(|it| matches!(it, Err(Error::Unavailable { .. })));
    assert_eq!(unavailable.count(), 19);
    cluster.hub.heal();
    assert!(cluster.settled().await.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_does_not_unseat_the_leader() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).replica.status().term;
    let away = *cluster.others(leader).first().unwrap();
    cluster.isolate(away);
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.hub.heal();
    cluster.say(away, "back").await.unwrap();
    let status = cluster.node(leader).replica.status();
    assert_eq!((status.role, status.term), (Role::Leader, term));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reaches_only_a_bridge_gives_way() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let [bridge, far] = cluster.others(old).into_iter().collect::<Vec<_>>()[..] else {
        unreachable!();
    };
    // The old leader still has a quorum with the bridge, so it may well stay; writes go on anywhere.
    cluster.hub.cut(PeerId(old), PeerId(far));
    cluster.say(bridge, "over the bridge").await.unwrap();
    assert_eq!(
        cluster.said(old, Consistency::Session(None)).await,
        ["over the bridge"]
    );
    cluster.hub.heal();
    assert_eq!(cluster.settled().await, ["over the bridge"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_disk_fails_stays_stopped_and_says_why() {
    let cluster = Cluster::of(3).await;
    let broken = cluster.follower().await;
    cluster.node(broken).state.fail("the disk is gone");
    let leader = cluster.leader().await;
    cluster.say(leader, "on").await.unwrap();
    let replica = &cluster.node(broken).replica;
    until("stopped", replica, |it| it.stopped.is_some()).await;
    let why = replica.status().stopped.unwrap();
    assert!(why.contains("the disk is gone"), "{why}");
    let refused = cluster.say(broken, "no").await;
    assert!(matches!(refused, Err(Error::Stopped { .. })), "{refused:?}");
    let refused = cluster.node(broken).read(Consistency::Local).await;
    assert!(matches!(refused, Err(Error::Stopped { .. })));
    cluster.say(leader, "and on").await.unwrap();
}

/// openraft gives the vote that it finds once more without a write.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "the disk is gone")]
async fn a_replica_does_not_start_on_a_vote_that_may_not_be_on_the_disk() {
    let mut cluster = Cluster::of(1).await;
    let old = cluster.kill(1).await;
    let log = MemoryLog::new(Syncing::AtOnce);
    let vote = old.log.held().vote.unwrap();
    log.save_vote(vote).await.unwrap();
    log.fail("the disk is gone");
    cluster.start_again(old, log, MemoryState::new()).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_outlives_a_bad_moment_of_its_disk() {
    let cluster = Cluster::of(3).await;
    let [follower, leader] = [cluster.follower().await, cluster.leader().await];
    for (id, failures) in [(follower, 1), (leader, 2)] {
        cluster.node(id).failures.store(failures, Ordering::Relaxed);
        // It was committed by the log, so whoever dies of it, it is done once in the end.
        cluster.say(id, &format!("at {id}")).await.unwrap();
        eventually("it went well again", || async {
            (cluster.node(id).failures.load(Ordering::Relaxed) == 0).then_some(())
        })
        .await;
    }
    let said = cluster.settled().await;
    assert_eq!(said.len(), 2);
    for node in cluster.nodes.values() {
        assert_eq!(node.replica.status().stopped, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_dropped_holds_nothing() {
    let mut cluster = Cluster::of(1).await;
    let node = cluster.nodes.remove(&1).unwrap();
    let (replica, state) = (node.replica, node.state);
    assert!(Arc::strong_count(&state) > 1);
    replica.stop().await;
    drop(replica);
    assert_eq!(
        Arc::strong_count(&state),
        1,
        "something still holds the state"
    );
}
