//! A client of the public API, as any other: every request goes to another node in turn, and
//! nothing tells one node what another one answered.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::header::RETRY_AFTER;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::layout::{Layout, NODES};

/// Longer than the five seconds a phone waits: this machine may be building something else.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often "try again later" (429, 503) is obeyed before it counts as an error.
const TRIES_MAX: u32 = 5;

pub(crate) fn client() -> anyhow::Result<Client> {
    Client::builder()
        .timeout(ANSWER_WITHIN)
        // Loopback only: a proxy of the environment is not meant for it.
        .no_proxy()
        .build()
        .context("making an HTTP client")
}

/// The three nodes as one service.
pub(crate) struct Api {
    client: Client,
    urls: [String; NODES],
    next: AtomicUsize,
}

/// What the service answered: its own code, or the whole body.
#[derive(Debug)]
pub(crate) enum Answer {
    Done(Value),
    /// The service said no; the text is for people.
    Refused(String),
}

impl Answer {
    /// The body; a refusal is an error here.
    pub(crate) fn done(self) -> anyhow::Result<Value> {
        match self {
            Self::Done(body) => Ok(body),
            Self::Refused(message) => bail!("refused: {message}"),
        }
    }
}

impl Api {
    pub(crate) fn new(layout: &Layout) -> anyhow::Result<Self> {
        let urls = std::array::from_fn(|node| layout.http_url(node));
        Ok(Self {
            client: client()?,
            urls,
            next: AtomicUsize::new(0),
        })
    }

    /// Asks the next node.
    pub(crate) async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        self.get_from(self.next_node(), path, parameters).await
    }

    pub(crate) async fn get_from(
        &self,
        node: usize,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let url = self.url(node, path, parameters)?;
        let request = || self.client.request(Method::GET, url.clone());
        self.answer(path, request).await?.done()
    }

    /// Posts to the next node, with the parameters in the query as the app does.
    pub(crate) async fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let url = self.url(self.next_node(), path, parameters)?;
        self.answer(path, || self.client.request(Method::POST, url.clone()))
            .await
    }

    pub(crate) async fn publish(
        &self,
        token: &str,
        title: &str,
        file_name: &str,
        clip: &[u8],
    ) -> anyhow::Result<Answer> {
        let path = "/douyin/publish/action/";
        let url = self.url(self.next_node(), path, &[])?;
        let request = || {
            let data = Part::bytes(clip.to_vec()).file_name(file_name.to_owned());
            let form = Form::new()
                .text("token", token.to_owned())
                .text("title", title.to_owned())
                .part("data", data);
            self.client
                .request(Method::POST, url.clone())
                .multipart(form)
        };
        self.answer(path, request).await
    }

    /// True if the absolute `url` (a clip or cover) can be fetched.
    pub(crate) async fn is_there(&self, url: &str) -> anyhow::Result<bool> {
        let answer = self
            .client
            .head(url)
            .send()
            .await
            .with_context(|| format!("asking for {url}"))?;
        Ok(answer.status().is_success())
    }

    fn next_node(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % NODES
    }

    fn url(
        &self,
        node: usize,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<reqwest::Url> {
        let base = format!("{}{path}", self.urls[node]);
        reqwest::Url::parse_with_params(&base, parameters)
            .with_context(|| format!("building {base}"))
    }

    /// Sends, obeys "try again later", and reads the contract's status code.
    async fn answer(
        &self,
        path: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> anyhow::Result<Answer> {
        for _ in 0..TRIES_MAX {
            let answer = request()
                .send()
                .await
                .with_context(|| format!("asking {path}"))?;
            let status = answer.status();
            if is_put_off(&answer) {
                tokio::time::sleep(retry_after(&answer)).await;
                continue;
            }
            let body = answer
                .text()
                .await
                .with_context(|| format!("reading the answer of {path}"))?;
            ensure!(status == StatusCode::OK, "{path} answered {status}: {body}");
            let body: Value =
                serde_json::from_str(&body).with_context(|| format!("{path} answered: {body}"))?;
            return Ok(match body["status_code"].as_i64() {
                Some(0) => Answer::Done(body),
                _ => Answer::Refused(body["status_msg"].as_str().unwrap_or_default().to_owned()),
            });
        }
        bail!("{path} was put off {TRIES_MAX} times")
    }
}

/// True if the request was certainly not carried out and may be sent again. One whose outcome is
/// not known may not: a message would be there twice.
fn is_put_off(answer: &Response) -> bool {
    let is_unknown = answer
        .headers()
        .get("x-yin-outcome")
        .is_some_and(|outcome| outcome == "unknown");
    matches!(
        answer.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) && !is_unknown
}

/// What the service asks for, between one second and ten.
fn retry_after(answer: &Response) -> Duration {
    let header = answer.headers().get(RETRY_AFTER);
    let seconds: Option<u64> = header.and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 10))
}
