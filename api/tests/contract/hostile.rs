//! What strangers send: clear answers, and nothing that breaks.
use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::node::{Cluster, options};

#[tokio::test]
async fn absurd_numbers_are_refused_everywhere() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let token = &user.token;
    for wrong in [
        "-1",
        "1.5",
        "9007199254740992",
        "1e400",
        "99999999999999999999999",
        "abc",
        "0x10",
        "1e",
        "NaN",
        "%31%00",
    ] {
        for path in [
            format!("/douyin/user/?token={token}&user_id={wrong}"),
            format!("/douyin/publish/list/?user_id={wrong}"),
            format!("/douyin/comment/list/?video_id={wrong}"),
            format!("/douyin/relation/friend/list/?token={token}&user_id={wrong}"),
            format!("/douyin/message/chat/?token={token}&to_user_id={wrong}"),
            format!("/douyin/favorite/list/?user_id={}&limit={wrong}", user.id),
        ] {
            client.get(&path).await.refused(1003);
        }
        client.like(&user, 1, wrong).await.refused(1003);
    }
}

#[tokio::test]
async fn what_is_not_utf8_is_said_so() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    client
        .get("/douyin/publish/list/?user_id=%ff")
        .await
        .refused(1002);
    client
        .post("/douyin/user/register/?username=%ff%fe&password=x")
        .await
        .refused(1002);
    let path = format!(
        "/douyin/message/action/?token={}&to_user_id=1&action_type=1&content=%c3%28",
        user.token
    );
    client.post(&path).await.refused(1002);
    // Where it is not asked for, it does not matter.
    client.get("/douyin/feed/?other=%ff").await.ok();
}

#[tokio::test]
async fn broken_bodies_are_said_so() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let send = async |path: &str, content_type: &str, body: &'static str| {
        let request = client
            .request(Method::POST, path)
            .header("Content-Type", content_type)
            .body(body);
        client.send(request).await
    };
    let register = "/douyin/user/register/";
    let publish = "/douyin/publish/action/";
    let form = "multipart/form-data; boundary=XX";
    send(
        register,
        form,
        "--XX\r\nContent-Disposition: form-data; name=\"usern",
    )
    .await
    .refused(1006);
    send(register, "multipart/form-data", "--XX\r\n")
        .await
        .refused(1006);
    send(register, "application/json", "{\"username\": \"x\"}")
        .await
        .refused(1001);
    send(
        publish,
        form,
        "--XX\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\nabc",
    )
    .await
    .refused(1006);
    send(publish, form, "").await.refused(1006);
    send(publish, "multipart/form-data", "x")
        .await
        .refused(1006);
    send(publish, "application/json", "{}").await.refused(1001);
    send(publish, "application/x-www-form-urlencoded", "data=x")
        .await
        .refused(1001);
    assert_eq!(cluster.first().spooled(), 0);
    // Of what the query has, the body is not asked.
    send(
        "/douyin/user/register/?username=a&password=b",
        form,
        "nonsense",
    )
    .await
    .ok();
}

#[tokio::test]
async fn large_bodies_are_refused_said_or_not() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let post = || {
        client
            .request(Method::POST, "/douyin/user/register/")
            .header("Content-Type", "application/x-www-form-urlencoded")
    };
    let large = "x".repeat((1 << 20) + 1);
    let refused = client
        .send(post().body(large.clone()))
        .await
        .failed(413, 4003)
        .json();
    assert_eq!(refused["token"], "");
    let chunks = vec![Ok::<_, std::io::Error>(large.clone()), Ok(large)];
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    client.send(post().body(stream)).await.failed(413, 4003);
    client.send(post().body("username=a&password=b")).await.ok();
}

#[tokio::test]
async fn unknown_paths_and_methods_get_json() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    for path in [
        "/nothing",
        "/douyin",
        "/douyin/feed//",
        "/douyin/feed/x",
        "/favicon.ico",
        "/douyin/user/registerx",
    ] {
        let got = client.get(path).await.failed(404, 4001);
        assert_eq!(
            got.header("content-type"),
            Some("application/json; charset=utf-8")
        );
    }
    for (method, path, allow) in [
        (Method::GET, "/douyin/user/register/", "POST"),
        (Method::POST, "/douyin/feed/", "GET"),
        (Method::DELETE, "/douyin/user", "GET"),
        (Method::PUT, "/", "GET"),
    ] {
        let got = client
            .send(client.request(method, path))
            .await
            .failed(405, 4002);
        assert!(got.header("allow").unwrap().contains(allow));
    }
    // Every path with and without its slash, directly.
    for path in ["/douyin/feed", "/douyin/feed/"] {
        client.get(path).await.ok();
    }
}

#[tokio::test]
async fn pages_of_others_may_ask() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let preflight = client
        .request(Method::OPTIONS, "/douyin/publish/action/")
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "x-yin-session");
    let got = client.send(preflight).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("access-control-allow-origin"), Some("*"));
    let got = client
        .send(
            client
                .request(Method::GET, "/douyin/feed/")
                .header("Origin", "https://elsewhere.example"),
        )
        .await;
    assert!(
        got.header("access-control-expose-headers")
            .unwrap()
            .contains("x-yin-session")
    );
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let cluster = Cluster::one().await;
    let mut stream = tokio::net::TcpStream::connect(cluster.first().address)
        .await
        .unwrap();
    stream
        .write_all(b"GET /douyin/feed/ HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    // From here on time passes as fast as everybody only waits for it.
    tokio::time::pause();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(300), stream.read_to_end(&mut answer))
        .await
        .expect("the server closes it")
        .unwrap();
}

/// Who asks first whether its body is wanted is not told to send one that is not.
#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_asked_for_in_vain() {
    let cluster = Cluster::one().await;
    let mut stream = tokio::net::TcpStream::connect(cluster.first().address)
        .await
        .unwrap();
    let head = "POST /douyin/publish/action/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
        Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 9000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
        .await
        .expect("the server closes it")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"status_code\":4003"), "{answer}");
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_decent() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let own = async |id: &str| {
        let request = client
            .request(Method::GET, "/douyin/feed/")
            .header("X-Request-Id", id);
        client
            .send(request)
            .await
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(own("abc-1_2.3").await, "abc-1_2.3");
    let long = "x".repeat(65);
    for indecent in ["a b", "<script>", long.as_str()] {
        assert_ne!(own(indecent).await, indecent);
    }
}

#[tokio::test]
async fn both_http_versions_are_spoken() {
    let cluster = Cluster::one().await;
    drop(rustls::crypto::ring::default_provider().install_default());
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let got = http2
        .get(cluster.first().url("/douyin/feed/"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.version(), reqwest::Version::HTTP_2);
    assert_eq!(got.status(), 200);
}

#[tokio::test]
async fn json_is_compressed_when_asked_for() {
    let cluster = Cluster::with(1, options()).await;
    let client = cluster.client();
    let user = client.register("anna").await;
    for number in 0..5 {
        client.publish(&user, &number.to_string()).await;
    }
    let request = client
        .request(Method::GET, "/douyin/feed/")
        .header("Accept-Encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.bytes().await.unwrap();
    assert!(body.starts_with(b"\x1f\x8b"));
    assert!(body.len() < client.get("/douyin/feed/").await.text.len());
}
