//! The goals: ratios of one run, each with the bound that was set before anything was measured.
//!
//! A ratio is taken round by round, both sides from the same round, and judged by its median. What
//! this bench cannot measure is listed all the same, with the reason.
use serde::Serialize;

use crate::case::USUAL;
use crate::report::{Line, Results};
use crate::spread::Spread;
use crate::yardstick::append::RECORD_BYTES;

/// More errors than this share of the operations, and a figure says nothing.
const ERRORS_MAX: f64 = 0.001;
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
    /// Bytes that the disk wrote per operation ÷ three records.
    Written(&'static str),
    FailoverSeconds,
    FailoverRatio,
    StartEmptyMs,
    IdleMb,
    /// Not by this bench, and why.
    Not(&'static str),
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
    pub(crate) goal: String,
    pub(crate) verdict: Verdict,
}

/// Judges all goals.
pub(crate) fn judge(results: &Results) -> Vec<Judged> {
    let goals = goals();
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
                let pairs = top.into_iter().zip(bottom);
                Ok(pairs.map(|(top, bottom)| top / bottom).collect())
            }
            Self::Written(case) => {
                let line = line(results, case, USUAL)?;
                let three = (3 * RECORD_BYTES) as f64;
                let written = line
                    .samples
                    .iter()
                    .map(|sample| sample.written_bytes / three);
                let written = written.collect();
                if results.settings.seconds < WRITTEN_SECONDS_MIN {
                    let why = "SECONDS is under 600: flush and compaction are not all in it";
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
            Self::Not(why) => Err(((*why).to_owned(), Vec::new())),
        }
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
        let why = if name.starts_with("etcd") && !results.settings.has_etcd {
            "etcd is not installed".to_owned()
        } else {
            format!("{name} at {connections} connections was not asked for")
        };
        (why, Vec::new())
    })?;
    let sum = |of: fn(&crate::sample::Sample) -> u64| line.samples.iter().map(of).sum::<u64>();
    let errors = sum(|sample| sample.figures.error_count());
    let done = sum(|sample| sample.figures.done);
    if done == 0 || errors as f64 > ERRORS_MAX * done as f64 {
        let why = format!("{name}: {errors} errors beside {done} operations");
        return Err((why, Vec::new()));
    }
    Ok(line)
}

const NO_MARIADB: &str = "MariaDB and Redis are no part of this bench yet";

const fn rate(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::PerSecond)
}

const fn rate_at(name: &'static str, connections: usize) -> Side {
    Side::Case(name, connections, Figure::PerSecond)
}

const fn p99(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::P99)
}

const fn cpu(name: &'static str) -> Side {
    Side::Case(name, USUAL, Figure::ServerCpu)
}

fn goal(number: &'static str, what: &'static str, bound: Bound, measure: Measure) -> Goal {
    Goal {
        number,
        what,
        measure,
        bound,
    }
}

fn goals() -> Vec<Goal> {
    let mut goals = write_goals();
    goals.extend(read_goals());
    goals.extend(scaling_goals());
    goals.extend(life_goals());
    goals
}

fn write_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{Not, Ratio, Written};
    vec![
        goal(
            "1",
            "like/s ÷ etcd put/s",
            AtLeast(2.5),
            Ratio(rate("like"), rate("etcd-put")),
        ),
        goal(
            "2",
            "like/s ÷ etcd transaction of the same work",
            AtLeast(4.5),
            Ratio(rate("like"), rate("etcd-like")),
        ),
        goal(
            "3a",
            "like/s ÷ MariaDB, 5 trips, one node",
            AtLeast(3.6),
            Not(NO_MARIADB),
        ),
        goal(
            "3b",
            "like/s ÷ MariaDB procedure, one node",
            AtLeast(1.75),
            Not(NO_MARIADB),
        ),
        goal(
            "3c",
            "like/s ÷ hiqlite durable insert",
            AtLeast(7.0),
            Not("hiqlite is no part of this bench"),
        ),
        goal(
            "4a",
            "like/s ÷ bare replicated HTTP put, 64",
            AtLeast(0.45),
            Ratio(rate("like"), rate("append")),
        ),
        goal(
            "4b",
            "like/s ÷ bare replicated HTTP put, 256",
            AtLeast(0.4),
            Ratio(rate_at("like", 256), rate_at("append", 256)),
        ),
        goal(
            "5",
            "server CPU per like ÷ per axum hello",
            AtMost(9.0),
            Ratio(cpu("like"), cpu("axum-hello")),
        ),
        goal(
            "6",
            "likes of one hot video ÷ likes spread",
            AtLeast(0.95),
            Ratio(rate("like-hot"), rate("like")),
        ),
        goal(
            "7",
            "like p50, one client ÷ one synced append",
            AtMost(2.5),
            Ratio(Side::Case("like", 1, Figure::P50), Side::Sync),
        ),
        goal(
            "15",
            "bytes written per like ÷ 3 records of 200 B",
            AtMost(3.5),
            Written("like"),
        ),
    ]
}

