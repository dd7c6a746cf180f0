//! Uploads: many at once, paged while they come in, and large ones without large memory.
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tests::client::{Client, answered, clip};
use tests::cluster::Cluster;
use tests::wait;

const UPLOADS: usize = 40;

#[tokio::test]
async fn forty_uploads_at_once_are_each_paged_exactly_once() {
    let cluster = Cluster::start(3).await;
    let clients = cluster.clients();
    let author = clients[0].register("busy").await;
    let clip = clip();
    let uploaders = clients.clone();
    let uploads = futures_util::stream::iter(0..UPLOADS).map(move |n| {
        let client = uploaders[n % uploaders.len()].clone();
        let (author, clip) = (author.clone(), clip.clone());
        async move {
            let title = format!("upload {n}");
            let body = answered("publish", client.publish(&author, &title, clip).await);
            assert_eq!(body["status_code"], 0, "{body}");
        }
    });
    let publishing = tokio::spawn(uploads.buffer_unordered(UPLOADS).collect::<Vec<()>>());
    // Pages that are read meanwhile never show a video twice.
    while !publishing.is_finished() {
        let seen = walk(&clients).await;
        assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    }
    publishing.await.expect("all uploads succeed");
    let seen = walk(&clients).await;
    assert_eq!(seen.len(), UPLOADS);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    cluster.verify().await;
}

/// Pages through the whole feed, each page at another node; how often each title was seen.
async fn walk(clients: &[Client]) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut bound = None;
    for page in 0.. {
        let client = &clients[page % clients.len()];
        let text = bound
            .map(|bound: u64| bound.to_string())
            .unwrap_or_default();
        let body = client
            .get("/douyin/feed/", &[("latest_time", text.as_str())])
            .await;
        let videos = body["video_list"].as_array().expect("a list").clone();
        assert!(videos.len() <= 30);
        if videos.is_empty() {
            break;
        }
        for video in videos {
            let title = video["title"].as_str().expect("a title").to_owned();
            *seen.entry(title).or_default() += 1;
        }
        bound = body["next_time"].as_u64();
    }
    seen
}

/// A valid clip of about `bytes`: behind the real one stands a box that players skip.
fn large_clip(
    bytes: u64,
) -> (
    u64,
    impl futures_util::Stream<Item = std::io::Result<Bytes>>,
) {
    const CHUNK: usize = 1 << 20;
    let clip = clip();
    let chunks = bytes / CHUNK as u64;
    let padding = 16 + chunks * CHUNK as u64;
    let mut head = clip;
    head.extend(1u32.to_be_bytes());
    head.extend(b"free");
    head.extend(padding.to_be_bytes());
    let total = head.len() as u64 + padding - 16;
    let zeros = Bytes::from(vec![0; CHUNK]);
    let rest = futures_util::stream::iter((0..chunks).map(move |_| Ok(zeros.clone())));
    let head = futures_util::stream::once(async move { Ok(Bytes::from(head)) });
    (total, head.chain(rest))
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("the peak is there");
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[tokio::test]
async fn a_large_upload_needs_no_large_memory() {
    let bytes: u64 = if std::env::var_os("YIN_LONG").is_some() {
        2 << 30
    } else {
        300 << 20
    };
    let cluster = Cluster::start(1).await;
    let client = cluster.nodes[0].client();
    let author = client.register("large").await;
    answered("warm up", client.publish(&author, "small", clip()).await);

    let pid = cluster.nodes[0].process.as_ref().expect("it runs").pid();
    let before = resident_kib(pid);
    let (total, stream) = large_clip(bytes);
    let part =
        reqwest::multipart::Part::stream_with_length(reqwest::Body::wrap_stream(stream), total)
            .file_name("large.mp4");
    let form = reqwest::multipart::Form::new()
        .text("token", author.token.clone())
        .text("title", "large")
        .part("data", part);
    let request = client
        .raw(reqwest::Method::POST, "/douyin/publish/action/")
        .timeout(Duration::from_secs(300))
        .multipart(form);
    let body = answered("a large upload", client.send(request).await);
    assert_eq!(body["status_code"], 0, "{body}");
    let grown = (resident_kib(pid).saturating_sub(before)) / 1024;
    println!(
        "{} MiB uploaded, peak memory grew by {grown} MiB",
        bytes >> 20
    );
    assert!(grown <= 64, "peak memory grew by {grown} MiB");
    nothing_left_in_the_spool(&cluster).await;
}

async fn nothing_left_in_the_spool(cluster: &Cluster) {
    let spool = cluster.nodes[0].data.join("spool");
    wait::until("an empty spool", Duration::from_secs(10), || async {
        std::fs::read_dir(&spool)
            .ok()?
            .next()
            .is_none()
            .then_some(())
    })
    .await;
}
