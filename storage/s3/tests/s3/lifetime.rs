//! How the server starts and ends.

use std::time::{Duration, Instant};

use object_store::ObjectStoreExt;
use s3::{Error, Fault, Options, Server};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::{Running, options};

#[tokio::test]
async fn bad_options_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let no_keys = Options {
        secret_key: String::new(),
        ..options(dir.path())
    };
    assert!(matches!(Server::start(no_keys).await, Err(Error::NoKeys)));
    let name = Options {
        buckets: vec!["No_Such".into()],
        ..options(dir.path())
    };
    assert!(matches!(
        Server::start(name).await,
        Err(Error::BucketName { .. })
    ));
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(
        Server::start(options(&file)).await,
        Err(Error::Dir { .. })
    ));
    let running = Running::start().await;
    let taken = Options {
        listen: running.server.addr,
        ..options(dir.path())
    };
    let error = Server::start(taken).await.unwrap_err();
    assert!(
        error.to_string().contains("another address or port"),
        "{error}"
    );
}

#[test]
fn secrets_are_not_printed() {
    let shown = format!(
        "{:?}",
        Options {
            secret_key: "hunter2".into(),
            ..Options::default()
        }
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_request_in_flight_ends_before_the_server_does() {
    let running = Running::start().await;
    let (client, faults) = (running.client(), running.faults.clone());
    faults.next(1, Fault::Delay(Duration::from_millis(500)));
    let put = tokio::spawn(async move { client.put(&"a".into(), "x".into()).await });
    while faults.left() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let addr = running.server.addr;
    running.server.shutdown().await;
    put.await.unwrap().unwrap();
    assert!(running.dir.path().join("videos/a").exists());
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_the_server_up_for_ever() {
    let running = Running::start().await;
    let (client, faults) = (running.client(), running.faults.clone());
    faults.next(1, Fault::Hang);
    let get = tokio::spawn(async move { client.get(&"a".into()).await.map(|_| ()) });
    while faults.left() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let start = Instant::now();
    running.server.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(get.await.unwrap().is_err());
}

#[tokio::test]
async fn a_dropped_server_stops_listening() {
    let Running { server, dir, .. } = Running::start().await;
    let addr = server.addr;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(addr).await.is_ok() {
        assert!(Instant::now() < deadline, "still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let end = tokio::time::timeout(Duration::from_secs(20), idle.read(&mut [0; 1]))
        .await
        .unwrap();
    assert!(
        matches!(end, Ok(0) | Err(_)),
        "an idle connection is closed"
    );
    drop(dir);
}

#[tokio::test]
async fn connections_have_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Options {
        connections_max: 2,
        ..options(dir.path())
    })
    .await
    .unwrap();
    let idle = [
        TcpStream::connect(server.addr).await.unwrap(),
        TcpStream::connect(server.addr).await.unwrap(),
    ];
    let http = reqwest::Client::new();
    let ask = |patience| {
        http.get(format!("http://{}/", server.addr))
            .timeout(patience)
            .send()
    };
    assert!(
        ask(Duration::from_millis(500)).await.is_err(),
        "both places are taken"
    );
    drop(idle);
    assert_eq!(
        ask(Duration::from_secs(20)).await.unwrap().status(),
        403,
        "a stranger, but served"
    );
}
