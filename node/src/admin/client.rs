//! Asks a running node over its admin socket.
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::admin::shapes::Failure;

/// An answer is at most this long.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Asks for `path`, with `body` as JSON if there is one.
///
/// # Errors
/// When no node runs in `data`, or it says no.
pub(crate) async fn ask<A: Serialize, T: DeserializeOwned>(
    data: &Path,
    path: &str,
    body: Option<&A>,
) -> Result<T> {
    let socket = data.join("admin.sock");
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "no node answers at {}: is `yin serve --data {}` running, and are you its user?",
            socket.display(),
            data.display()
        )
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("speaking to the node")?;
    let driver = tokio::spawn(connection);
    let (method, body) = match body {
        Some(body) => (Method::POST, Bytes::from(serde_json::to_vec(body)?)),
        None => (Method::GET, Bytes::new()),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "admin")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let response = sender
        .send_request(request)
        .await
        .context("asking the node")?;
    let status = response.status();
    let bytes = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("reading the node's answer: {error}"))?
        .to_bytes();
    drop(sender);
    driver.await.context("closing the admin connection")??;
    if status.is_success() {
        return serde_json::from_slice(&bytes).context("understanding the node's answer");
    }
    match serde_json::from_slice::<Failure>(&bytes) {
        Ok(failure) => bail!("{}", failure.error),
        Err(_) => bail!("the node answered {status}"),
    }
}
