//! Uploads: any order of fields, real covers, and nothing left behind.
use std::time::{Duration, Instant};

use api::seam::SystemRandom;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use storage::blob::Blobs;

use crate::support::client::{Client, Got, User};
use crate::support::clip::{H264, MOV, SOUND, WEBM};
use crate::support::node::{Cluster, options};

fn data(bytes: &'static [u8]) -> Part {
    Part::bytes(bytes)
        .file_name("clip.mp4")
        .mime_str("application/octet-stream")
        .unwrap()
}

fn form(user: &User, title: &str, part: Part) -> Form {
    Form::new()
        .part("data", part)
        .text("token", user.token.clone())
        .text("title", title.to_owned())
}

async fn published(client: &Client, user: &User) -> Vec<serde_json::Value> {
    let list = client
        .get(&format!("/douyin/publish/list/?user_id={}", user.id))
        .await
        .ok();
    list["video_list"].as_array().unwrap().clone()
}

/// Nothing on this disk, nothing in the bucket.
fn assert_clean(cluster: &Cluster) {
    assert_eq!(cluster.blobs.keys(), Vec::<String>::new());
    assert_eq!(cluster.blobs.open_uploads(), 0);
    assert_eq!(cluster.first().spooled(), 0);
}

#[tokio::test]
async fn a_video_is_in_the_lists_on_return_with_a_real_cover() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    client
        .upload(form(&user, "  Mein erster Film 🎬 ", data(H264)))
        .await
        .ok();
    let list = published(&client, &user).await;
    assert_eq!(list[0]["title"], "Mein erster Film 🎬");
    assert_eq!(list[0]["author"]["work_count"], 1);
    assert_eq!(
        client.get("/douyin/feed/").await.ok()["video_list"][0]["id"],
        list[0]["id"]
    );
    let cover = list[0]["cover_url"].as_str().unwrap().to_owned();
    let jpeg = reqwest::get(&cover).await.unwrap();
    assert_eq!(jpeg.headers()["content-type"], "image/jpeg");
    let jpeg = jpeg.bytes().await.unwrap();
    assert!(jpeg.starts_with(b"\xff\xd8\xff"));
    let video = reqwest::get(list[0]["play_url"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(video.headers()["content-type"], "video/mp4");
    assert_eq!(video.bytes().await.unwrap(), H264);
    assert_eq!(cluster.blobs.keys().len(), 2);
    assert_eq!(
        (cluster.blobs.open_uploads(), cluster.first().spooled()),
        (0, 0)
    );
}

#[tokio::test]
async fn what_it_is_counts_and_not_its_name() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    for (bytes, content_type) in [(WEBM, "video/webm"), (MOV, "video/quicktime")] {
        client.upload(form(&user, "x", data(bytes))).await.ok();
        let list = published(&client, &user).await;
        let got = reqwest::get(list[0]["play_url"].as_str().unwrap())
            .await
            .unwrap();
        assert_eq!(got.headers()["content-type"], content_type);
        // What cannot be decoded has a poster.
        let cover = reqwest::get(list[0]["cover_url"].as_str().unwrap())
            .await
            .unwrap();
        assert_eq!(cover.headers()["content-type"], "image/jpeg");
    }
}

