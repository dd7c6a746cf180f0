//! Bad input and a bad bucket: a clear error, nothing left behind, everything else goes on.
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tests::client::{Client, Login, Outcome, answered, clip};
use tests::cluster::Cluster;
use tests::wait;

/// Every file of an object below the bucket.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            found.extend(objects(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

async fn refused(client: &Client, login: &Login, what: &str, clip: Vec<u8>) {
    match client.publish(login, what, clip).await {
        Outcome::Answered(body) => {
            assert_ne!(body["status_code"], 0, "{what} was accepted");
            assert!(
                body["status_msg"]
                    .as_str()
                    .is_some_and(|text| text.len() > 5)
            );
        }
        Outcome::NotApplied(_) => {}
        Outcome::Unknown(why) => panic!("{what}: no clear answer: {why}"),
    }
}

#[tokio::test]
async fn hostile_uploads_leave_nothing_behind() {
    let cluster = Cluster::start(1).await;
    let client = cluster.nodes[0].client();
    let login = client.register("mallory").await;
    let bucket = cluster.dir.path().join("s3");
    let before = objects(&bucket);

    let good = clip();
    refused(
        &client,
        &login,
        "truncated",
        good[..good.len() / 2].to_vec(),
    )
    .await;
    refused(
        &client,
        &login,
        "html named mp4",
        b"<html>hello</html>".repeat(100),
    )
    .await;
    refused(&client, &login, "empty", Vec::new()).await;
    let mut lying = good.clone();
    for byte in lying.iter_mut().skip(40).step_by(7) {
        *byte = byte.wrapping_mul(31).wrapping_add(17);
    }
    refused(&client, &login, "scrambled", lying).await;
    let stranger = Login {
        id: 1,
        token: "yin1.0.not-a-token".to_owned(),
    };
    refused(&client, &stranger, "wrong token", good.clone()).await;
    broken_multipart(&client, &login).await;
    cut_off(&client, &login, &good).await;

    let spool = cluster.nodes[0].data.join("spool");
    wait::until("nothing left behind", Duration::from_secs(20), || async {
        let is_clean = objects(&bucket) == before && objects(&spool).is_empty();
        is_clean.then_some(())
    })
    .await;
    let body = answered("a good one", client.publish(&login, "good", good).await);
    assert_eq!(body["status_code"], 0);
}

async fn broken_multipart(client: &Client, login: &Login) {
    let query = [("token", login.token.as_str()), ("title", "x")];
    for (kind, body) in [
        ("multipart/form-data", "no boundary at all"),
        (
            "multipart/form-data; boundary=abc",
            "--abc\r\nContent-Disposition: form-data; name=\"data\"",
        ),
        ("multipart/form-data; boundary=abc", "--xyz--"),
        ("application/octet-stream", "bytes"),
    ] {
        let request = client
            .raw(Method::POST, "/douyin/publish/action/")
            .query(&query)
            .header("content-type", kind)
            .body(body);
        let body = answered(kind, client.send(request).await);
        assert_ne!(body["status_code"], 0, "{kind}: {body}");
    }
}

/// A client that goes away in the middle of its upload.
async fn cut_off(client: &Client, login: &Login, clip: &[u8]) {
    use tokio::io::AsyncWriteExt as _;
    let address = client.base.trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    let part = "--abc\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a.mp4\"\r\n\r\n";
    let head = format!(
        "POST /douyin/publish/action/?token={}&title=x HTTP/1.1\r\nHost: x\r\n\
         Content-Type: multipart/form-data; boundary=abc\r\nContent-Length: 9000000\r\n\r\n{part}",
        login.token
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(clip).await.expect("sent");
    stream.flush().await.expect("sent");
    drop(stream);
}

#[tokio::test]
async fn hostile_requests_get_a_clear_error() {
    let cluster = Cluster::start(1).await;
    let client = cluster.nodes[0].client();
    let login = client.register("trent").await;
    for query in [
        "username=%ff%fe&password=x",
        "username=&password=x",
        "username=a%00b&password=x",
    ] {
        let path = format!("/douyin/user/register/?{query}");
        let body = answered(query, client.send(client.raw(Method::POST, &path)).await);
        assert_ne!(body["status_code"], 0, "{query}");
        assert_eq!((&body["token"], &body["user_id"]), (&"".into(), &0.into()));
    }
    for id in [
        "99999999999999999999",
        "-1",
        "1.5",
        "NaN",
        "0x10",
        "9007199254740993",
        "1e400",
    ] {
        let parameters = [
            ("token", login.token.as_str()),
            ("video_id", id),
            ("action_type", "1"),
        ];
        let body = client.post("/douyin/favorite/action/", &parameters).await;
        assert_ne!(body["status_code"], 0, "{id}");
    }
    for path in [
        "/media/../../etc/passwd",
        "/media/..%2f..%2fetc%2fpasswd",
        "/media/%2e%2e/%2e%2e/identity.json",
        "/media/video/..",
        "/media/video/1/../../../identity.json",
    ] {
        let answer = client
            .raw(Method::GET, path)
            .send()
            .await
            .expect("answered");
        assert!(!answer.status().is_success(), "{path}");
        let text = answer.text().await.expect("a body");
        assert!(
            !text.contains("root:") && !text.contains("certificate"),
            "{path}: {text}"
        );
    }
}

#[tokio::test]
async fn without_s3_publishing_fails_clearly_and_the_rest_goes_on() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.nodes[0].client();
    let login = client.register("oscar").await;
    answered("publish", client.publish(&login, "before", clip()).await);
    cluster.s3.kill();

    let begun = Instant::now();
    match client.publish(&login, "meanwhile", clip()).await {
        Outcome::Answered(body) => assert_ne!(body["status_code"], 0, "{body}"),
        Outcome::NotApplied(_) => {}
        Outcome::Unknown(why) => panic!("no clear answer: {why}"),
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "it took too long to fail"
    );

    let feed = client.get("/douyin/feed/", &[]).await;
    assert_eq!(feed["video_list"].as_array().map(Vec::len), Some(1));
    let video = feed["video_list"][0]["id"].as_u64().expect("an id");
    let liked = answered("like", client.favorite(&login, video, true).await);
    assert_eq!(liked["status_code"], 0);
    assert!(
        cluster.nodes[0].is_ready().await,
        "a bucket that is down stops no node"
    );
    let url = feed["video_list"][0]["play_url"].as_str().expect("a url");
    let media = reqwest::get(url).await.expect("answered");
    assert_eq!(media.status(), 503);
    let said: Value = media.json().await.expect("JSON");
    assert_ne!(said["status_code"], 0);

    cluster.s3.start().await;
    wait::until(
        "publishing to work again",
        Duration::from_secs(40),
        || async {
            match client.publish(&login, "after", clip()).await {
                Outcome::Answered(body) if body["status_code"] == 0 => Some(()),
                _ => None,
            }
        },
    )
    .await;
}
