//! The goals: ratios of one run, each with the bound that was set before anything was measured.
//!
//! A ratio is taken round by round, both sides from the same round, and judged by its median. What
//! this bench cannot measure is listed all the same, with the reason.
mod list;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::case::{HIQLITE, USUAL};
use crate::depth::Depth;
use crate::install::{Install, Tails};
use crate::report::{Line, Results};
use crate::sample::Sample;
use crate::spread::Spread;
use crate::wires;
use crate::yardstick::append::RECORD_BYTES;
use crate::yardstick::stack::PACKAGES;
use crate::yardstick::stack::client::Deed;

/// More errors than this share of the operations, and a figure says nothing.
pub(crate) const ERRORS_MAX: f64 = 0.001;
/// Flush and compaction come late.
const WRITTEN_SECONDS_MIN: f64 = 600.0;
/// Election timeout at most, and the mean of its bounds, of the LAN profile (yin.toml).
const ELECTION_S: f64 = 0.8 + 0.6;

/// What is read of a case.
#[derive(Clone, Copy)]
enum Figure {
    PerSecond,
    P50,
    P99,
    ServerCpu,
    /// Of servers and clients.
    Cpu,
}

/// One side of a ratio.
#[derive(Clone, Copy)]
enum Side {
    Case(&'static str, usize, Figure),
    /// One append of 4 KiB to a growing file, synced, in microseconds.
    Sync,
}

/// What is judged.
enum Measure {
    Ratio(Side, Side),
    /// A time of microseconds, in milliseconds.
    Ms(Side),
    /// Bytes that the disk wrote per operation ÷ three records.
    Written(&'static str),
    FailoverSeconds,
    FailoverRatio,
    StartEmptyMs,
    IdleMb,
    /// Reads with three nodes ÷ three times those with one.
    ReadsScale,
    /// CPU per like with five nodes ÷ with three.
    LikeCost,
    /// Likes/s with three nodes ÷ with four, the fourth a learner.
    LearnerCost,
    /// CPU of this case with many objects ÷ with few.
    Depth(&'static str),
    /// Of a killed node with many objects, to its first right answer.
    RestartSeconds,
    /// Snapshot bytes/s until installed ÷ those of quinn alone.
    InstallSpeed,
    /// p99 while a node joins ÷ before.
    InstallReads,
    InstallLikes,
    /// Growth of a node that takes in a video of 2 GB.
    UploadMb,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Goal {
    number: &'static str,
    what: &'static str,
    measure: Measure,
    bound: Bound,
}

/// How a goal stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Verdict {
    Met,
    NotMet,
    NotMeasured(String),
}

/// One line of the table of goals.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) number: &'static str,
    pub(crate) what: &'static str,
    pub(crate) measured: Option<Spread>,
    /// What a ratio of rates would be if processor time per operation, servers' and clients', were
    /// all that counts: others on the machine move it less.
    pub(crate) by_cpu: Option<Spread>,
    pub(crate) goal: String,
    pub(crate) verdict: Verdict,
}

/// Judges all goals.
pub(crate) fn judge(results: &Results) -> Vec<Judged> {
    let goals = list::goals();
    goals.iter().map(|goal| goal.judge(results)).collect()
}

impl Goal {
    fn judge(&self, results: &Results) -> Judged {
        let found = self.measure.values(results);
        let measured = match &found {
            Ok(values) | Err((_, values)) => Spread::of(values.iter().copied()),
        };
        let verdict = match (found, measured) {
            (Err((why, _)), _) => Verdict::NotMeasured(why),
            (Ok(_), None) => Verdict::NotMeasured("nothing was measured".to_owned()),
            (Ok(_), Some(spread)) if self.bound.holds(spread.median) => Verdict::Met,
            (Ok(_), Some(_)) => Verdict::NotMet,
        };
        Judged {
            number: self.number,
            what: self.what,
            measured,
            by_cpu: self.measure.by_cpu(results).and_then(Spread::of),
            goal: self.bound.text(),
            verdict,
        }
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// Values by round, or why there are none that count (and those that do not).
type Found = Result<Vec<f64>, (String, Vec<f64>)>;

impl Measure {
    fn values(&self, results: &Results) -> Found {
        match self {
            Self::Ratio(top, bottom) => {
                let (top, bottom) = (top.values(results)?, bottom.values(results)?);
                Ok(ratios(top, bottom).collect())
            }
            Self::Ms(side) => {
                let us = side.values(results)?;
                Ok(us.into_iter().map(|us| us / 1e3).collect())
            }
            Self::Written(case) => {
                let line = line(results, case, USUAL)?;
                let three = (3 * RECORD_BYTES) as f64;
                let written = line
                    .samples
                    .iter()
                    .map(|sample| sample.written_bytes / three);
                let written = written.collect();
                if results.settings.lasting < WRITTEN_SECONDS_MIN {
                    let why = "LASTING is under 600: flush and compaction are not all in it";
                    return Err((why.to_owned(), written));
                }
                Ok(written)
            }
            Self::FailoverSeconds => Ok(results.failovers.clone()),
            Self::FailoverRatio => {
                let seconds = results.failovers.iter();
                Ok(seconds.map(|seconds| seconds / ELECTION_S).collect())
            }
            Self::StartEmptyMs => Ok(vec![results.starts.empty_ms]),
            Self::IdleMb => Ok(vec![results.starts.idle_bytes as f64 / 1e6]),
            Self::ReadsScale => {
                let of = |nodes| scaled(results, Sizes::Reads, nodes, |one| one.figures.per_second);
                Ok(ratios(of(3)?, of(1)?).map(|ratio| ratio / 3.0).collect())
            }
            Self::LikeCost => {
                let of = |nodes| scaled(results, Sizes::Likes, nodes, |one| one.server_cpu_us);
                Ok(ratios(of(5)?, of(3)?).collect())
            }
            Self::LearnerCost => {
                let of = |nodes| scaled(results, Sizes::Likes, nodes, |one| one.figures.per_second);
                Ok(ratios(of(3)?, of(4)?).collect())
            }
            Self::Depth(case) => at_depth(results, |depth| depth.ratios(case)),
            Self::RestartSeconds => at_depth(results, Depth::restarts),
            Self::InstallSpeed => installs(results, |one| one.stream_s / one.install_s),
            Self::InstallReads => install_tails(results, |one| &one.reads),
            Self::InstallLikes => install_tails(results, |one| &one.likes),
            Self::UploadMb => {
                let grown = results.upload_bytes.ok_or_else(|| {
                    let why = "upload was not asked for, or failed";
                    (why.to_owned(), Vec::new())
                })?;
                Ok(vec![grown as f64 / 1e6])
            }
        }
    }
}

impl Measure {
    fn by_cpu(&self, results: &Results) -> Option<Vec<f64>> {
        let Self::Ratio(
            Side::Case(top, top_connections, Figure::PerSecond),
            Side::Case(bottom, bottom_connections, Figure::PerSecond),
        ) = *self
        else {
            return None;
        };
        let cpu = |name, connections| Side::Case(name, connections, Figure::Cpu).values(results);
        let (top, bottom) = (cpu(top, top_connections), cpu(bottom, bottom_connections));
        let pairs = top.ok()?.into_iter().zip(bottom.ok()?);
        Some(pairs.map(|(top, bottom)| bottom / top).collect())
    }
}

impl Side {
    fn values(self, results: &Results) -> Found {
        match self {
            Self::Sync => Ok(results.syncs.iter().map(|sync| sync.growing_us).collect()),
            Self::Case(name, connections, figure) => {
                let line = line(results, name, connections)?;
                let values = line.samples.iter().map(|sample| match figure {
                    Figure::PerSecond => sample.figures.per_second,
                    Figure::P50 => sample.figures.latency.p50_us,
                    Figure::P99 => sample.figures.latency.p99_us,
                    Figure::ServerCpu => sample.server_cpu_us,
                    Figure::Cpu => sample.server_cpu_us + sample.figures.client_cpu_us,
                });
                Ok(values.collect())
            }
        }
    }
}

/// The case, if it was measured and went well.
fn line<'a>(
    results: &'a Results,
    name: &str,
    connections: usize,
) -> Result<&'a Line, (String, Vec<f64>)> {
    let mut lines = results.cases.iter();
    let line = lines.find(|line| line.name == name && line.connections == connections);
    let line = line.ok_or_else(|| {
        let lacking = lacking(results, name);
        let not_asked = || format!("{name} at {connections} connections was not asked for");
        (lacking.unwrap_or_else(not_asked), Vec::new())
    })?;
    let sum = |of: fn(&Sample) -> u64| line.samples.iter().map(of).sum::<u64>();
    let errors = sum(|sample| sample.figures.error_count());
    let done = sum(|sample| sample.figures.done);
    if done == 0 || errors as f64 > ERRORS_MAX * done as f64 {
        let why = format!("{name}: {errors} errors beside {done} operations");
        return Err((why, Vec::new()));
    }
    Ok(line)
}

/// Why there can't be this case on this machine.
fn lacking(results: &Results, case: &str) -> Option<String> {
    let settings = &results.settings;
    if Deed::ALL.iter().any(|deed| deed.name() == case) {
        let program = settings.stack_lacks?;
        return Some(format!("{program} is not installed ({PACKAGES})"));
    }
    if [wires::QUIC, wires::TCP].contains(&case) {
        return settings.tcp_lacks.clone();
    }
    if case == HIQLITE && !settings.has_hiqlite {
        return Some("HIQLITE=1 builds and measures it".to_owned());
    }
    let needs_etcd = case.starts_with("etcd") && !settings.has_etcd;
    needs_etcd.then(|| "etcd is not installed".to_owned())
}

fn ratios(top: Vec<f64>, bottom: Vec<f64>) -> impl Iterator<Item = f64> {
    let pairs = top.into_iter().zip(bottom);
    pairs.map(|(top, bottom)| top / bottom)
}

/// Which of the clusters of several sizes.
#[derive(Clone, Copy)]
enum Sizes {
    Reads,
    Likes,
}

/// A figure of the cluster of this size, by round.
fn scaled(results: &Results, sizes: Sizes, nodes: usize, of: fn(&Sample) -> f64) -> Found {
    let no = |why: &str| (why.to_owned(), Vec::new());
    let scaling = results.scaling.as_ref();
    let scaling = scaling.ok_or_else(|| no("scaling was not asked for"))?;
    let points = match sizes {
        Sizes::Reads => &scaling.reads,
        Sizes::Likes => &scaling.likes,
    };
    let point = points.iter().find(|point| point.nodes == nodes);
    let why = scaling.missing.as_deref();
    let point = point.ok_or_else(|| no(why.unwrap_or("this size was not measured")))?;
    Ok(point.samples.iter().map(of).collect())
}

/// What is read of the nodes with few objects and many.
fn at_depth(results: &Results, of: impl FnOnce(&Depth) -> Result<Vec<f64>, String>) -> Found {
    let no = |why: String| (why, Vec::new());
    let depth = results.depth.as_ref();
    let depth = depth.ok_or_else(|| no("depth was not asked for".to_owned()))?;
    let values = of(depth).map_err(no)?;
    match depth.falls_short() {
        Some(why) => Err((why, values)),
        None => Ok(values),
    }
}

/// A figure of the nodes that joined, by round.
fn installs(results: &Results, of: impl Fn(&Install) -> f64) -> Found {
    let installs = results.installs.as_ref();
    let installs = installs.ok_or_else(|| ("install was not asked for".to_owned(), Vec::new()))?;
    let values = installs.times.iter().map(of).collect();
    match &installs.missing {
        None => Ok(values),
        Some(why) => Err((why.clone(), values)),
    }
}

fn install_tails(results: &Results, of: fn(&Install) -> &Tails) -> Found {
    let times = results.installs.iter().flat_map(|all| &all.times);
    let (done, errors) = times.map(of).fold((0, 0), |(done, errors), one| {
        (done + one.done, errors + one.errors)
    });
    if errors as f64 > ERRORS_MAX * done as f64 {
        let why = format!("{errors} errors beside {done} operations during the joins");
        return Err((why, Vec::new()));
    }
    installs(results, |one| of(one).during_us / of(one).before_us)
}