#[tokio::test]
async fn fields_come_in_any_order_and_the_token_from_anywhere() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let token = || user.token.clone();
    let last = Form::new()
        .text("title", "1")
        .part("data", data(H264))
        .text("token", token());
    let first = Form::new()
        .text("token", token())
        .text("title", "2")
        .part("data", data(H264));
    let middle = Form::new()
        .text("other", "x")
        .part("data", data(H264))
        .text("title", "3")
        .text("token", token());
    for form in [last, first, middle] {
        client.upload(form).await.ok();
    }
    let bare = || Form::new().part("data", data(H264));
    let query = client
        .request(Method::POST, "/douyin/publish/action")
        .query(&[("token", user.token.as_str()), ("title", "4")])
        .multipart(bare());
    client.send(query).await.ok();
    let header = client
        .request(Method::POST, "/douyin/publish/action/?title=5")
        .bearer_auth(&user.token)
        .multipart(bare());
    client.send(header).await.ok();
    let titles: Vec<_> = published(&client, &user)
        .await
        .iter()
        .map(|video| video["title"].clone())
        .collect();
    assert_eq!(titles, ["5", "4", "3", "2", "1"]);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let mut cut = H264.to_vec();
    cut.truncate(H264.len() / 2);
    let html = b"<html><script>alert(1)</script></html>".as_slice();
    let no_token = Form::new().part("data", data(H264)).text("title", "x");
    let wrong_token = Form::new()
        .text("token", "yin1.1.x")
        .part("data", data(H264))
        .text("title", "x");
    let late_wrong = Form::new()
        .part("data", data(H264))
        .text("title", "x")
        .text("token", "nonsense");
    let early = |part| {
        Form::new()
            .text("token", user.token.clone())
            .text("title", "x")
            .part("data", part)
    };
    let cases: Vec<(&str, Form, u64)> = vec![
        ("no token", no_token, 2001),
        ("wrong token", wrong_token, 2002),
        ("late wrong token", late_wrong, 2002),
        (
            "no data",
            Form::new()
                .text("token", user.token.clone())
                .text("title", "x"),
            1001,
        ),
        (
            "no title",
            Form::new()
                .part("data", data(H264))
                .text("token", user.token.clone()),
            1001,
        ),
        ("blank title", form(&user, "   ", data(H264)), 1004),
        (
            "long title",
            form(&user, &"字".repeat(101), data(H264)),
            1004,
        ),
        (
            "endless title",
            form(&user, &"x".repeat(10_000), data(H264)),
            1004,
        ),
        ("control title", form(&user, "a\u{0}b", data(H264)), 1004),
        ("html", form(&user, "x", data(html)), 3008),
        ("html, token first", early(data(html)), 3008),
        ("empty", form(&user, "x", data(b"")), 3008),
        ("cut", form(&user, "x", Part::bytes(cut.clone())), 3008),
        ("cut, token first", early(Part::bytes(cut)), 3008),
        ("sound", early(data(SOUND)), 3008),
    ];
    for (name, form, code) in cases {
        let got = client.upload(form).await;
        assert_eq!(got.code(), code, "{name}: {}", got.text);
        assert_eq!(got.header("x-yin-outcome"), Some("not_applied"), "{name}");
        got.refused(code);
    }
    assert_clean(&cluster);
    assert!(published(&client, &user).await.is_empty());
}

#[tokio::test]
async fn a_title_may_be_a_hundred_characters_and_the_first_data_wins() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let title = "字".repeat(100);
    client
        .upload(form(&user, &title, data(H264)).part("data", data(b"second")))
        .await
        .ok();
    assert_eq!(published(&client, &user).await[0]["title"], title);
}

async fn too_large(client: &Client, request: reqwest::RequestBuilder) -> Got {
    client.send(request).await.failed(413, 4003)
}

#[tokio::test]
async fn what_is_too_large_is_refused_said_or_not() {
    let mut options = options();
    options.upload.bytes_max = 100_000;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let user = client.register("anna").await;
    client.upload(form(&user, "x", data(H264))).await.ok();
    let mut large = H264.to_vec();
    large.resize(100_001, 0);
    // A little too large: seen when it comes.
    let action = "/douyin/publish/action/";
    let post = || client.request(Method::POST, action);
    too_large(
        &client,
        post().multipart(form(&user, "x", Part::bytes(large.clone()))),
    )
    .await;
    let early = Form::new()
        .text("token", user.token.clone())
        .part("data", Part::bytes(large.clone()));
    too_large(&client, post().multipart(early)).await;
    // Far too large: seen by what it says.
    large.resize(3_000_000, 0);
    let got = too_large(
        &client,
        post().multipart(form(&user, "x", Part::bytes(large.clone()))),
    )
    .await;
    assert_eq!(got.header("x-yin-outcome"), Some("not_applied"));
    // Far too large without a word about its size.
    let chunks = large
        .chunks(50_000)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let endless = Form::new()
        .text("token", user.token.clone())
        .part("data", Part::stream(body));
    too_large(&client, post().multipart(endless)).await;
    assert_eq!(cluster.blobs.keys().len(), 2);
    assert_eq!(
        (cluster.blobs.open_uploads(), cluster.first().spooled()),
        (0, 0)
    );
}

#[tokio::test]
async fn forty_uploads_at_once_are_forty_videos() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (client, form) = (client.clone(), form(&user, &number.to_string(), data(H264)));
        tasks.spawn(async move { client.upload(form).await.ok() });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(60));
    let list = published(&client, &user).await;
    let titles: std::collections::BTreeSet<_> = list
        .iter()
        .map(|video| video["title"].to_string())
        .collect();
    assert_eq!((list.len(), titles.len()), (40, 40));
    assert_eq!(cluster.blobs.keys().len(), 80);
    assert_eq!(cluster.first().spooled(), 0);
}

