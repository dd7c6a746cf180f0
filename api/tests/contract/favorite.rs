//! Likes.
use serde_json::Value;

use crate::support::node::Cluster;

#[tokio::test]
async fn likes_are_idempotent_both_ways_and_counted() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let video = client.publish(&anna, "one").await;
    let counts = async || {
        let list = client
            .get(&format!(
                "/douyin/publish/list/?user_id={}&token={}",
                anna.id, berta.token
            ))
            .await
            .ok();
        let video = &list["video_list"][0];
        let berta = client
            .get(&format!("/douyin/user/?token={}", berta.token))
            .await
            .ok();
        (
            video["favorite_count"].as_u64().unwrap(),
            video["is_favorite"].as_bool().unwrap(),
            video["author"]["total_favorited"].as_u64().unwrap(),
            berta["user"]["favorite_count"].as_u64().unwrap(),
        )
    };
    assert_eq!(counts().await, (0, false, 0, 0));
    for _ in 0..3 {
        client.like(&berta, video, 1).await.ok();
        assert_eq!(counts().await, (1, true, 1, 1));
    }
    for _ in 0..3 {
        client.like(&berta, video, 2).await.ok();
        assert_eq!(counts().await, (0, false, 0, 0));
    }
}

#[tokio::test]
async fn forty_likes_at_once_are_forty() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let video = client.publish(&anna, "one").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let client = client.clone();
        tasks.spawn(async move {
            let user = client.register(&format!("user{number}")).await;
            let (one, other) =
                tokio::join!(client.like(&user, video, 1), client.like(&user, video, 1));
            one.ok();
            other.ok();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let feed = client.get("/douyin/feed/").await.ok();
    assert_eq!(feed["video_list"][0]["favorite_count"], 20);
}

#[tokio::test]
async fn the_list_shows_the_most_recent_like_first_with_the_viewers_flags() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let first = client.publish(&anna, "one").await;
    let second = client.publish(&anna, "two").await;
    client.like(&berta, second, 1).await.ok();
    client.like(&berta, first, 1).await.ok();
    client.like(&anna, first, 1).await.ok();
    let list = client
        .get(&format!(
            "/douyin/favorite/list/?user_id={}&token={}",
            berta.id, anna.token
        ))
        .await
        .ok();
    let seen: Vec<_> = list["video_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|video| {
            (
                video["id"].as_u64().unwrap(),
                video["is_favorite"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [(first, true), (second, false)]);
    let empty = client
        .get(&format!("/douyin/favorite/list?user_id={}", anna.id))
        .await
        .ok();
    assert_eq!(empty["video_list"].as_array().map(Vec::len), Some(1));
    client
        .get("/douyin/favorite/list/?user_id=5")
        .await
        .refused(3001);
}

#[tokio::test]
async fn what_cannot_be_liked_is_said_so() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let got = client.like(&anna, 12_345, 1).await;
    assert_eq!(got.header("x-yin-outcome"), Some("not_applied"));
    assert!(got.header("x-yin-session").is_some());
    got.refused(3002);
    client.like(&anna, 12_345, 3).await.refused(1005);
    client.like(&anna, 12_345, "x").await.refused(1003);
    let missing = client
        .post(&format!("/douyin/favorite/action/?token={}", anna.token))
        .await;
    assert_eq!(missing.header("x-yin-outcome"), Some("not_applied"));
    missing.refused(1001);
    let nobody = client
        .post("/douyin/favorite/action/?video_id=1&action_type=1")
        .await
        .refused(2001);
    assert_ne!(nobody["status_msg"], Value::from(""));
}
