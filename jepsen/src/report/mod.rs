//! What a person looks at after a run: `report.html`, and what a program reads: `verdict.json`.
//!
//! Everything here is drawn from an [`Evidence`] alone, so that an old run can be drawn again.
mod store;
mod verdict;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::evidence::Evidence;

pub(crate) use store::{load, save};
pub(crate) use verdict::overall;

/// Writes `report.html` and `verdict.json` into `dir`.
pub(crate) fn write(dir: &Path, evidence: &Evidence) -> Result<()> {
    let verdict = serde_json::to_vec_pretty(&verdict::machine(evidence))?;
    std::fs::write(dir.join("verdict.json"), verdict).context("writing verdict.json")?;
    let page = format!("<!doctype html><title>{}</title>", verdict::word(evidence));
    std::fs::write(dir.join("report.html"), page).context("writing report.html")
}

/// A few lines for the terminal: what was found, and how to look closer.
pub(crate) fn summary(evidence: &Evidence) -> String {
    format!(
        "{}\nrepeat: {}\n",
        verdict::word(evidence),
        evidence.run.command
    )
}