#[tokio::test]
async fn a_bucket_that_is_down_fails_uploads_clearly_and_nothing_else() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    cluster.blobs.set_down(true);
    for form in [
        form(&user, "x", data(H264)),
        Form::new()
            .text("token", user.token.clone())
            .text("title", "x")
            .part("data", data(H264)),
    ] {
        let got = client.upload(form).await.failed(503, 5005);
        assert_eq!(got.header("x-yin-outcome"), Some("not_applied"));
    }
    client.register("berta").await;
    assert!(published(&client, &user).await.is_empty());
    cluster.blobs.set_down(false);
    assert_clean(&cluster);
    client.publish(&user, "works again").await;
}

/// Each request to the bucket in turn fails once.
#[tokio::test]
async fn a_bucket_that_stumbles_leaves_no_half_published_video() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    for stumbles in 1..=3 {
        cluster.blobs.fail_next(stumbles);
        let got = client.upload(form(&user, "x", data(H264))).await;
        cluster.blobs.fail_next(0);
        let list = published(&client, &user).await;
        if got.code() == 0 {
            continue;
        }
        got.failed(503, 5005);
        assert_eq!(cluster.blobs.keys().len(), list.len() * 2);
        assert_eq!(cluster.blobs.open_uploads(), 0);
    }
    assert_eq!(cluster.first().spooled(), 0);
}

#[tokio::test]
async fn a_full_disk_refuses_uploads_and_recovers() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    cluster
        .first()
        .has_room
        .store(false, std::sync::atomic::Ordering::Relaxed);
    client
        .upload(form(&user, "x", data(H264)))
        .await
        .failed(503, 5006);
    cluster
        .first()
        .has_room
        .store(true, std::sync::atomic::Ordering::Relaxed);
    client.publish(&user, "x").await;
}

#[tokio::test]
async fn unknown_senders_share_a_small_budget() {
    let mut options = options();
    options.upload.unproven_bytes_max = 10_000;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let late = client.upload(form(&user, "x", data(H264))).await;
    late.failed(503, 5004);
    let early = Form::new()
        .text("token", user.token.clone())
        .text("title", "x")
        .part("data", data(H264));
    client.upload(early).await.ok();
    assert_eq!(cluster.first().spooled(), 0);
}

#[tokio::test]
async fn a_sender_that_falls_silent_is_let_go() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let start = futures_util::stream::iter([Ok::<_, std::io::Error>(H264[..9_000].to_vec())]);
    let silence = futures_util::StreamExt::chain(start, futures_util::stream::pending());
    let form = Form::new()
        .text("token", user.token.clone())
        .text("title", "x")
        .part("data", Part::stream(reqwest::Body::wrap_stream(silence)));
    let got = client.upload(form).await;
    got.failed(408, 4005);
    assert_clean(&cluster);
}

/// Blobs without a video go away when they are old; those with one stay.
#[tokio::test]
async fn orphans_are_swept_and_videos_are_not() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    client.publish(&user, "x").await;
    let kept = cluster.blobs.keys();
    cluster
        .blobs
        .put("v/20200101/lost.mp4", "video/mp4", "x".into())
        .await
        .unwrap();
    cluster
        .blobs
        .put("c/20200101/lost.jpg", "image/jpeg", "x".into())
        .await
        .unwrap();
    cluster
        .blobs
        .put("elsewhere/x", "text/plain", "x".into())
        .await
        .unwrap();
    let mut sweeper = api::sweeper::Sweeper {
        replica: cluster.first().replica.clone(),
        blobs: std::sync::Arc::new(cluster.blobs.clone()),
        clock: std::sync::Arc::new(raft::clock::SystemClock),
        random: std::sync::Arc::new(SystemRandom),
        age_min: Duration::from_secs(3_600),
    };
    assert_eq!(sweeper.sweep().await.unwrap().deleted, 0);
    sweeper.age_min = Duration::ZERO;
    let swept = sweeper.sweep().await.unwrap();
    assert_eq!((swept.seen, swept.deleted), (4, 2));
    let left: Vec<_> = cluster
        .blobs
        .keys()
        .into_iter()
        .filter(|key| key != "elsewhere/x")
        .collect();
    assert_eq!(left, kept);
}
