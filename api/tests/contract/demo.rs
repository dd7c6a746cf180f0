//! What the official demo's own tests assert, with its habits: parameters as floats, everything
//! sent twice, the same two users on every run.
use reqwest::Method;
use serde_json::Value;

use crate::support::client::{Client, User, with_form};
use crate::support::node::Cluster;

/// Registers, and takes "taken already" for an answer.
async fn some_user(client: &Client, name: &str) -> User {
    let path = format!("/douyin/user/register/?username={name}&password={name}");
    let mut welcome = client.post(&path).await.json();
    if welcome["token"] == "" {
        let path = format!("/douyin/user/login/?username={name}&password={name}");
        welcome = client.post(&path).await.ok();
    }
    User {
        id: welcome["user_id"].as_u64().unwrap(),
        token: welcome["token"].as_str().unwrap().to_owned(),
    }
}

/// An id as a Go client prints a float64.
fn exponent(id: u64) -> String {
    let text = format!("{:e}", id as f64);
    let (mantissa, exponent) = text.split_once('e').unwrap();
    format!("{mantissa}e%2B{exponent:0>2}")
}

/// Both in the query and as a form.
async fn twice(client: &Client, method: Method, path: &str, pairs: &[(&str, &str)]) -> Value {
    let request = with_form(client.request(method, path).query(pairs), pairs);
    client.send(request).await.ok()
}

#[tokio::test]
async fn the_feed_is_there_without_a_token() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let empty = client.get("/douyin/feed/").await.ok();
    assert_eq!(empty["video_list"], Value::Array(Vec::new()));
    let user = some_user(&client, "douyinTestUserA").await;
    client.publish(&user, "Bear").await;
    let feed = client.get("/douyin/feed/").await.ok();
    for video in feed["video_list"].as_array().unwrap() {
        assert!(video["id"].is_u64() && video["author"]["id"].is_u64());
        assert!(!video["play_url"].as_str().unwrap().is_empty());
        assert!(!video["cover_url"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_user_acts_and_is_seen() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let name = "douyin77";
    let pairs = [("username", name), ("password", name)];
    let register = twice(&client, Method::POST, "/douyin/user/register/", &pairs).await;
    let token = register["token"].as_str().unwrap().to_owned();
    let id = register["user_id"].as_u64().unwrap();
    assert!(id > 0 && !token.is_empty());

    // A second time it fails, over 200, with every field.
    let again = client
        .send(
            client
                .request(Method::POST, "/douyin/user/register/")
                .query(&pairs),
        )
        .await;
    let again = again.refused(2004);
    assert_eq!(
        (&again["token"], &again["user_id"]),
        (&Value::from(""), &Value::from(0))
    );

    let login = twice(&client, Method::POST, "/douyin/user/login/", &pairs).await;
    assert_eq!(login["user_id"], id);
    assert!(!login["token"].as_str().unwrap().is_empty());

    let own = client
        .get(&format!("/douyin/user/?token={token}"))
        .await
        .ok();
    assert_eq!(own["user"]["id"], id);
    let own = client
        .get(&format!(
            "/douyin/user/?token={token}&user_id={}",
            exponent(id)
        ))
        .await
        .ok();
    assert_eq!(own["user"]["name"], name);
}

#[tokio::test]
async fn the_same_two_users_repeat_everything() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    for run in 0..2 {
        let a = some_user(&client, "douyinTestUserA").await;
        let b = some_user(&client, "douyinTestUserB").await;
        client.publish(&a, &format!("Bear {run}")).await;
        let feed = client.get("/douyin/feed/").await.ok();
        let video = feed["video_list"][0]["id"].as_u64().unwrap();

        for _ in 0..2 {
            client.like(&a, video, 1).await.ok();
        }
        let path = format!("/douyin/favorite/list/?token={}&user_id={}", a.token, a.id);
        let likes = client.get(&path).await.ok();
        let ids: Vec<_> = likes["video_list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|video| video["id"].as_u64())
            .collect();
        assert!(ids.contains(&Some(video)));

        let comment = client.comment(&a, video, "测试评论").await.ok();
        let comment = comment["comment"]["id"].as_u64().unwrap();
        let path = format!("/douyin/comment/list/?token={}&video_id={video}", a.token);
        let comments = client.get(&path).await.ok();
        assert!(
            comments["comment_list"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["id"] == comment)
        );
        let video_text = exponent(video).replace("%2B", "+");
        let comment_text = exponent(comment).replace("%2B", "+");
        let pairs = [
            ("token", a.token.as_str()),
            ("video_id", video_text.as_str()),
            ("action_type", "2"),
            ("comment_id", comment_text.as_str()),
        ];
        let delete = client.request(Method::POST, "/douyin/comment/action/");
        let delete = with_form(delete.query(&pairs), &pairs);
        client.send(delete).await.ok();

        for _ in 0..2 {
            client.follow(&a, b.id, 1).await.ok();
        }
        for (path, wanted) in [("follow", b.id), ("follower", a.id)] {
            let owner = if path == "follow" { &a } else { &b };
            let path = format!(
                "/douyin/relation/{path}/list/?token={}&user_id={}",
                owner.token, owner.id
            );
            let list = client.get(&path).await.ok();
            assert!(
                list["user_list"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|user| user["id"] == wanted)
            );
        }

        // No friendship is needed.
        client.tell(&a, b.id, "message to B").await.ok();
        client.tell(&b, a.id, "message to A").await.ok();
        for (user, other) in [(&a, &b), (&b, &a)] {
            assert_eq!(client.chat(user, other.id, "").await.len(), 2 * (run + 1));
        }
    }
}

/// A form as a body of a GET, as some of its tests send it.
#[tokio::test]
async fn a_get_may_have_a_form_body() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let id = user.id.to_string();
    let pairs = [("token", user.token.as_str()), ("user_id", id.as_str())];
    for path in [
        "/douyin/user/",
        "/douyin/publish/list/",
        "/douyin/relation/friend/list",
    ] {
        client
            .send(with_form(client.request(Method::GET, path), &pairs))
            .await
            .ok();
    }
}
