//! A node joins the filled cluster on an empty directory: how fast does it take in the snapshot,
//! and what do the clients of the others notice?
//!
//! Reads and likes arrive all the while at a fixed rate that leaves room, also while quinn alone
//! moves as many bytes as the snapshot had: both sides of the ratio share the processors with the
//! same load.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use load::{Api, Figures, Pace, Plan, Scenario, Trouble, Until, Work, drive};
use serde::Serialize;
use serde_json::Value;

use crate::Run;
use crate::case::{Case, Target, USUAL};
use crate::cluster::Guest;
use crate::sample::{self, Rates};
use crate::stage::Stage;
use crate::yardstick::stream;

/// Of what a closed loop reached: reads and likes together leave most of two processors free.
pub(crate) const SHARE: f64 = 0.1;
/// Before anything is looked at.
const WARM_UP: Duration = Duration::from_secs(2);
/// Longer than a join may take; the load ends with it.
const LOAD_MAX: Duration = Duration::from_secs(240);
/// Likes fill the log faster than this, unless the machine is a very slow one.
const FILL_MAX: Duration = Duration::from_secs(300);
/// The log is purged by its entries, and many connections would share each of them.
const FILL_CONNECTIONS: usize = 4;
/// Fewer operations have no 99th percentile.
const COUNT_MIN: usize = 100;

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Installs {
    pub(crate) times: Vec<Install>,
    /// Why something is missing.
    pub(crate) missing: Option<String>,
}

/// One node that joined.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Install {
    /// Of the snapshot, as its sender announced it.
    pub(crate) bytes: u64,
    /// From when it began to come in until it was installed.
    pub(crate) install_s: f64,
    /// From the start of the process until the node was ready: the log after the snapshot is in it.
    pub(crate) ready_s: f64,
    /// As many bytes over quinn alone.
    pub(crate) stream_s: f64,
    pub(crate) reads: Tails,
    pub(crate) likes: Tails,
}

/// 99th percentiles of one kind of operation at the nodes that were there before, in microseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tails {
    /// Arrivals a second.
    pub(crate) rate: f64,
    pub(crate) before_us: f64,
    /// From the start of the new node until it was ready.
    pub(crate) during_us: f64,
    /// While quinn alone moved the bytes; `None` when that was too short.
    pub(crate) stream_us: Option<f64>,
    pub(crate) done: u64,
    pub(crate) errors: u64,
}

/// The moments that part the phases.
struct Marks {
    before: Instant,
    start: Instant,
    ready: Instant,
    end: Instant,
}

impl Installs {
    /// Lets a node join once each round and ends it again. What goes wrong is told and noted: the
    /// rest of the run is worth keeping.
    pub(crate) fn measure(
        run: &Run,
        stage: &mut Stage,
        rates: &mut Rates,
        dir: &Path,
        logs: &Path,
    ) -> Self {
        let mut installs = Self::default();
        for round in 1..=run.rounds {
            match once(run, stage, rates, round, dir, logs) {
                Ok(install) => {
                    say(run, round, &install);
                    installs.times.push(install);
                }
                Err(error) => {
                    eprintln!("install {round} of {}: {error:#}", run.rounds);
                    let why = format!("{error:#}");
                    installs.missing = Some(why.lines().take(1).collect());
                    break;
                }
            }
        }
        installs
    }
}

fn say(run: &Run, round: usize, install: &Install) {
    let Install { reads, likes, .. } = install;
    eprintln!(
        "install {round} of {}: {:.1} MB in {:.2} s, quinn alone {:.2} s, ready after {:.2} s; p99 \
         before and during: reads {:.0} and {:.0} µs, likes {:.0} and {:.0} µs",
        run.rounds,
        install.bytes as f64 / 1e6,
        install.install_s,
        install.stream_s,
        install.ready_s,
        reads.before_us,
        reads.during_us,
        likes.before_us,
        likes.during_us,
    );
}

fn once(
    run: &Run,
    stage: &mut Stage,
    rates: &mut Rates,
    round: usize,
    dir: &Path,
    logs: &Path,
) -> Result<Install> {
    fill_log(run, stage, rates)?;
    let rate = |scenario, rates: &mut Rates| share(run, stage, scenario, rates);
    let (reads, likes) = (rate(Scenario::Read, rates)?, rate(Scenario::Like, rates)?);
    let seed = round as u64;
    let reads = Watch::start(stage, Scenario::Read, reads, seed)?;
    let likes = Watch::start(stage, Scenario::Like, likes, seed + 1_000)?;
    let joined = join(run, stage, round, dir, logs);
    let (reads, likes) = (reads.end(), likes.end());
    let (mut install, marks) = joined?;
    install.reads = reads.context("reading beside it")?.tails(&marks)?;
    install.likes = likes.context("liking beside it")?.tails(&marks)?;
    stage.cluster.forget_logs()?;
    Ok(install)
}

