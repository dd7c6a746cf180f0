//! The feed: newest first, each video exactly once.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::node::Cluster;

fn ids(feed: &Value) -> Vec<u64> {
    let list = feed["video_list"].as_array().unwrap();
    list.iter()
        .map(|video| video["id"].as_u64().unwrap())
        .collect()
}

async fn feed(client: &Client, latest_time: &str) -> Value {
    client
        .get(&format!("/douyin/feed/?latest_time={latest_time}"))
        .await
        .ok()
}

#[tokio::test]
async fn an_empty_feed_has_a_time_of_now() {
    let cluster = Cluster::one().await;
    let before = now_ms();
    let feed = feed(&cluster.client(), "").await;
    assert!(ids(&feed).is_empty());
    let next = feed["next_time"].as_u64().unwrap();
    assert!((before..=now_ms()).contains(&next), "{next}");
}

#[tokio::test]
async fn pages_show_every_video_once_also_while_others_publish() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let mut expected = Vec::new();
    for number in 0..65 {
        expected.push(client.publish(&user, &format!("video {number}")).await);
    }
    expected.reverse();
    let mut seen = Vec::new();
    let mut bound = String::new();
    for page in 0.. {
        let feed = feed(&client, &bound).await;
        let found = ids(&feed);
        assert!(found.len() <= 30);
        if found.is_empty() {
            break;
        }
        seen.extend(found);
        bound = feed["next_time"].to_string();
        // What comes in between belongs to no later page.
        client.publish(&user, &format!("late {page}")).await;
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn bounds_are_read_leniently() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let video = client.publish(&user, "one").await;
    for none in [
        "",
        "0",
        "-1",
        "soon",
        "1.5",
        "99999999999999999999999",
        "%ff",
    ] {
        assert_eq!(ids(&feed(&client, none).await), [video], "{none}");
    }
    let time = feed(&client, "").await["next_time"].as_u64().unwrap();
    assert!(ids(&feed(&client, &time.to_string()).await).is_empty());
    assert_eq!(ids(&feed(&client, &(time + 1).to_string()).await), [video]);
    // Seconds mean the whole second.
    assert_eq!(
        ids(&feed(&client, &(time / 1_000).to_string()).await),
        [video]
    );
    assert!(ids(&feed(&client, &(time / 1_000 - 1).to_string()).await).is_empty());
    assert!(ids(&feed(&client, "1").await).is_empty());
    assert_eq!(ids(&feed(&client, "9223372036854775807").await), [video]);
}

#[tokio::test]
async fn the_viewer_sees_what_they_like_and_whom_they_follow() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let video = client.publish(&anna, "one").await;
    client.like(&berta, video, 1).await.ok();
    client.follow(&berta, anna.id, 1).await.ok();
    let flags = async |token: &str| {
        let feed = client
            .get(&format!("/douyin/feed/?token={token}"))
            .await
            .ok();
        let video = &feed["video_list"][0];
        (
            video["is_favorite"].as_bool().unwrap(),
            video["author"]["is_follow"].as_bool().unwrap(),
        )
    };
    assert_eq!(flags(&berta.token).await, (true, true));
    assert_eq!(flags(&anna.token).await, (false, false));
    // A token that is none means anonymous.
    for none in [
        "",
        "nonsense",
        "%ff",
        "yin1.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(flags(none).await, (false, false), "{none}");
    }
}

/// A node that is behind must not answer a bound that it cannot know about.
#[tokio::test]
async fn a_bound_from_elsewhere_makes_a_node_catch_up() {
    let cluster = Cluster::with(3, crate::support::node::options()).await;
    let (one, other) = (cluster.nodes[0].client(), cluster.nodes[2].client());
    let user = one.register("anna").await;
    let mut all = BTreeSet::new();
    for number in 0..10 {
        all.insert(one.publish(&user, &format!("video {number}")).await);
        let found = ids(&feed(&other, &(now_ms() + 60_000).to_string()).await);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
