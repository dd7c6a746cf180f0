//! Tokens, positions, consistency, and outcomes.
use reqwest::Method;
use transport::network::Network;

use crate::support::client::{Got, with_form};
use crate::support::node::{Cluster, EPOCH, options};

#[tokio::test]
async fn every_answer_that_read_or_wrote_says_how_far_it_saw() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let paths = [
        "/douyin/feed/".to_owned(),
        format!("/douyin/user/?token={}", user.token),
        format!("/douyin/user/?token={}&user_id=5", user.token),
        "/douyin/comment/list/?video_id=5".to_owned(),
    ];
    for path in paths {
        let got = client.get(&path).await;
        assert!(
            got.header("x-yin-session").unwrap().starts_with("v1."),
            "{path}"
        );
        assert_eq!(got.header("x-yin-node"), Some("1"));
        assert!(got.header("x-request-id").is_some());
        assert_eq!(got.header("cache-control"), Some("no-store"));
    }
    let unread = client.get("/douyin/user/").await;
    assert_eq!(unread.header("x-yin-session"), None);
}

async fn with_position(cluster: &Cluster, position: &str) -> Got {
    let client = cluster.client();
    let request = client
        .request(Method::GET, "/douyin/feed/")
        .header("X-Yin-Session", position);
    client.send(request).await
}

#[tokio::test]
async fn positions_that_are_none_are_said_so() {
    let cluster = Cluster::one().await;
    let node = cluster.first();
    let good = cluster.client().get("/douyin/feed/").await;
    with_position(&cluster, good.header("x-yin-session").unwrap())
        .await
        .ok();
    for forged in [
        "",
        "v1.",
        "nonsense",
        &node.position(EPOCH, 1)[1..],
        "v1.AAAAAwAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        with_position(&cluster, forged).await.refused(2006);
    }
    with_position(&cluster, &node.position(EPOCH - 1, 1))
        .await
        .refused(2007);
    with_position(&cluster, &node.position(EPOCH, 1_000_000))
        .await
        .refused(2008);
}

#[tokio::test]
async fn a_level_that_does_not_exist_is_said_so() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    for (level, code) in [
        ("local", 0),
        ("session", 0),
        ("linearizable", 0),
        ("strong", 1007),
        ("", 1007),
    ] {
        let request = client
            .request(Method::GET, "/douyin/feed/")
            .header("X-Yin-Consistency", level);
        assert_eq!(client.send(request).await.code(), code, "{level}");
    }
}

#[tokio::test]
async fn tokens_come_from_query_form_or_header() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let path = "/douyin/user/";
    let get = |path: &str| client.request(Method::GET, path);
    client
        .send(get(path).query(&[("token", &user.token)]))
        .await
        .ok();
    client
        .send(with_form(get(path), &[("token", &user.token)]))
        .await
        .ok();
    client.send(get(path).bearer_auth(&user.token)).await.ok();
    client
        .send(get(path).header("Authorization", "Basic abc"))
        .await
        .refused(2001);
    client
        .send(get("/douyin/user/?token=").bearer_auth(&user.token))
        .await
        .ok();
    // The query comes first, even when it is wrong.
    client
        .send(get("/douyin/user/?token=wrong").bearer_auth(&user.token))
        .await
        .refused(2002);
    for wrong in [
        "wrong",
        "%ff",
        "yin1.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        client
            .get(&format!("/douyin/user/?token={wrong}"))
            .await
            .refused(2002);
    }
    // Born beyond the end of the log.
    let (_, secret) = user.token.rsplit_once('.').unwrap();
    client
        .get("/douyin/user/?token=yin1.99999999.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .await
        .refused(2002);
    // The birth is only a hint how long to wait.
    client
        .get(&format!("/douyin/user/?token=yin1.1.{secret}"))
        .await
        .ok();
}

