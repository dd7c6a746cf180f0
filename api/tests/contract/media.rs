//! Videos, covers and pictures: ranges, validators, and no way out of the path.
use reqwest::{Method, Response};

use crate::support::clip::H264;
use crate::support::node::{Cluster, options};

async fn video(cluster: &Cluster) -> String {
    let client = cluster.client();
    let user = client.register("anna").await;
    client.publish(&user, "one").await;
    let feed = client.get("/douyin/feed/").await.ok();
    feed["video_list"][0]["play_url"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn ask(method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = reqwest::Client::new().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_video_is_sent_whole_or_in_parts() {
    let cluster = Cluster::one().await;
    let url = video(&cluster).await;
    let whole = ask(Method::GET, &url, &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(whole.status(), 200);
    let size = H264.len();
    for (name, value) in [
        ("content-length", size.to_string().as_str()),
        ("content-type", "video/mp4"),
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        ("content-encoding", ""),
        ("x-yin-node", "1"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(header(&whole, name), value, "{name}");
    }
    assert_eq!(whole.bytes().await.unwrap(), H264);

    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=100-", 100, size - 1),
        ("bytes=-100", size - 100, size - 1),
        ("bytes=0-999999999", 0, size - 1),
    ] {
        let part = ask(Method::GET, &url, &[("Range", range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(
            header(&part, "content-range"),
            format!("bytes {first}-{last}/{size}")
        );
        assert_eq!(
            header(&part, "content-length"),
            (last - first + 1).to_string()
        );
        assert_eq!(part.bytes().await.unwrap(), &H264[first..=last], "{range}");
    }
    for range in ["bytes=999999999-", "bytes=-0"] {
        let outside = ask(Method::GET, &url, &[("Range", range)]).await;
        assert_eq!(outside.status(), 416, "{range}");
        assert_eq!(header(&outside, "content-range"), format!("bytes */{size}"));
        assert!(outside.text().await.unwrap().contains("4006"));
    }
    for odd in ["bytes=5-2", "lines=1-2", "bytes=0-1,4-5"] {
        assert_eq!(
            ask(Method::GET, &url, &[("Range", odd)]).await.status(),
            200,
            "{odd}"
        );
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let cluster = Cluster::one().await;
    let url = video(&cluster).await;
    let etag = header(&ask(Method::GET, &url, &[]).await, "etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 20, "{etag}");
    cluster.blobs.set_down(true);
    let same = ask(
        Method::GET,
        &url,
        &[("If-None-Match", &etag), ("Range", "bytes=0-1")],
    )
    .await;
    assert_eq!(
        (same.status().as_u16(), header(&same, "etag")),
        (304, etag.as_str())
    );
    assert!(same.bytes().await.unwrap().is_empty());
    cluster.blobs.set_down(false);
    let with = async |value: &str| {
        ask(
            Method::GET,
            &url,
            &[("Range", "bytes=0-1"), ("If-Range", value)],
        )
        .await
        .status()
    };
    assert_eq!(with(&etag).await, 206);
    assert_eq!(with("\"other\"").await, 200);
    assert_eq!(with("Sat, 01 Jan 2022 00:00:00 GMT").await, 200);
}

#[tokio::test]
async fn head_has_all_but_the_body_and_asks_no_bucket() {
    let cluster = Cluster::one().await;
    let url = video(&cluster).await;
    cluster.blobs.set_down(true);
    let head = ask(Method::HEAD, &url, &[]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "content-length"), H264.len().to_string());
    let part = ask(Method::HEAD, &url, &[("Range", "bytes=0-9")]).await;
    assert_eq!(
        (part.status().as_u16(), header(&part, "content-length")),
        (206, "10")
    );
    let down = ask(Method::GET, &url, &[]).await;
    assert_eq!(down.status(), 503);
    assert!(!header(&down, "retry-after").is_empty());
    assert!(down.text().await.unwrap().contains("5005"));
}

#[tokio::test]
async fn there_is_no_way_out_of_the_path() {
    let cluster = Cluster::one().await;
    let url = video(&cluster).await;
    let name = url.rsplit('/').next().unwrap().to_owned();
    for path in [
        format!("/media/video/..%2f..%2f{name}"),
        "/media/video/..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "/media/../../etc/passwd".to_owned(),
        "/media/video/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/media/video/v/20260101/x.mp4".to_owned(),
        "/media/v/x".to_owned(),
        "/media/video/".to_owned(),
        "/media/video/7".to_owned(),
        "/media/video/999999-abcdefabcdef.mp4".to_owned(),
        format!("/media/cover/{name}"),
        format!("/media/video/{}", name.replace('-', "-0")),
        format!("/media/video/%00{name}"),
        "/media/video/%ff-a.mp4".to_owned(),
        "/static/avatar/..%2f1.png".to_owned(),
        "/static/avatar/x.png".to_owned(),
        "/static/other/1.png".to_owned(),
    ] {
        let got = raw(
            &cluster,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert!(got.starts_with("HTTP/1.1 404"), "{path}: {got}");
        assert!(
            got.contains("\"status_code\":4001") || got.contains("\"status_code\":4007"),
            "{path}: {got}"
        );
    }
    // Its extension does not matter, its tag does.
    let bare = url.trim_end_matches(".mp4");
    assert_eq!(ask(Method::GET, bare, &[]).await.status(), 200);
}

/// Clients tidy paths up; this one does not.
async fn raw(cluster: &Cluster, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(cluster.first().address)
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn everybody_has_a_picture() {
    let cluster = Cluster::one().await;
    for (path, content_type) in [
        ("/static/avatar/5.png", "image/png"),
        ("/static/background/5.jpg", "image/jpeg"),
    ] {
        let url = cluster.first().url(path);
        let got = ask(Method::GET, &url, &[]).await;
        assert_eq!(
            (got.status().as_u16(), header(&got, "content-type")),
            (200, content_type)
        );
        let etag = header(&got, "etag").to_owned();
        let size = got.bytes().await.unwrap().len();
        assert!(size > 100);
        let same = ask(Method::GET, &url, &[("If-None-Match", &etag)]).await;
        assert_eq!(same.status(), 304);
        let head = ask(Method::HEAD, &url, &[]).await;
        assert_eq!(header(&head, "content-length"), size.to_string());
    }
}

#[tokio::test]
async fn urls_begin_with_what_the_client_used_unless_configured() {
    let cluster = Cluster::one().await;
    let own = video(&cluster).await;
    assert!(
        own.starts_with(&cluster.first().url("/media/video/")),
        "{own}"
    );
    let seen = async |cluster: &Cluster, headers: &[(&str, &str)]| {
        let feed = ask(Method::GET, &cluster.first().url("/douyin/feed/"), headers).await;
        let feed: serde_json::Value = feed.json().await.unwrap();
        feed["video_list"][0]["cover_url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let by_name = seen(&cluster, &[("Host", "phone.lan:8080")]).await;
    assert!(
        by_name.starts_with("http://phone.lan:8080/media/cover/"),
        "{by_name}"
    );
    let hostile = seen(&cluster, &[("Host", "evil\"><script>")]).await;
    assert!(hostile.starts_with("http://localhost/"), "{hostile}");
    let untrusted = seen(
        &cluster,
        &[
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "https"),
        ],
    )
    .await;
    assert!(
        untrusted.starts_with(&cluster.first().url("/media/")),
        "{untrusted}"
    );

    let mut proxied = options();
    proxied.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    let cluster = Cluster::with(1, proxied).await;
    video(&cluster).await;
    let trusted = seen(
        &cluster,
        &[
            ("X-Forwarded-Host", "yin.example"),
            ("X-Forwarded-Proto", "https"),
        ],
    )
    .await;
    assert!(
        trusted.starts_with("https://yin.example/media/"),
        "{trusted}"
    );

    let mut configured = options();
    configured.public_url = Some("https://public.example/yin/".to_owned());
    let cluster = Cluster::with(1, configured).await;
    video(&cluster).await;
    assert!(
        seen(&cluster, &[])
            .await
            .starts_with("https://public.example/yin/media/")
    );
}