fn read_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{Not, Ratio};
    vec![
        goal(
            "8",
            "read where the client stays ÷ axum hello",
            AtLeast(0.75),
            Ratio(rate("read"), rate("axum-hello")),
        ),
        goal(
            "9",
            "linearizable read/s ÷ etcd's",
            AtLeast(3.0),
            Ratio(rate("read-linearizable"), rate("etcd-get")),
        ),
        goal(
            "10",
            "local read/s ÷ etcd serializable get/s",
            AtLeast(4.0),
            Ratio(rate("read-local"), rate("etcd-get-local")),
        ),
        goal(
            "11a",
            "feed with viewer ÷ axum serialising the page",
            AtLeast(0.9),
            Ratio(rate("feed-viewer"), rate("axum-page")),
        ),
        goal(
            "11b",
            "feed with viewer ÷ MariaDB",
            AtLeast(4.5),
            Not(NO_MARIADB),
        ),
        goal(
            "11c",
            "feed with viewer ÷ Redis-cached",
            AtLeast(2.3),
            Not(NO_MARIADB),
        ),
        goal(
            "12",
            "feed anonymous ÷ axum serialising the page",
            AtLeast(1.5),
            Ratio(rate("feed"), rate("axum-page")),
        ),
        goal(
            "13a",
            "read p99 at half its maximum ÷ axum at that rate",
            AtMost(1.2),
            Ratio(p99("read-open"), p99("hello-open")),
        ),
        goal(
            "13b",
            "read p99 with likes at half maximum ÷ without",
            AtMost(1.5),
            Ratio(p99("read+like"), p99("read-open")),
        ),
        goal(
            "14",
            "read p99 with logins at half capacity ÷ without",
            AtMost(1.3),
            Ratio(p99("read+login"), p99("read-open")),
        ),
    ]
}

fn scaling_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::Not;
    const CGROUP: &str = "needs a cpu cgroup of each node: run by hand, see DESIGN.md";
    const SIZES: &str = "needs two runs, SCALE=1 and SCALE=160, and their CPU per operation";
    vec![
        goal(
            "16",
            "reads, 3 nodes ÷ 3 × one, 0.4 core each",
            AtLeast(0.9),
            Not(CGROUP),
        ),
        goal(
            "17a",
            "like cost, 5 nodes ÷ 3",
            AtMost(1.5),
            Not("needs two runs, NODES=3 and NODES=5, and their CPU per like"),
        ),
        goal(
            "17b",
            "like rate per added learner",
            AtMost(1.05),
            Not("needs NODES=4 and up"),
        ),
        goal(
            "19a",
            "like CPU, 10 M ÷ 10 k objects",
            AtMost(1.3),
            Not(SIZES),
        ),
        goal(
            "19b",
            "point read CPU, 10 M ÷ 10 k objects",
            AtMost(1.4),
            Not(SIZES),
        ),
        goal(
            "19c",
            "feed CPU, 10 M ÷ 10 k objects",
            AtMost(1.2),
            Not(SIZES),
        ),
        goal(
            "20",
            "likes/s over QUIC ÷ over TCP",
            AtLeast(0.95),
            Not("the product speaks QUIC only"),
        ),
        goal(
            "21a",
            "snapshot install ÷ quinn bulk stream",
            AtLeast(0.6),
            Not("not seen from outside"),
        ),
        goal(
            "21b",
            "p99 during it ÷ before",
            AtMost(1.5),
            Not("not seen from outside"),
        ),
    ]
}

