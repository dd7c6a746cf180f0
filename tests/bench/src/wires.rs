//! What QUIC between nodes costs: the same likes at two clusters that are up at the same time and
//! take turns, one of a `yin` whose nodes ask each other over TCP.
use std::path::Path;

use anyhow::{Context, Result, ensure};
use load::Scenario;

use crate::Run;
use crate::case::USUAL;
use crate::report::Line;
use crate::small::Small;

/// The two lines of the result.
pub(crate) const QUIC: &str = "like-quic";
pub(crate) const TCP: &str = "like-tcp";

const NODES: usize = 3;

/// Measures both in turn, in folders of `dir`.
///
/// # Errors
/// Also when there is nothing to compare with.
pub(crate) fn measure(run: &Run, dir: &Path, logs: &Path) -> Result<Vec<Line>> {
    let tcp = run.tcp.as_ref();
    let tcp = tcp.context("no yin that speaks TCP was given (--tcp)")?;
    let mut sides = [(QUIC, &run.yin, false), (TCP, tcp, true)]
        .into_iter()
        .map(|(name, yin, is_tcp)| {
            let yin = yin.canonicalize();
            let yin = yin.with_context(|| format!("looking for the yin of {name}"))?;
            let (dir, logs) = (dir.join(name), logs.join(name));
            let small = Small::start(&yin, &dir, &logs, NODES, Scenario::Like)?;
            // Twice the same wire would look like a good result.
            ensure!(
                small.cluster().takes_tcp() == is_tcp,
                "{} is not the yin of {name}",
                yin.display()
            );
            Ok((name, small, Vec::new()))
        })
        .collect::<Result<Vec<_>>>()?;
    for round in 1..=run.rounds {
        for (name, small, samples) in &mut sides {
            samples.push(small.sample(run, round, name)?);
        }
    }
    let line = |(name, _, samples): (&str, Small, _)| Line {
        name: name.to_owned(),
        is_ours: true,
        connections: USUAL,
        samples,
    };
    Ok(sides.into_iter().map(line).collect())
}
