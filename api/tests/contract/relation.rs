//! Follows and friends.
use serde_json::Value;

use crate::support::client::{Client, User};
use crate::support::node::Cluster;

async fn list(client: &Client, kind: &str, owner: &User, viewer: &str) -> Vec<Value> {
    let path = format!(
        "/douyin/relation/{kind}/list/?user_id={}&token={viewer}",
        owner.id
    );
    client.get(&path).await.ok()["user_list"]
        .as_array()
        .unwrap()
        .clone()
}

fn names(users: &[Value]) -> Vec<&str> {
    users
        .iter()
        .map(|user| user["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn follows_are_idempotent_and_listed_latest_first() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let carla = client.register("carla").await;
    for other in [&berta, &carla, &berta] {
        client.follow(&anna, other.id, 1).await.ok();
    }
    client.follow(&carla, berta.id, 1).await.ok();
    assert_eq!(
        names(&list(&client, "follow", &anna, "").await),
        ["carla", "berta"]
    );
    assert_eq!(
        names(&list(&client, "follower", &berta, "").await),
        ["carla", "anna"]
    );
    // The flag is the viewer's, not the owner's.
    let seen = list(&client, "follow", &anna, &carla.token).await;
    let flags: Vec<_> = seen
        .iter()
        .map(|user| user["is_follow"].as_bool().unwrap())
        .collect();
    assert_eq!(flags, [false, true]);
    for _ in 0..2 {
        client.follow(&anna, berta.id, 2).await.ok();
        assert_eq!(names(&list(&client, "follow", &anna, "").await), ["carla"]);
    }
    let berta = list(&client, "follow", &carla, "").await;
    assert_eq!(berta[0]["follower_count"], 1);
}

#[tokio::test]
async fn oneself_and_nobody_cannot_be_followed() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    client.follow(&anna, anna.id, 1).await.refused(3005);
    client.follow(&anna, 4_711, 1).await.refused(3001);
    client.follow(&anna, 4_711, 9).await.refused(1005);
    for kind in ["follow", "follower"] {
        client
            .get(&format!("/douyin/relation/{kind}/list/?user_id=4711"))
            .await
            .refused(3001);
    }
}

#[tokio::test]
async fn friends_follow_each_other_and_only_the_owner_sees_messages() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let carla = client.register("carla").await;
    let dora = client.register("dora").await;
    for friend in [&berta, &carla] {
        client.follow(&anna, friend.id, 1).await.ok();
        client.follow(friend, anna.id, 1).await.ok();
    }
    client.follow(&anna, dora.id, 1).await.ok();
    client.tell(&anna, berta.id, "to berta").await.ok();
    client.tell(&carla, anna.id, "from carla").await.ok();
    client.tell(&anna, berta.id, "last").await.ok();

    let own = list(&client, "friend", &anna, &anna.token).await;
    let told: Vec<_> = own
        .iter()
        .map(|friend| {
            (
                friend["name"].as_str().unwrap(),
                friend["message"].as_str().unwrap(),
                friend["msgType"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("berta", "last", 1), ("carla", "from carla", 0)]);
    assert!(own[0]["avatar"].as_str().unwrap().starts_with("http://"));

    let seen = list(&client, "friend", &anna, &dora.token).await;
    assert_eq!(names(&seen), ["carla", "berta"]);
    assert!(
        seen.iter()
            .all(|friend| friend["message"] == "" && friend["msgType"] == 0)
    );
    client
        .get(&format!(
            "/douyin/relation/friend/list/?user_id={}",
            anna.id
        ))
        .await
        .refused(2001);
    client
        .get(&format!(
            "/douyin/relation/friend/list/?user_id=5&token={}",
            anna.token
        ))
        .await
        .refused(3001);
}