#[tokio::test]
async fn what_was_written_here_is_read_there() {
    let cluster = Cluster::with(3, options()).await;
    let clients: Vec<_> = cluster
        .nodes
        .iter()
        .map(crate::support::node::Node::client)
        .collect();
    let anna = clients[0].register("anna").await;
    let berta = clients[1].register("berta").await;
    for round in 0..12 {
        let (here, there) = (&clients[round % 3], &clients[(round + 1) % 3]);
        here.follow(&anna, berta.id, 1 + round % 2).await.ok();
        let path = format!(
            "/douyin/relation/follow/list/?user_id={}&token={}",
            anna.id, anna.token
        );
        let list = there.get(&path).await.ok();
        assert_eq!(
            list["user_list"].as_array().unwrap().len(),
            1 - round % 2,
            "round {round}"
        );
    }
    let video = clients[2].publish(&anna, "one").await;
    clients[0].like(&berta, video, 1).await.ok();
    let list = clients[1]
        .get(&format!(
            "/douyin/favorite/list/?user_id={0}&token={1}",
            berta.id, berta.token
        ))
        .await
        .ok();
    assert_eq!(list["video_list"][0]["is_favorite"], true);
    // A login works at once, wherever.
    let login = clients[2]
        .post("/douyin/user/login/?username=berta&password=secret-berta")
        .await
        .ok();
    let token = login["token"].as_str().unwrap();
    clients[0]
        .get(&format!("/douyin/user/?token={token}"))
        .await
        .ok();
    // Media too, without any token.
    let list = clients[2].get("/douyin/feed/").await.ok();
    let url = list["video_list"][0]["play_url"].as_str().unwrap();
    let path = url.split_once("/media/").unwrap().1;
    let got = reqwest::get(cluster.nodes[1].url(&format!("/media/{path}")))
        .await
        .unwrap();
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn a_client_that_stays_with_its_position_asks_nobody() {
    let cluster = Cluster::with(3, options()).await;
    let client = cluster.nodes[2].client();
    let user = client.register("anna").await;
    let path = format!("/douyin/user/?token={}", user.token);
    let position = client
        .get(&path)
        .await
        .header("x-yin-session")
        .unwrap()
        .to_owned();
    let before = cluster.nodes[2].network.sent();
    for _ in 0..20 {
        let request = client
            .request(Method::GET, &path)
            .header("X-Yin-Session", &position);
        client.send(request).await.ok();
    }
    assert_eq!(cluster.nodes[2].network.sent().requests, before.requests);
}

#[tokio::test]
async fn without_a_quorum_nothing_is_promised() {
    let mut options = options();
    options.read_timeout_ms = 300;
    options.write_timeout_ms = 500;
    let cluster = Cluster::with(2, options).await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let other = client.register("berta").await;
    let position = client
        .get(&format!("/douyin/user/?token={}", user.token))
        .await;
    let position = position.header("x-yin-session").unwrap().to_owned();
    cluster.cut(1, 2);

    // What needs nobody goes on.
    client.get("/douyin/feed/").await.ok();
    let path = format!("/douyin/user/?token={}", user.token);
    let known = client
        .request(Method::GET, &path)
        .header("X-Yin-Session", &position);
    client.send(known).await.ok();
    let local = client
        .request(Method::GET, &path)
        .header("X-Yin-Consistency", "local");
    client.send(local).await.ok();

    // What needs a quorum says so.
    client.get(&path).await.failed(503, 5001);
    let newest = client
        .request(Method::GET, "/douyin/feed/")
        .header("X-Yin-Consistency", "linearizable");
    client.send(newest).await.failed(503, 5001);
    let write = client.follow(&user, other.id, 1).await;
    assert_eq!(write.status, 503, "{}", write.text);
    match write.code() {
        5001 => assert_eq!(write.header("x-yin-outcome"), Some("not_applied")),
        5002 => assert_eq!(write.header("x-yin-outcome"), Some("unknown")),
        other => panic!("{other}"),
    }
    let login = client
        .post("/douyin/user/login/?username=anna&password=secret-anna")
        .await;
    let login = login.failed(503, 5001).json();
    assert_eq!(
        (&login["token"], &login["user_id"]),
        (&"".into(), &0.into())
    );
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["ready"], false);
    assert_eq!(client.get("/healthz").await.status, 200);

    cluster.hub.heal();
    client.follow(&user, other.id, 1).await;
}

#[tokio::test]
async fn a_replica_that_stopped_says_so() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    cluster.first().log.fail("the disk is gone");
    let write = client.follow(&user, 1, 1).await;
    assert_eq!(write.status, 503, "{}", write.text);
    assert!(write.header("x-yin-outcome").is_some());
    let mut status = cluster.first().replica.watch();
    status
        .wait_for(|status| status.stopped.is_some())
        .await
        .unwrap();
    client
        .get(&format!("/douyin/user/?token={}", user.token))
        .await
        .failed(503, 5003);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("stopped"), "{}", ready.text);
}