/// Likes until the log has been purged: before that a new node gets the log and no snapshot. A run
/// of all cases has written enough.
fn fill_log(run: &Run, stage: &mut Stage, rates: &Rates) -> Result<()> {
    let deadline = Instant::now() + FILL_MAX;
    if stage.cluster.purged_index()? == 0 {
        eprintln!("liking until the log is purged, so that a new node needs a snapshot");
    }
    while stage.cluster.purged_index()? == 0 {
        ensure!(
            Instant::now() < deadline,
            "after {} s of likes the log was still not purged",
            FILL_MAX.as_secs()
        );
        let case = Case {
            connections: FILL_CONNECTIONS,
            ..Case::closed(Scenario::Like)
        };
        sample::take(stage, &case, run.seconds, 2, rates)?;
        stage.cluster.forget_logs()?;
    }
    Ok(())
}

/// So many arrivals a second.
fn share(run: &Run, stage: &Stage, scenario: Scenario, rates: &mut Rates) -> Result<f64> {
    let name = scenario.name();
    if rates.of(name).is_none() {
        let case = Case::closed(scenario);
        let sample = sample::take(stage, &case, run.seconds, 1, rates)?;
        rates.learn(&case, &sample);
    }
    let reached = rates.of(name).context("it was measured just now")?;
    Ok((reached * SHARE).max(1.0))
}

/// What happens while the load goes on.
fn join(
    run: &Run,
    stage: &Stage,
    round: usize,
    dir: &Path,
    logs: &Path,
) -> Result<(Install, Marks)> {
    std::thread::sleep(WARM_UP);
    let before = Instant::now();
    std::thread::sleep(Duration::from_secs_f64(run.seconds));
    let start = Instant::now();
    let mut guest = stage.cluster.invite(round)?;
    guest.await_ready()?;
    let ready = Instant::now();
    let (bytes, install_s) = arrival(&guest)?;
    let stream = stream::measure(bytes, stage.cluster.threads(), dir, logs)?;
    let end = Instant::now();
    guest.leave()?;
    let install = Install {
        bytes,
        install_s,
        ready_s: ready.duration_since(start).as_secs_f64(),
        stream_s: stream.as_secs_f64(),
        ..Install::default()
    };
    let marks = Marks {
        before,
        start,
        ready,
        end,
    };
    Ok((install, marks))
}

/// Bytes of the snapshot that came in, and seconds until it was installed.
fn arrival(guest: &Guest) -> Result<(u64, f64)> {
    read_arrival(&guest.log()?).context("the new node got no snapshot")
}

/// From the first attempt on, should there be more than one.
fn read_arrival(log: &str) -> Result<(u64, f64)> {
    let line = |message: &str| {
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| line["message"] == message);
        line.with_context(|| format!("its log does not say \"{message}\""))
    };
    let at = |line: &Value| -> Result<Timestamp> {
        let at = line["timestamp"].as_str();
        Ok(at.context("a line without its time")?.parse()?)
    };
    let (came, installed) = (line("a snapshot comes in")?, line("snapshot installed")?);
    let took = at(&installed)?.duration_since(at(&came)?);
    let bytes = came["bytes"].as_u64();
    let bytes = bytes.context("a snapshot without its bytes")?;
    ensure!(
        bytes > 0 && took.is_positive(),
        "{bytes} bytes in {took:?} are no snapshot"
    );
    Ok((bytes, took.as_secs_f64()))
}

/// An operation that ended: when it was to begin, how long it took, whether it went well.
#[derive(Clone, Copy)]
struct Seen {
    due: Instant,
    latency: Duration,
    is_success: bool,
}

/// The API, and what was seen of it.
#[derive(Clone)]
struct Watched {
    api: Api,
    seen: Arc<Mutex<Vec<Seen>>>,
    is_enough: Arc<AtomicBool>,
}

impl Work for Watched {
    type Client = <Api as Work>::Client;

    fn name(&self) -> &str {
        self.api.name()
    }

    async fn connect(&self, index: usize, seed: u64) -> Result<Self::Client, Trouble> {
        self.api.connect(index, seed).await
    }

    async fn perform(&self, client: &mut Self::Client) -> Result<(), Trouble> {
        self.api.perform(client).await
    }

    fn note(&self, due: Instant, end: Instant, became: &Result<(), Trouble>) {
        let seen = Seen {
            due,
            latency: end.saturating_duration_since(due),
            is_success: became.is_ok(),
        };
        let mut all = self.seen.lock().expect("nobody panics under this lock");
        all.push(seen);
    }

    fn is_enough(&self) -> bool {
        self.is_enough.load(Ordering::Relaxed)
    }
}

/// An open loop of one operation, until it is ended.
struct Watch {
    watched: Watched,
    rate: f64,
    thread: JoinHandle<Result<Figures, Trouble>>,
}

