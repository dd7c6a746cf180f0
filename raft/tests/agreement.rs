//! Writes and reads while all goes well.
use std::collections::BTreeSet;

use transport::network::Network;

use crate::replica::Consistency;
use crate::tests::support::cluster::Cluster;

#[tokio::test(start_paused = true)]
async fn one_node_is_a_cluster() {
    let cluster = Cluster::of(1).await;
    cluster.say(1, "hello").await.unwrap();
    assert_eq!(cluster.said(1, Consistency::Linearizable).await, ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_anywhere_is_read_there_and_everywhere() {
    let cluster = Cluster::of(3).await;
    let mut expected = Vec::new();
    for id in [1, 2, 3, 2, 1] {
        let text = format!("from {id}, number {}", expected.len());
        let written = cluster.say(id, &text).await.unwrap();
        expected.push(text);
        assert_eq!(cluster.said(id, Consistency::Local).await, expected);
        for other in [1, 2, 3] {
            let session = Consistency::Session(Some(written.position));
            assert_eq!(cluster.said(other, session).await, expected);
            let fresh = Consistency::Session(None);
            assert_eq!(cluster.said(other, fresh).await, expected);
        }
    }
    assert_eq!(cluster.settled().await, expected);
}

#[tokio::test(start_paused = true)]
async fn many_writes_at_once_from_all_nodes_are_each_done_once() {
    let cluster = Cluster::of(3).await;
    let texts: Vec<String> = (0..500).map(|number| format!("number {number}")).collect();
    let writes = texts.iter().enumerate().map(|(number, text)| {
        let id = u64::try_from(number % 3).unwrap() + 1;
        cluster.say(id, text)
    });
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    let said = cluster.settled().await;
    assert_eq!(said.len(), texts.len());
    let said: BTreeSet<_> = said.into_iter().collect();
    assert_eq!(said, texts.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn writes_at_once_share_their_way_to_the_leader() {
    let cluster = Cluster::of(3).await;
    let id = cluster.follower().await;
    let node = cluster.node(id);
    let before = node.network.sent().requests;
    let texts: Vec<String> = (0..500).map(|number| format!("number {number}")).collect();
    let writes = texts.iter().map(|text| cluster.say(id, text));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    let asked = node.network.sent().requests - before;
    assert!((1..=3).contains(&asked), "500 writes asked {asked} times");
    assert_eq!(cluster.settled().await.len(), texts.len());
}
