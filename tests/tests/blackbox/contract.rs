//! The whole client contract while every request goes to another of three nodes: what was written
//! is read back at once, wherever the client asks next.
use serde_json::Value;
use tests::client::{Client, Login, answered, clip};
use tests::cluster::Cluster;

/// One client that asks another node each time.
struct Roaming {
    clients: Vec<Client>,
    next: std::cell::Cell<usize>,
}

impl Roaming {
    fn new(cluster: &Cluster) -> Self {
        Self {
            clients: cluster.clients(),
            next: std::cell::Cell::new(0),
        }
    }

    fn hop(&self) -> &Client {
        let next = self.next.get();
        self.next.set(next + 1);
        &self.clients[next % self.clients.len()]
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let body = self.hop().get(path, parameters).await;
        assert_eq!(body["status_code"], 0, "{path}: {body}");
        body
    }

    async fn user(&self, login: &Login) -> Value {
        let id = login.id.to_string();
        let parameters = [("token", login.token.as_str()), ("user_id", &id)];
        self.get("/douyin/user/", &parameters).await["user"].clone()
    }

    async fn list(&self, path: &str, name: &str, login: &Login, about: u64) -> Vec<Value> {
        let about = about.to_string();
        let parameters = [
            ("token", login.token.as_str()),
            ("user_id", &about),
            ("video_id", &about),
            ("to_user_id", &about),
        ];
        let body = self.get(path, &parameters).await;
        body[name].as_array().expect("a list").clone()
    }
}

fn ok(body: &Value) -> &Value {
    assert_eq!(body["status_code"], 0, "{body}");
    assert!(!body["status_msg"].as_str().expect("a text").is_empty());
    body
}

#[tokio::test]
async fn every_request_at_another_node() {
    let cluster = Cluster::start(3).await;
    let roaming = Roaming::new(&cluster);
    // Each round starts at another node, so that every step is seen on every node.
    for round in 0..3 {
        one_round(&roaming, round).await;
        roaming.hop();
    }
    official_demo(&roaming).await;
    cluster.verify().await;
}

async fn one_round(roaming: &Roaming, round: usize) {
    let ann = roaming.hop().register(&format!("ann{round}")).await;
    let bob = roaming.hop().register(&format!("bob{round}")).await;
    assert_eq!(roaming.user(&ann).await["name"], format!("ann{round}"));

    let title = format!("clip {round}");
    ok(&answered(
        "publish",
        roaming.hop().publish(&ann, &title, clip()).await,
    ));
    let published = roaming
        .list("/douyin/publish/list/", "video_list", &ann, ann.id)
        .await;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0]["title"], title);
    let feed = roaming.list("/douyin/feed/", "video_list", &bob, 0).await;
    assert_eq!(feed[0]["title"], title, "the newest is first");
    let video = feed[0]["id"].as_u64().expect("an id");
    media_is_reachable(&feed[0]).await;

    like_and_comment(roaming, &ann, &bob, video).await;
    follow(roaming, &ann, &bob).await;
    chat(roaming, &ann, &bob).await;
}

async fn media_is_reachable(video: &Value) {
    for (field, kind) in [("play_url", "video/"), ("cover_url", "image/")] {
        let url = video[field].as_str().expect("a url");
        let answer = reqwest::get(url).await.expect("reachable");
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        let sent = answer.headers()["content-type"].to_str().expect("text");
        assert!(sent.starts_with(kind), "{url} is {sent}");
    }
}

async fn like_and_comment(roaming: &Roaming, ann: &Login, bob: &Login, video: u64) {
    for likes in [true, true, false, false, true] {
        ok(&answered(
            "like",
            roaming.hop().favorite(bob, video, likes).await,
        ));
        let feed = roaming.list("/douyin/feed/", "video_list", bob, 0).await;
        assert_eq!(feed[0]["is_favorite"], likes);
        assert_eq!(feed[0]["favorite_count"], u64::from(likes));
    }
    let liked = roaming
        .list("/douyin/favorite/list/", "video_list", bob, bob.id)
        .await;
    assert_eq!(liked[0]["id"], video);
    assert_eq!(roaming.user(ann).await["total_favorited"], 1);

    let said = answered("comment", roaming.hop().comment(bob, video, "nice").await);
    assert_eq!(ok(&said)["comment"]["user"]["id"], bob.id);
    let comments = roaming
        .list("/douyin/comment/list/", "comment_list", ann, video)
        .await;
    assert_eq!(comments[0]["content"], "nice");
    let (video, comment) = (video.to_string(), comments[0]["id"].to_string());
    let parameters = [
        ("token", ann.token.as_str()),
        ("video_id", &video),
        ("action_type", "2"),
        ("comment_id", &comment),
    ];
    let path = "/douyin/comment/action/";
    let deleted = roaming.hop().post(path, &parameters).await;
    assert_eq!(ok(&deleted)["comment"], Value::Null);
    let twice = roaming.hop().post(path, &parameters).await;
    assert_ne!(twice["status_code"], 0);
}

async fn follow(roaming: &Roaming, ann: &Login, bob: &Login) {
    for _ in 0..2 {
        ok(&answered(
            "follow",
            roaming.hop().follow(ann, bob.id, true).await,
        ));
    }
    let followers = roaming
        .list("/douyin/relation/follower/list/", "user_list", bob, bob.id)
        .await;
    assert_eq!(followers[0]["id"], ann.id);
    ok(&answered(
        "follow",
        roaming.hop().follow(bob, ann.id, true).await,
    ));
    let friends = roaming
        .list("/douyin/relation/friend/list/", "user_list", ann, ann.id)
        .await;
    assert_eq!(friends[0]["id"], bob.id);
    assert_eq!(friends[0]["follower_count"], 1);
}

async fn chat(roaming: &Roaming, ann: &Login, bob: &Login) {
    for n in 0..6 {
        let (from, to) = if n % 2 == 0 { (ann, bob) } else { (bob, ann) };
        let text = format!("message {n}");
        ok(&answered(
            "send",
            roaming.hop().message(from, to.id, &text).await,
        ));
        for (me, peer) in [(ann, bob), (bob, ann)] {
            let seen = roaming
                .list("/douyin/message/chat/", "message_list", me, peer.id)
                .await;
            assert_eq!(seen.len(), n + 1);
            assert_eq!(seen[n]["content"], text);
        }
    }
}

/// What the demo's own test suite asserts.
async fn official_demo(roaming: &Roaming) {
    let taken = [("username", "ann0"), ("password", "other-password")];
    let body = roaming.hop().post("/douyin/user/register/", &taken).await;
    assert_ne!(body["status_code"], 0);
    assert_eq!((&body["token"], &body["user_id"]), (&"".into(), &0.into()));

    let dave = roaming.hop().register("dave").await;
    let erin = roaming.hop().register("erin").await;
    let own = [("token", dave.token.as_str())];
    let user = roaming.get("/douyin/user/", &own).await;
    assert_eq!(user["user"]["id"], dave.id, "the token alone is enough");

    // A Go client prints float64 ids like this.
    #[allow(clippy::cast_precision_loss, reason = "that is what such clients do")]
    let exponent = format!("{:e}", erin.id as f64).replace('e', "e+0");
    let parameters = [
        ("token", dave.token.as_str()),
        ("to_user_id", &exponent),
        ("action_type", "1"),
        ("content", "no friendship needed"),
    ];
    for path in ["/douyin/relation/action/", "/douyin/message/action/"] {
        ok(&roaming.hop().post(path, &parameters).await);
        ok(&roaming.hop().post(path, &parameters).await);
    }
}