impl Watch {
    fn start(stage: &Stage, scenario: Scenario, rate: f64, seed: u64) -> Result<Self> {
        let watched = Watched {
            api: Api {
                nodes: stage.nodes(Target::Cluster),
                world: Arc::clone(&stage.world),
                scenario,
            },
            seen: Arc::default(),
            is_enough: Arc::default(),
        };
        let plan = Plan {
            connections: USUAL,
            pace: Pace::Open { per_second: rate },
            until: Until::Time(LOAD_MAX),
            warm_up: Duration::ZERO,
            threads: 1,
            seed,
        };
        let work = watched.clone();
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || drive(&plan, &work, &mut |_| {}));
        Ok(Self {
            watched,
            rate,
            thread: thread.context("starting a thread")?,
        })
    }

    /// Ends the load and gives what was seen.
    fn end(self) -> Result<Sight> {
        self.watched.is_enough.store(true, Ordering::Relaxed);
        let ended = self.thread.join().ok().context("the load broke down")?;
        ended.context("the load")?;
        let mut seen = self.watched.seen.lock();
        let seen = seen.as_mut().map(|seen| std::mem::take(&mut **seen));
        Ok(Sight {
            rate: self.rate,
            seen: seen.ok().context("the load broke down")?,
        })
    }
}

/// All that was seen of one kind of operation.
struct Sight {
    rate: f64,
    seen: Vec<Seen>,
}

impl Sight {
    fn tails(&self, marks: &Marks) -> Result<Tails> {
        let within = |from: Instant, to: Instant| {
            let seen = self.seen.iter();
            seen.filter(move |seen| from <= seen.due && seen.due < to)
        };
        let p99_us = |from, to| {
            let went_well = within(from, to).filter(|seen| seen.is_success);
            p99(went_well.map(|seen| seen.latency).collect())
        };
        let (mut done, mut errors) = (0, 0);
        for seen in within(marks.before, marks.end) {
            *(if seen.is_success {
                &mut done
            } else {
                &mut errors
            }) += 1;
        }
        Ok(Tails {
            rate: self.rate,
            before_us: p99_us(marks.before, marks.start).context("before the join")?,
            during_us: p99_us(marks.start, marks.ready).context("during the join")?,
            stream_us: p99_us(marks.ready, marks.end).ok(),
            done,
            errors,
        })
    }
}

/// In microseconds.
///
/// # Errors
/// When they are too few.
fn p99(mut latencies: Vec<Duration>) -> Result<f64> {
    let count = latencies.len();
    ensure!(count >= COUNT_MIN, "{count} operations have no p99");
    latencies.sort_unstable();
    Ok(latencies[(count * 99).div_ceil(100) - 1].as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_timed_by_the_log_of_the_node_that_gets_it() {
        let log = concat!(
            r#"{"timestamp":"2026-11-23T23:59:59.250000Z","level":"INFO","message":"a snapshot comes in","from":1,"bytes":163000000}"#,
            "\nno JSON\n",
            r#"{"timestamp":"2026-11-23T23:59:59.500000Z","level":"INFO","message":"a snapshot comes in","from":2,"bytes":163000000}"#,
            "\n",
            r#"{"timestamp":"2026-11-24T00:00:00.750000Z","level":"INFO","message":"snapshot installed","index":9}"#,
        );
        let (bytes, seconds) = read_arrival(log).unwrap();
        assert_eq!(bytes, 163_000_000);
        assert!((seconds - 1.5).abs() < 1e-9, "{seconds}");
        let first = log.lines().next().unwrap();
        let error = read_arrival(first).unwrap_err().to_string();
        assert!(error.contains("snapshot installed"), "{error}");
        assert!(read_arrival("").is_err());
    }

    #[test]
    fn percentiles_are_of_the_phase_in_which_the_operation_was_due() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let marks = Marks {
            before: at(10),
            start: at(20),
            ready: at(30),
            end: at(40),
        };
        let seen = |second: u64, number: u64| Seen {
            due: at(second),
            latency: Duration::from_micros(second * 1_000 + number),
            is_success: number > 0,
        };
        // Warm-up, before, during, stream, too late; one error in each.
        let phases = [5, 10, 29, 30, 40];
        let all = phases.map(|second| (0..=200).map(move |number| seen(second, number)));
        let sight = Sight {
            rate: 7.0,
            seen: all.into_iter().flatten().collect(),
        };
        let tails = sight.tails(&marks).unwrap();
        for (measured, expected) in [
            (tails.before_us, 10_198.0),
            (tails.during_us, 29_198.0),
            (tails.stream_us.unwrap(), 30_198.0),
        ] {
            assert!((measured - expected).abs() < 1e-3, "{measured}");
        }
        assert_eq!((tails.done, tails.errors), (600, 3));
    }

    #[test]
    fn too_few_operations_are_no_figure() {
        assert!(p99(vec![Duration::ZERO; COUNT_MIN - 1]).is_err());
        assert!(p99(vec![Duration::ZERO; COUNT_MIN]).is_ok());
    }
}
