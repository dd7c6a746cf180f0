//! Comments.
use serde_json::{Value, json};

use crate::support::client::{Client, User};
use crate::support::node::Cluster;

async fn delete(
    client: &Client,
    user: &User,
    video: u64,
    comment: u64,
) -> crate::support::client::Got {
    let token = &user.token;
    client
        .post(&format!(
            "/douyin/comment/action/?token={token}&video_id={video}&action_type=2&comment_id={comment}"
        ))
        .await
}

async fn texts(client: &Client, video: u64) -> Vec<String> {
    let list = client
        .get(&format!("/douyin/comment/list/?video_id={video}"))
        .await
        .ok();
    list["comment_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|comment| comment["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_comment_comes_back_whole() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let video = client.publish(&anna, "one").await;
    let got = client.comment(&anna, video, "  schön 👍  ").await.ok();
    let comment = &got["comment"];
    assert_eq!(comment["content"], "schön 👍");
    assert_eq!(comment["user"]["name"], "anna");
    assert_eq!(comment["user"]["work_count"], 1);
    let date = comment["create_date"].as_str().unwrap();
    assert!(date.len() == 5 && date.as_bytes()[2] == b'-', "{date}");
    let list = client
        .get(&format!("/douyin/comment/list?video_id={video}"))
        .await
        .ok();
    assert_eq!(list["comment_list"], json!([comment]));
    let feed = client.get("/douyin/feed/").await.ok();
    assert_eq!(feed["video_list"][0]["comment_count"], 1);
}

#[tokio::test]
async fn only_the_two_authors_may_delete() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    let carla = client.register("carla").await;
    let video = client.publish(&anna, "one").await;
    let other = client.publish(&carla, "two").await;
    let add = async |user: &User, text: &str| {
        client.comment(user, video, text).await.ok()["comment"]["id"]
            .as_u64()
            .unwrap()
    };
    let first = add(&berta, "first").await;
    let second = add(&berta, "second").await;
    delete(&client, &carla, video, first).await.refused(3004);
    // The author of another video that is named in its place may not either.
    delete(&client, &carla, other, first).await.refused(3003);
    delete(&client, &anna, 99, first).await.refused(3003);
    assert_eq!(texts(&client, video).await, ["second", "first"]);
    let deleted = delete(&client, &berta, video, first).await.ok();
    assert_eq!(deleted["comment"], Value::Null);
    assert!(deleted.as_object().unwrap().contains_key("comment"));
    delete(&client, &anna, video, second).await.ok();
    delete(&client, &anna, video, second).await.refused(3003);
    assert_eq!(texts(&client, video).await, Vec::<String>::new());
    let feed = client.get("/douyin/feed/").await.ok();
    assert_eq!(feed["video_list"][1]["comment_count"], 0);
}

#[tokio::test]
async fn texts_have_limits() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let video = client.publish(&anna, "one").await;
    client.comment(&anna, video, &"字".repeat(500)).await.ok();
    client
        .comment(&anna, video, &"字".repeat(501))
        .await
        .refused(1004);
    client.comment(&anna, video, "   ").await.refused(1004);
    client.comment(&anna, video, "").await.refused(1001);
    client.comment(&anna, video, "a\u{0}").await.refused(1004);
    client.comment(&anna, 77, "x").await.refused(3002);
    client
        .get("/douyin/comment/list/?video_id=77")
        .await
        .refused(3002);
    client.get("/douyin/comment/list/").await.refused(1001);
}
