//! How often, and how much at once.
use std::time::Duration;

use api::{Limits, Rate};
use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::support::clip::H264;
use crate::support::node::{Cluster, options};

const TIGHT: Rate = Rate {
    per_second: 1,
    burst: 2,
};

#[tokio::test]
async fn too_many_registrations_logins_writes_and_uploads_are_refused() {
    let mut options = options();
    options.limits = Limits {
        register_per_address: Rate {
            per_second: 1,
            burst: 3,
        },
        login_per_name: TIGHT,
        write_per_user: TIGHT,
        upload_per_user: TIGHT,
        ..Limits::default()
    };
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    client.register("carla").await;
    let refused = client
        .post("/douyin/user/register/?username=dora&password=x")
        .await
        .failed(429, 4004);
    assert_eq!(refused.header("x-yin-outcome"), Some("not_applied"));
    let refused = refused.json();
    assert_eq!(
        (&refused["user_id"], &refused["token"]),
        (&0.into(), &"".into())
    );

    for _ in 0..2 {
        client
            .post("/douyin/user/login/?username=anna&password=wrong")
            .await
            .refused(2003);
    }
    client
        .post("/douyin/user/login/?username=ANNA&password=secret-anna")
        .await
        .failed(429, 4004);
    client
        .post("/douyin/user/login/?username=berta&password=secret-berta")
        .await
        .ok();

    for _ in 0..2 {
        client.follow(&anna, berta.id, 1).await.ok();
    }
    client.tell(&anna, berta.id, "x").await.failed(429, 4004);
    client.follow(&berta, anna.id, 1).await.ok();
    // Reads have no limit.
    client
        .get(&format!("/douyin/user/?token={}", anna.token))
        .await
        .ok();

    let form = || {
        Form::new()
            .part("data", Part::bytes(H264))
            .text("token", anna.token.clone())
            .text("title", "x")
    };
    for _ in 0..2 {
        client.upload(form()).await.ok();
    }
    client.upload(form()).await.failed(429, 4004);
    assert_eq!(cluster.first().spooled(), 0);
}

#[tokio::test]
async fn addresses_behind_a_trusted_proxy_are_told_apart() {
    let mut options = options();
    options.limits.register_per_address = TIGHT;
    options.trusted_proxies = vec!["127.0.0.1".to_owned()];
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let register = async |name: &str, from: &str| {
        let request = client
            .request(Method::POST, "/douyin/user/register/")
            .query(&[("username", name), ("password", "x")])
            .header("X-Forwarded-For", from);
        client.send(request).await
    };
    register("a", "1.1.1.1").await.ok();
    register("b", "1.1.1.1").await.ok();
    register("c", "1.1.1.1").await.failed(429, 4004);
    register("d", "1.1.1.1, 2.2.2.2").await.ok();
}

#[tokio::test]
async fn a_node_that_is_full_says_so_and_still_tells_how_it_is() {
    let mut options = options();
    options.requests_max = 1;
    options.password.parallel_max = 1;
    options.password.memory_kib = 64 * 1_024;
    options.password.passes = 20;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let slow = client.clone();
    let slow = tokio::spawn(async move { slow.register("anna").await });
    let load = cluster.first().load.clone();
    while load.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    // Until it is inside, others may get through.
    let mut refused = client.get("/douyin/feed/").await;
    while refused.status == 200 {
        refused = client.get("/douyin/feed/").await;
    }
    refused.failed(503, 5004);
    assert_eq!(client.get("/healthz").await.status, 200);
    slow.await.unwrap();
    client.get("/douyin/feed/").await.ok();
    tokio::time::timeout(Duration::from_secs(5), async {
        while load.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_given_up_and_its_fate_told() {
    let mut options = options();
    options.request_timeout_ms = 200;
    options.password.memory_kib = 64 * 1_024;
    options.password.passes = 50;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let got = client
        .post("/douyin/user/register/?username=a&password=b")
        .await
        .failed(503, 5001);
    // The hash was not done, so nothing was written.
    assert_eq!(got.header("x-yin-outcome"), Some("not_applied"));
    assert_eq!(got.json()["token"], "");
}
