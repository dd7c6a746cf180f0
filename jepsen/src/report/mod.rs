//! What a person looks at after a run: `report.html`, and what a program reads: `verdict.json`.
//!
//! Everything here is drawn from an [`Evidence`] alone, so that an old run can be drawn again. The
//! facts are worked out once (`view`, from `operations`, `outages`, `faults`); charts (`plot` and
//! what uses it) and tables only draw them. All text from outside goes through `text::escape`.
mod curves;
mod faults;
mod lanes;
mod offence;
mod operations;
mod outages;
mod page;
mod plot;
mod rates;
mod scale;
mod scatter;
mod store;
mod summary;
#[cfg(test)]
mod synthetic;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod view;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::evidence::Evidence;

pub(crate) use store::{load, save};
pub(crate) use verdict::overall;

/// Writes `report.html` and `verdict.json` into `dir`.
pub(crate) fn write(dir: &Path, evidence: &Evidence) -> Result<()> {
    let view = view::View::of(evidence);
    let verdict = serde_json::to_vec_pretty(&verdict::machine(&view))?;
    std::fs::write(dir.join("verdict.json"), verdict).context("writing verdict.json")?;
    std::fs::write(dir.join("report.html"), page::draw(&view)).context("writing report.html")
}

/// A few lines for the terminal: what was found, what was done, how to repeat it.
pub(crate) fn summary(evidence: &Evidence) -> String {
    summary::draw(&view::View::of(evidence))
}
