//! Chat.
use std::time::Duration;

use model::cluster::Configure;
use model::command::Operation;
use tokio::task::JoinHandle;

use crate::support::client::User;
use crate::support::node::{Cluster, Node, options};

fn contents(messages: &[serde_json::Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_chat_is_ascending_and_a_poll_brings_only_what_came_in() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    client.tell(&anna, berta.id, "one").await.ok();
    client.tell(&berta, anna.id, "two").await.ok();
    client.tell(&anna, berta.id, "three").await.ok();
    let all = client.chat(&anna, berta.id, "").await;
    assert_eq!(contents(&all), ["one", "two", "three"]);
    assert_eq!(all, client.chat(&berta, anna.id, "0").await);
    let times: Vec<_> = all
        .iter()
        .map(|message| message["create_time"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted_by(|left, right| left < right), "{times:?}");
    assert_eq!(all[1]["from_user_id"], berta.id);
    assert_eq!(all[1]["to_user_id"], anna.id);

    let after = |index: usize| times[index].to_string();
    assert_eq!(
        contents(&client.chat(&anna, berta.id, &after(0)).await),
        ["two"]
    );
    assert!(client.chat(&anna, berta.id, &after(1)).await.is_empty());
    assert_eq!(
        contents(&client.chat(&berta, anna.id, &after(0)).await),
        ["three"]
    );
    assert_eq!(
        contents(
            &client
                .chat(&berta, anna.id, &format!("{}.0", times[0]))
                .await
        ),
        ["three"]
    );
    // A time in seconds means the end of that second.
    assert!(
        client
            .chat(&berta, anna.id, &(times[2] / 1_000).to_string())
            .await
            .is_empty()
    );
    assert_eq!(
        contents(
            &client
                .chat(&berta, anna.id, &(times[0] / 1_000 - 1).to_string())
                .await
        ),
        ["one", "three"]
    );
    for none in ["-5", "soon", "%ff"] {
        assert_eq!(client.chat(&anna, berta.id, none).await.len(), 3, "{none}");
    }
}

#[tokio::test]
async fn polls_skip_nothing_when_they_are_capped() {
    let mut options = options();
    options.chat_messages_max = 60;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    for number in 0..150 {
        client.tell(&anna, berta.id, &number.to_string()).await.ok();
    }
    let latest = client.chat(&berta, anna.id, "").await;
    assert_eq!(latest.len(), 60);
    assert_eq!(latest[59]["content"], "149");
    let mut seen = Vec::new();
    let mut after = "1".to_owned();
    loop {
        let page = client.chat(&berta, anna.id, &after).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 60);
        after = last["create_time"].to_string();
        seen.extend(contents(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(
        seen,
        (0..150)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_poll_may_include_ones_own() {
    let mut options = options();
    options.chat_poll_includes_own = true;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    client.tell(&anna, berta.id, "one").await.ok();
    assert_eq!(client.chat(&anna, berta.id, "1").await.len(), 1);
}

#[tokio::test]
async fn messages_have_limits() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    client.tell(&anna, berta.id, &"字".repeat(500)).await.ok();
    client
        .tell(&anna, berta.id, &"字".repeat(501))
        .await
        .refused(1004);
    client.tell(&anna, berta.id, "").await.refused(1001);
    client
        .tell(&anna, berta.id, "a\u{1b}[0m")
        .await
        .refused(1004);
    client.tell(&anna, anna.id, "x").await.refused(3006);
    client.tell(&anna, 4_711, "x").await.refused(3001);
    let path = format!(
        "/douyin/message/action/?token={}&to_user_id={}&content=x&action_type=2",
        anna.token, berta.id
    );
    client.post(&path).await.refused(1005);
    client
        .get(&format!("/douyin/message/chat/?to_user_id={}", berta.id))
        .await
        .refused(2001);
    client
        .get(&format!(
            "/douyin/message/chat/?to_user_id=4711&token={}",
            anna.token
        ))
        .await
        .refused(3001);
}

#[tokio::test]
async fn a_cluster_may_want_friendship_first() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let name = "chat.friends_only".to_owned();
    cluster
        .propose(Operation::Configure(Configure {
            name,
            value: "true".to_owned(),
        }))
        .await;
    client.tell(&anna, berta.id, "x").await.refused(3007);
    client.follow(&anna, berta.id, 1).await.ok();
    client.follow(&berta, anna.id, 1).await.ok();
    client.tell(&anna, berta.id, "x").await.ok();
}

/// A poll that waits, in the background, for what comes after a time.
fn waiting_poll(
    node: &Node,
    user: &User,
    other: u64,
    after: u64,
    wait_ms: u64,
) -> JoinHandle<Vec<serde_json::Value>> {
    let (client, user) = (node.client(), user.clone());
    let after = format!("{after}&wait_ms={wait_ms}");
    tokio::spawn(async move { client.chat(&user, other, &after).await })
}

async fn got(poll: JoinHandle<Vec<serde_json::Value>>) -> Vec<serde_json::Value> {
    tokio::time::timeout(SOON, poll).await.unwrap().unwrap()
}

/// Until so many requests are in flight; a poll that waits is the only one that stays.
async fn until_in_flight(node: &Node, count: u64) {
    let reached = async {
        while node.load.in_flight() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, reached).await.unwrap();
}

/// Longer than any test.
const LONG_MS: u64 = 20_000;
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_waiting_poll_is_answered_when_a_message_arrives_on_its_node() {
    let cluster = Cluster::with(3, options()).await;
    let (client, far) = (cluster.client(), &cluster.nodes[2]);
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let carla = client.register("carla").await;
    let mut after = 1;
    for round in 0..20 {
        let poll = waiting_poll(far, &berta, anna.id, after, LONG_MS);
        // Early or late: a message that comes while a poll is being read is not missed either.
        if round % 2 == 0 {
            until_in_flight(far, 1).await;
        }
        client.tell(&carla, berta.id, "not for this one").await.ok();
        let text = format!("hello {round}");
        client.tell(&anna, berta.id, &text).await.ok();
        let got = got(poll).await;
        assert_eq!(contents(&got), [text]);
        after = got[0]["create_time"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn a_waiting_poll_ends_with_its_time_and_with_its_node() {
    let cluster = Cluster::one().await;
    let (client, node) = (cluster.client(), cluster.first());
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    assert!(
        got(waiting_poll(node, &anna, berta.id, 1, 30))
            .await
            .is_empty()
    );
    let path = format!("/douyin/message/chat/?token={}&to_user_id=", anna.token);
    client
        .get(&format!("{path}{}&wait_ms=soon", berta.id))
        .await
        .refused(1003);
    client
        .get(&format!("{path}99&wait_ms=9"))
        .await
        .refused(3001);
    // What is there already is told at once, and so is a node's own end.
    let poll = waiting_poll(node, &anna, berta.id, 1, LONG_MS);
    until_in_flight(node, 1).await;
    node.draining.send_replace(true);
    assert!(got(poll).await.is_empty());
    client.tell(&berta, anna.id, "one").await.ok();
    let poll = waiting_poll(node, &anna, berta.id, 1, LONG_MS);
    assert_eq!(contents(&got(poll).await), ["one"]);
}

#[tokio::test]
async fn only_so_many_polls_wait_and_who_goes_away_makes_room() {
    let mut options = options();
    options.chat_waiting_max = 1;
    let cluster = Cluster::with(1, options).await;
    let (client, node) = (cluster.client(), cluster.first());
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    for _ in 0..3 {
        let first = waiting_poll(node, &anna, berta.id, 1, LONG_MS);
        // Whoever comes second is answered at once; it may be either.
        let second = waiting_poll(node, &berta, anna.id, 1, LONG_MS);
        until_in_flight(node, 1).await;
        let (done, waits) = if first.is_finished() {
            (first, second)
        } else {
            (second, first)
        };
        assert!(got(done).await.is_empty());
        waits.abort();
        until_in_flight(node, 0).await;
    }
}

#[tokio::test]
async fn a_poll_waits_no_longer_than_a_request_may_take() {
    let mut options = options();
    options.request_timeout_ms = 300;
    options.read_timeout_ms = 200;
    let cluster = Cluster::with(1, options).await;
    let anna = cluster.client().register("anna").await;
    let berta = cluster.client().register("berta").await;
    let poll = waiting_poll(cluster.first(), &anna, berta.id, 1, LONG_MS);
    assert!(got(poll).await.is_empty());
}
