//! A stop that breaks nothing.
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use tokio::sync::mpsc;

use crate::support::clip::H264;
use crate::support::node::Cluster;

/// An upload is under way when the stop comes: it is finished and answered.
#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let mut cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let (chunks, body) = mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, async |mut body| {
        body.recv().await.map(|chunk| (chunk, body))
    });
    let form = Form::new()
        .text("token", user.token.clone())
        .text("title", "last")
        .part(
            "data",
            Part::stream(reqwest::Body::wrap_stream(Box::pin(body))),
        );
    let uploading = client.clone();
    let upload = tokio::spawn(async move { uploading.upload(form).await });
    let (first, rest) = H264.split_at(H264.len() / 2);
    chunks.send(Ok(first.to_vec())).await.unwrap();
    while cluster.first().load.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let address = cluster.first().address;
    let server = cluster.nodes[0].stop();
    // The door is shut for everybody else.
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .unwrap();
    assert!(!server.is_finished());
    chunks.send(Ok(rest.to_vec())).await.unwrap();
    drop(chunks);
    upload.await.unwrap().ok();
    tokio::time::timeout(Duration::from_secs(10), server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
