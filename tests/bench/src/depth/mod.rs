//! Much data: what does a request cost when ten million objects are stored, and how long does a
//! restart take?
//!
//! Two nodes of the built binary, each alone in its cluster, one with few objects and one with many.
//! Both are up at once and asked in turn, so that a ratio is one of neighbours in time.
mod side;

use std::path::Path;

use anyhow::{Result, bail};
use load::Scenario;
use serde::Serialize;

use crate::Run;
use crate::depth::side::Side;
use crate::goals::ERRORS_MAX;
use crate::sample::Sample;

/// What the goals are about.
const GOAL: [usize; 2] = [10_000, 10_000_000];
/// Fewer users run out of new likes, and fewer videos are no page of the feed.
const OBJECTS_MIN: usize = 10_000;
/// A point read, a page, a write. The write comes last: what it leaves to flush and compact is waited
/// for, and is through when the next round begins.
const CASES: [Scenario; 3] = [Scenario::Read, Scenario::FeedViewer, Scenario::Like];

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Depth {
    /// Stored in the one and in the other.
    pub(crate) objects: [usize; 2],
    pub(crate) points: Vec<Point>,
    /// With the more objects: seconds from the start of a process to its first right answer, after
    /// the one before was killed.
    pub(crate) restarts: Vec<f64>,
    /// Why something is missing.
    pub(crate) missing: Option<String>,
}

/// One case at one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) case: &'static str,
    pub(crate) objects: usize,
    pub(crate) rounds: Vec<Round>,
}

/// One measurement, which may have come in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) done: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    /// Processor time of the node per operation.
    pub(crate) server_cpu_us: f64,
}

/// Reads the two sizes that were asked for.
///
/// # Errors
/// When they are not two, the smaller one first.
pub(crate) fn sizes(asked: &[usize]) -> Result<[usize; 2]> {
    match *asked {
        [few, many] if OBJECTS_MIN <= few && few < many => Ok([few, many]),
        _ => bail!("depth takes two sizes, of at least {OBJECTS_MIN} objects, the smaller first"),
    }
}

impl Depth {
    /// Starts and fills both nodes in `dir`, and asks them. What goes wrong is told and noted: the
    /// rest of the run is worth keeping.
    pub(crate) fn measure(run: &Run, yin: &Path, dir: &Path, logs: &Path) -> Self {
        let mut depth = Self::default();
        let measured = sizes(&run.depth).and_then(|objects| {
            depth.objects = objects;
            depth.take(run, yin, dir, logs)
        });
        if let Err(error) = measured {
            eprintln!("depth: {error:#}");
            let why = format!("{error:#}");
            depth.missing = Some(why.lines().take(1).collect());
        }
        depth
    }

    fn take(&mut self, run: &Run, yin: &Path, dir: &Path, logs: &Path) -> Result<()> {
        let [few, many] = self.objects;
        let few = Side::set(run, few, yin, dir, logs)?;
        // Both are filled alike, and with many objects it takes minutes.
        few.verify()?;
        let mut many = Side::set(run, many, yin, dir, logs)?;
        // The first time is not counted: everything is where it is when it has been asked for long.
        for round in 0..=run.rounds {
            for case in CASES {
                for side in [&few, &many] {
                    let samples = side.ask(case, run.seconds, round as u64)?;
                    let measured = Round::of(&samples);
                    say(run, round, case, side.objects, measured);
                    if round > 0 {
                        self.add(case, side.objects, measured);
                    }
                }
            }
        }
        drop(few);
        for round in 0..run.rounds {
            let seconds = many.restart(round)?;
            eprintln!(
                "restart {} of {} with {} objects: {seconds:.2} s to the first right answer",
                round + 1,
                run.rounds,
                many.objects
            );
            self.restarts.push(seconds);
        }
        Ok(())
    }

    fn add(&mut self, case: Scenario, objects: usize, round: Round) {
        let case = case.name();
        let mut points = self.points.iter_mut();
        let known = points.find(|point| point.case == case && point.objects == objects);
        match known {
            Some(point) => point.rounds.push(round),
            None => self.points.push(Point {
                case,
                objects,
                rounds: vec![round],
            }),
        }
    }

