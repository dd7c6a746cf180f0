//! The cluster under test, through its public API.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A node that is not there must not hold a client up.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const WRITE_MAX: Duration = Duration::from_secs(5);
/// A read may be given up earlier: it changed nothing.
const READ_MAX: Duration = Duration::from_secs(3);
const UPLOAD_MAX: Duration = Duration::from_secs(10);

/// A request that takes longer counts as stuck.
const STUCK_AFTER: Duration = Duration::from_millis(500);

/// So many stuck requests at one node, and further clients rather go elsewhere.
const STUCK_MAX: usize = 6;

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done.
    Done(Body),
    /// The node answered and said no: `status_code` and why.
    Refused(i64, String),
    /// It was certainly not done.
    NotDone(String),
    /// It may have been done, or may still be.
    Unknown(String),
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) json: Value,
    /// The position it gave the client (`X-Yin-Session`).
    pub(crate) position: Option<String>,
}

/// One request, but for the node that gets it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: &'static str,
    pub(crate) query: Vec<(&'static str, String)>,
    /// Extra headers, as positions and levels.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Request {
    pub(crate) fn new(path: &'static str) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A node under test.
#[derive(Debug)]
struct Node {
    /// As events name it.
    name: String,
    url: String,
    /// Requests under way that take long.
    stuck: AtomicUsize,
}

/// Clients' view of a cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Target {
    http: reqwest::Client,
    nodes: Arc<Vec<Node>>,
}

impl Target {
    /// Nodes by name (`n1`) and base URL.
    pub(crate) fn new(nodes: Vec<(String, String)>) -> Result<Self> {
        if nodes.is_empty() {
            bail!("need at least one node");
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .build()
            .context("making the HTTP client")?;
        let nodes = nodes.into_iter().map(|(name, url)| Node {
            name,
            url: url.trim_end_matches('/').to_owned(),
            stuck: AtomicUsize::new(0),
        });
        Ok(Self {
            http,
            nodes: Arc::new(nodes.collect()),
        })
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        &self.nodes[node].name
    }

    pub(crate) fn url(&self, node: usize) -> &str {
        &self.nodes[node].url
    }

    /// Many requests wait at this node: a client that has the choice should try another.
    pub(crate) fn is_stuck(&self, node: usize) -> bool {
        self.nodes[node].stuck.load(Ordering::Relaxed) >= STUCK_MAX
    }

    pub(crate) async fn get(&self, node: usize, request: &Request) -> Answer {
        let url = format!("{}{}", self.url(node), request.path);
        let sent = with_headers(self.http.get(url).query(&request.query), request);
        self.watched(node, answer(sent.timeout(READ_MAX))).await
    }

    pub(crate) async fn post(&self, node: usize, request: &Request) -> Answer {
        let url = format!("{}{}", self.url(node), request.path);
        let sent = with_headers(self.http.post(url).query(&request.query), request);
        self.watched(node, answer(sent.timeout(WRITE_MAX))).await
    }

    /// Publishes a clip; `torn_at`: the connection breaks off after so many of its bytes.
    pub(crate) async fn publish(
        &self,
        node: usize,
        token: &str,
        title: &str,
        clip: Vec<u8>,
        torn_at: Option<usize>,
    ) -> Answer {
        let part = match torn_at {
            None => reqwest::multipart::Part::bytes(clip),
            Some(until) => torn(&clip, until),
        };
        let form = reqwest::multipart::Form::new()
            .text("token", token.to_owned())
            .text("title", title.to_owned())
            .part("data", part.file_name("clip.mp4"));
        let url = format!("{}/douyin/publish/action/", self.url(node));
        let sent = self.http.post(url).multipart(form).timeout(UPLOAD_MAX);
        self.watched(node, answer(sent)).await
    }

    /// The bytes behind an absolute URL; `None`: they are certainly not there.
    pub(crate) async fn fetch(&self, node: usize, url: &str) -> Result<Option<Vec<u8>>> {
        self.watched(node, async {
            let sent = self.http.get(url).timeout(UPLOAD_MAX).send().await;
            let answer = sent.context("asking for the bytes")?;
            let status = answer.status();
            if matches!(status.as_u16(), 404 | 410) {
                return Ok(None);
            }
            if !status.is_success() {
                bail!("{url}: {status}");
            }
            let bytes = answer.bytes().await.context("reading the bytes")?;
            Ok(Some(bytes.to_vec()))
        })
        .await
    }

    /// Counts a request as stuck from the moment that it takes long.
    async fn watched<T>(&self, node: usize, request: impl Future<Output = T>) -> T {
        tokio::pin!(request);
        if let Ok(answer) = tokio::time::timeout(STUCK_AFTER, &mut request).await {
            return answer;
        }
        let _stuck = Stuck::new(&self.nodes[node].stuck);
        request.await
    }
}

/// Counts while it lives.
struct Stuck<'a>(&'a AtomicUsize);

impl<'a> Stuck<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part that promises the whole clip and ends in an error before that.
fn torn(clip: &[u8], until: usize) -> reqwest::multipart::Part {
    let until = until.min(clip.len().saturating_sub(1));
    let chunks: Vec<std::io::Result<Vec<u8>>> = vec![
        Ok(clip[..until].to_vec()),
        Err(std::io::Error::other("torn off on purpose")),
    ];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    reqwest::multipart::Part::stream_with_length(body, clip.len() as u64)
}

fn with_headers(mut sent: reqwest::RequestBuilder, request: &Request) -> reqwest::RequestBuilder {
    for (name, value) in &request.headers {
        sent = sent.header(*name, value);
    }
    sent
}

/// Sorts what came of it by what it says of the deed.
async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Answer::NotDone(format!("{error:?}")),
        Err(error) => return Answer::Unknown(format!("{error:?}")),
    };
    let status = answer.status();
    let header = |name| {
        let value: Option<&reqwest::header::HeaderValue> = answer.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let is_refused =
        status.as_u16() == 429 || header("x-yin-outcome").is_some_and(|told| told == "not_applied");
    let position = header("x-yin-session");
    match answer.json::<Value>().await {
        Ok(json) if status.is_success() && json["status_code"] == 0 => {
            Answer::Done(Body { json, position })
        }
        Ok(json) if status.is_success() && json["status_code"].is_i64() => {
            let code = json["status_code"].as_i64().unwrap_or_default();
            Answer::Refused(code, json["status_msg"].to_string())
        }
        Ok(json) if is_refused => Answer::NotDone(format!("{status}: {json}")),
        Err(error) if is_refused => Answer::NotDone(format!("{status}: {error}")),
        Ok(json) => Answer::Unknown(format!("{status}: {json}")),
        Err(error) => Answer::Unknown(format!("{status}: {error}")),
    }
}
