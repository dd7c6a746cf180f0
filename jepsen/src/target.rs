//! The cluster under test, through its public API.
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done; this is the body.
    Done(Value),
    /// It was certainly not done.
    NotDone(String),
    /// It may have been done, or may still be.
    Unknown(String),
}

/// Clients' view of a cluster.
#[derive(Clone)]
pub(crate) struct Target {
    http: reqwest::Client,
    pub(crate) nodes: Vec<String>,
}

impl Target {
    pub(crate) fn new(nodes: Vec<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(10))
            .build()
            .context("making the HTTP client")?;
        Ok(Self { http, nodes })
    }

    pub(crate) fn node(&self, n: usize) -> &str {
        &self.nodes[n % self.nodes.len()]
    }

    pub(crate) async fn get(&self, node: &str, path: &str, query: &[(&str, &str)]) -> Answer {
        answer(self.http.get(format!("{node}{path}")).query(query)).await
    }

    pub(crate) async fn post(&self, node: &str, path: &str, query: &[(&str, &str)]) -> Answer {
        answer(self.http.post(format!("{node}{path}")).query(query)).await
    }

    pub(crate) async fn publish(&self, token: &str, title: &str, clip: Vec<u8>) -> Result<()> {
        let part = reqwest::multipart::Part::bytes(clip).file_name("clip.mp4");
        let form = reqwest::multipart::Form::new()
            .text("token", token.to_owned())
            .text("title", title.to_owned())
            .part("data", part);
        let url = format!("{}/douyin/publish/action/", self.node(0));
        match answer(self.http.post(url).multipart(form)).await {
            Answer::Done(_) => Ok(()),
            Answer::NotDone(why) | Answer::Unknown(why) => bail!("publishing: {why}"),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Answer::NotDone(error.to_string()),
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    let status = answer.status();
    let is_refused = status.as_u16() == 429
        || answer
            .headers()
            .get("x-yin-outcome")
            .is_some_and(|outcome| outcome == "not_applied");
    match answer.json::<Value>().await {
        Ok(body) if status.is_success() && body["status_code"] == 0 => Answer::Done(body),
        Ok(body) if status.is_success() || is_refused => Answer::NotDone(body.to_string()),
        Ok(body) => Answer::Unknown(format!("{status}: {body}")),
        Err(error) => Answer::Unknown(format!("{status}: {error}")),
    }
}
