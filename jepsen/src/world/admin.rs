//! Administration of a node: its admin socket (HTTP), and the commands of its binary.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::text;

/// What we read of a node's status.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) node: u64,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) snapshot_index: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    pub(crate) is_disk_low: bool,
}

/// Asks over the admin socket in `data`.
///
/// # Errors
/// When it does not answer in time, or with an error.
pub(crate) async fn ask(data: &Path, what: &str, within: Duration) -> Result<Value> {
    let client = reqwest::Client::builder()
        .unix_socket(data.join("admin.sock"))
        .timeout(within)
        .build()
        .context("making a client of the admin socket")?;
    let answer = client.get(format!("http://admin/{what}")).send().await;
    let answer = answer.with_context(|| format!("asking for {what}"))?;
    let status = answer.status();
    let body: Value = answer.json().await.context("reading the answer")?;
    if !status.is_success() {
        bail!("{what}: {status}: {body}");
    }
    Ok(body)
}

/// Prepares a new cluster in `data` and gives its join token.
///
/// # Errors
/// When the command fails.
pub(crate) async fn init(yin: &Path, data: &Path) -> Result<String> {
    let printed = command(yin, &["init", "--data", text(data)]).await?;
    Ok(printed.trim().to_owned())
}

/// A join token for one more node.
///
/// # Errors
/// When the command fails, e.g. without a quorum.
pub(crate) async fn token(yin: &Path, data: &Path) -> Result<String> {
    let printed = command(yin, &["token", "--data", text(data), "--output", "json"]).await?;
    let shape: Value = serde_json::from_str(&printed).context("reading the token")?;
    let token = shape["token"].as_str().context("a token in the answer")?;
    Ok(token.to_owned())
}

/// Has the leader in `data` hand leadership to node `to`.
///
/// # Errors
/// When the command fails, e.g. because the target is down.
pub(crate) async fn transfer(yin: &Path, data: &Path, to: u64) -> Result<()> {
    let to = to.to_string();
    let asked = command(yin, &["transfer", "--data", text(data), "--to", &to]).await;
    asked.map(drop)
}

/// What `yin --version` prints.
///
/// # Errors
/// When it cannot be run.
pub(crate) async fn version(yin: &Path) -> Result<String> {
    Ok(command(yin, &["--version"]).await?.trim().to_owned())
}

async fn command(yin: &Path, arguments: &[&str]) -> Result<String> {
    let running = tokio::process::Command::new(yin)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(super::PATIENCE, running)
        .await
        .with_context(|| format!("yin {} takes too long", arguments[0]))?
        .with_context(|| format!("running {}", yin.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("yin {}: {}", arguments[0], errors.trim());
    }
    String::from_utf8(output.stdout).context("reading what yin printed")
}