fn life_goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Measure::{FailoverRatio, FailoverSeconds, IdleMb, Not, Ratio, StartEmptyMs};
    vec![
        goal(
            "18a",
            "leader killed to first write elsewhere, s",
            AtMost(1.5),
            FailoverSeconds,
        ),
        goal(
            "18b",
            "the same ÷ (election max + mean)",
            AtMost(1.15),
            FailoverRatio,
        ),
        goal(
            "22a",
            "chat send + poll round trips/s ÷ likes/s",
            AtLeast(0.7),
            Ratio(rate("chat"), rate("like")),
        ),
        goal(
            "22b",
            "delivery to a waiting stream p99, ms",
            AtMost(20.0),
            Not("the API has no waiting stream"),
        ),
        goal(
            "23a",
            "restart with 10 M objects, s",
            AtMost(5.0),
            Not("needs SCALE=160; see the restart above the table"),
        ),
        goal("23b", "idle memory of a node, MB", AtMost(300.0), IdleMb),
        goal(
            "23c",
            "growth for a 2 GB upload, MB",
            AtMost(64.0),
            Not("measured by tests/tests/blackbox/publish.rs (YIN_LONG=1)"),
        ),
        goal(
            "23d",
            "start on an empty directory, ms",
            AtMost(300.0),
            StartEmptyMs,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_results;

    fn found<'a>(judged: &'a [Judged], number: &str) -> &'a Judged {
        judged
            .iter()
            .find(|judged| judged.number == number)
            .unwrap()
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_judged_by_their_median() {
        let results = sample_results(&[
            ("like", 64, [100.0, 900.0, 300.0]),
            ("etcd-put", 64, [10.0, 300.0, 100.0]),
            ("append", 64, [1_000.0, 9_000.0, 3_000.0]),
        ]);
        let judged = judge(&results);
        let first = found(&judged, "1");
        let spread = first.measured.unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 3.0, 10.0));
        assert_eq!(
            (first.verdict.clone(), first.goal.as_str()),
            (Verdict::Met, "≥ 2.5")
        );
        assert_eq!(found(&judged, "4a").verdict, Verdict::NotMet);
    }

    #[test]
    fn what_is_not_measured_says_why() {
        let results = sample_results(&[("like", 64, [1.0, 1.0, 1.0])]);
        let judged = judge(&results);
        let why = |number: &str| match &found(&judged, number).verdict {
            Verdict::NotMeasured(why) => why.clone(),
            Verdict::Met | Verdict::NotMet => panic!("{number} is measured"),
        };
        assert_eq!(why("6"), "like-hot at 64 connections was not asked for");
        assert_eq!(why("1"), "etcd is not installed");
        assert!(why("15").contains("SECONDS"));
        assert!(found(&judged, "15").measured.is_some());
        assert_eq!(why("18a"), "nothing was measured");
    }

    #[test]
    fn a_case_that_mostly_failed_is_no_figure() {
        let mut results = sample_results(&[
            ("like", 64, [9.0, 9.0, 9.0]),
            ("append", 64, [1.0, 1.0, 1.0]),
        ]);
        assert_eq!(found(&judge(&results), "4a").verdict, Verdict::Met);
        let errors = &mut results.cases[0].samples[1].figures.errors;
        errors.insert("HTTP 503".to_owned(), 1);
        let judged = judge(&results);
        assert!(matches!(&found(&judged, "4a").verdict,
            Verdict::NotMeasured(why) if why.contains("1 errors beside 27")));
    }

    #[test]
    fn bounds_hold_at_their_edge() {
        assert!(Bound::AtLeast(2.5).holds(2.5) && !Bound::AtLeast(2.5).holds(2.49));
        assert!(Bound::AtMost(9.0).holds(9.0) && !Bound::AtMost(9.0).holds(9.01));
    }

    #[test]
    fn every_goal_has_a_number_of_its_own() {
        let numbers: std::collections::BTreeSet<&str> =
            goals().iter().map(|goal| goal.number).collect();
        assert_eq!(numbers.len(), goals().len());
        // 1 to 23, none left out.
        for number in 1..=23 {
            let number = number.to_string();
            let is_of = |known: &&str| known.trim_end_matches(char::is_alphabetic) == number;
            assert!(numbers.iter().any(is_of), "{number}");
        }
    }
}