    /// Processor time with many objects ÷ with few, by round.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn ratios(&self, case: &str) -> Result<Vec<f64>, String> {
        let [few, many] = self.objects;
        let (few, many) = (self.costs(case, few)?, self.costs(case, many)?);
        Ok(many.zip(few).map(|(many, few)| many / few).collect())
    }

    fn costs(&self, case: &str, objects: usize) -> Result<impl Iterator<Item = f64>, String> {
        let mut points = self.points.iter();
        let point = points
            .find(|point| point.case == case && point.objects == objects)
            .ok_or_else(|| self.why())?;
        let sum = |of: fn(&Round) -> u64| point.rounds.iter().map(of).sum::<u64>();
        let (done, errors) = (sum(|round| round.done), sum(|round| round.errors));
        if done == 0 || errors as f64 > ERRORS_MAX * done as f64 {
            return Err(format!("{case}: {errors} errors beside {done} operations"));
        }
        Ok(point.rounds.iter().map(|round| round.server_cpu_us))
    }

    /// Seconds of each restart.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn restarts(&self) -> Result<Vec<f64>, String> {
        if self.restarts.is_empty() {
            return Err(self.why());
        }
        Ok(self.restarts.clone())
    }

    /// What keeps these sizes from telling whether a goal is met.
    pub(crate) fn falls_short(&self) -> Option<String> {
        let [few, many] = self.objects;
        let is_goal = self.objects == GOAL;
        (!is_goal).then(|| format!("DEPTH is {few},{many}: the goal names 10000,10000000"))
    }

    fn why(&self) -> String {
        let missing = self.missing.clone();
        missing.unwrap_or_else(|| "this was not measured".to_owned())
    }
}

impl Default for Depth {
    fn default() -> Self {
        Self {
            objects: GOAL,
            points: Vec::new(),
            restarts: Vec::new(),
            missing: None,
        }
    }
}

impl Round {
    /// All pieces together.
    fn of(samples: &[Sample]) -> Self {
        let figures = || samples.iter().map(|sample| &sample.figures);
        let done: u64 = figures().map(|figures| figures.done).sum();
        let seconds: f64 = figures().map(|figures| figures.seconds).sum();
        let used_us = samples
            .iter()
            .map(|sample| sample.server_cpu_us * sample.figures.done as f64);
        Self {
            done,
            errors: figures().map(load::Figures::error_count).sum(),
            per_second: done as f64 / seconds.max(1e-9),
            server_cpu_us: used_us.sum::<f64>() / done.max(1) as f64,
        }
    }
}

fn say(run: &Run, round: usize, case: Scenario, objects: usize, measured: Round) {
    eprintln!(
        "{} with {objects} objects, round {round} of {}: {:.0}/s, {:.1} µs of the server, {} errors",
        case.name(),
        run.rounds,
        measured.per_second,
        measured.server_cpu_us,
        measured.errors
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_results;

    #[test]
    fn two_sizes_are_taken_the_smaller_first() {
        assert_eq!(sizes(&GOAL).unwrap(), GOAL);
        for bad in [&[10_000][..], &[10_000, 10_000], &[9_999, 20_000], &[]] {
            assert!(sizes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pieces_are_weighed_by_what_was_done() {
        let mut samples = sample_results(&[("like", 64, [1.0; 3])]).cases.remove(0);
        samples.samples[0].server_cpu_us = 40.0;
        samples.samples[0].figures.done = 27;
        samples.samples[0].figures.seconds = 2.0;
        let round = Round::of(&samples.samples[..2]);
        // 27 at 40 µs in 2 s, 9 at 100 µs in 1 s.
        assert_eq!((round.done, round.errors), (36, 0));
        assert!((round.per_second - 12.0).abs() < 1e-9);
        assert!((round.server_cpu_us - 55.0).abs() < 1e-9);
    }
}
