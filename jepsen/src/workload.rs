//! What clients do. Each workload has its own history and its own checker.
//!
//! Read [`Workload`] first, then [`Load`], which runs them all side by side at a pace; then any one:
//! [`comments`] and its neighbours each say which promise they hold the cluster to.
//!
//! One has its place kept: `staleness` (a read is never older than the bound it advertises) comes
//! when reads advertise one.
mod blob;
mod chat;
mod client;
mod comments;
mod favorite;
mod favorites;
mod feed;
mod followers;
mod graph;
mod pace;
mod session;
mod stage;
mod unique;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use checkers::history::{self, Call, Event, Outcome};
use checkers::verdict::Verdict;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::evidence::{Begun, Judged};
use crate::record::{self, Progress, Recorder};
use crate::target::Target;
use crate::workload::client::Client;
use crate::workload::pace::Pace;
use crate::workload::stage::Stage;

/// How the load is set up.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What clients do follows from this; the same seed asks the same.
    pub(crate) seed: u64,
    /// Clients of each workload.
    pub(crate) clients: usize,
    /// Operations per second over all workloads, whether or not earlier ones are done; 0: as fast
    /// as the clients can.
    pub(crate) rate: f64,
    /// A small clip to publish.
    pub(crate) clip: Vec<u8>,
    /// Names of the workloads to run; empty: all.
    pub(crate) only: Vec<String>,
}

/// One promise, driven and judged. Its clients share it and its [`Recorder`].
#[async_trait]
trait Workload: Send + Sync + 'static {
    /// One operation (or a short train of them) of one client.
    async fn step(&self, client: &mut Client);

    /// Reads all there is, at the client's node; did the node answer it all?
    async fn last_reads(&self, client: &mut Client) -> bool;
}

/// Makes a workload on the shared stage, with users and videos of its own.
type Make = for<'a> fn(&'a Stage) -> client::Boxed<'a, Result<Arc<dyn Workload>>>;

/// How a workload is called, made, weighed against the others, and judged.
struct Kind {
    name: &'static str,
    make: Make,
    /// Share of the operations.
    weight: u32,
    check: fn(&[Call]) -> Verdict,
}

/// Weights are of a thousand: cheap operations are many; clips and passwords are dear.
const KINDS: &[Kind] = &[
    kind("blob", 6, blob::make, blob::check),
    kind("chat", 190, chat::make, chat::check),
    kind("comments", 140, comments::make, comments::check),
    kind("favorite", 170, favorite::make, favorite::check),
    kind("favorites", 120, favorites::make, favorites::check),
    kind("feed", 10, feed::make, feed::check),
    kind("followers", 110, followers::make, followers::check),
    kind("graph", 130, graph::make, graph::check),
    kind("session", 120, session::make, session::check),
    kind("unique", 4, unique::make, unique::check),
];

const fn kind(name: &'static str, weight: u32, make: Make, check: fn(&[Call]) -> Verdict) -> Kind {
    Kind {
        name,
        make,
        weight,
        check,
    }
}

/// Running clients.
pub(crate) struct Load {
    running: Vec<Running>,
    pace: Pace,
    progress: Progress,
    target: Target,
    clients: tokio::sync::Mutex<JoinSet<()>>,
}

struct Running {
    name: &'static str,
    workload: Arc<dyn Workload>,
    recorder: Recorder,
}

/// A client ends its operation under way within this; what takes longer is cut off.
const STOP_MAX: Duration = Duration::from_secs(15);

/// Between two tries of the last reads at a node that did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(250);

impl Load {
    /// Sets the stage on a healthy cluster; then clients run in the background until [`Load::stop`].
    ///
    /// # Errors
    /// When a name is unknown or the stage cannot be set.
    pub(crate) async fn start(target: Target, options: Options, begun: Begun) -> Result<Self> {
        let kinds = chosen(&options.only)?;
        let progress = Progress::default();
        let stage = Stage::set(target.clone(), options.seed, options.clip)
            .await
            .context("preparing users and videos")?;
        let mut running = Vec::new();
        for kind in &kinds {
            let made = (kind.make)(&stage).await;
            running.push(Running {
                name: kind.name,
                workload: made.with_context(|| format!("preparing {}", kind.name))?,
                recorder: Recorder::new(begun, progress.clone()),
            });
        }
        let weights = kinds.iter().map(|kind| kind.weight).collect();
        let pace = Pace::new(weights, options.clients, options.rate);
        let mut clients = JoinSet::new();
        clients.spawn(pace.clone().run());
        for (workload, one) in running.iter().enumerate() {
            for number in 0..options.clients {
                let seed = options.seed ^ ((workload * 1_000 + number) as u64) << 32;
                let client = Client::new(target.clone(), one.recorder.clone(), number, seed);
                clients.spawn(drive(
                    Arc::clone(&one.workload),
                    client,
                    pace.clone(),
                    workload,
                ));
            }
        }
        Ok(Self {
            running,
            pace,
            progress,
            target,
            clients: tokio::sync::Mutex::new(clients),
        })
    }

    /// Operations that went well so far.
    pub(crate) fn ok_count(&self) -> u64 {
        self.progress.ok_count()
    }

    /// When the last read (write) went well, in nanoseconds of `Begun`; 0: none has yet.
    pub(crate) fn last_ok_ns(&self, is_write: bool) -> u64 {
        self.progress.last_ok_ns(is_write)
    }

    /// Operations a second that are asked for; 0: as fast as the clients can.
    pub(crate) fn rate_now(&self) -> f64 {
        self.pace.rate()
    }

    pub(crate) fn set_rate(&self, rate: f64) {
        self.pace.set_rate(rate);
    }

    /// Has clients end their operation under way and stop. Takes a bounded time.
    pub(crate) async fn stop(&self) {
        self.pace.stop();
        let mut clients = self.clients.lock().await;
        let all = async {
            while let Some(ended) = clients.join_next().await {
                ended.expect("no client panics");
            }
        };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            // What they had under way stays without an end: its outcome is not known.
            clients.shutdown().await;
        }
    }

    /// After [`Load::stop`] and healing: reads everything from every node, retried until each node
    /// answered or patience ends. Gives the histories by workload.
    pub(crate) async fn finish(self, patience: Duration) -> BTreeMap<String, Vec<Event>> {
        self.stop().await;
        let until = Instant::now() + patience;
        let mut readers = JoinSet::new();
        for one in &self.running {
            for node in 0..self.target.node_count() {
                let client = Client::at(self.target.clone(), one.recorder.clone(), node);
                readers.spawn(last_reads(Arc::clone(&one.workload), client, until));
            }
        }
        while let Some(ended) = readers.join_next().await {
            ended.expect("no reader panics");
        }
        let histories = self.running.iter();
        histories
            .map(|one| (one.name.to_owned(), one.recorder.take()))
            .collect()
    }
}

async fn drive(workload: Arc<dyn Workload>, mut client: Client, pace: Pace, lane: usize) {
    // Bounded by the pace, which ends when it is stopped.
    while pace.turn(lane).await {
        workload.step(&mut client).await;
    }
}

/// Reads are retried as a whole: half an answer is worth less than two.
async fn last_reads(workload: Arc<dyn Workload>, mut client: Client, until: Instant) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let read = tokio::time::timeout(left, workload.last_reads(&mut client));
        match read.await {
            Ok(true) | Err(_) => return,
            Ok(false) => tokio::time::sleep(RETRY_AFTER).await,
        }
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Kind>> {
    for name in only {
        if !KINDS.iter().any(|kind| kind.name == name) {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            bail!(
                "no workload is called {name}; there are {}",
                names.join(", ")
            );
        }
    }
    let is_chosen = |kind: &&Kind| only.is_empty() || only.iter().any(|name| name == kind.name);
    Ok(KINDS.iter().filter(is_chosen).collect())
}

/// Judges all histories, each on a thread of its own, in the order of their names.
pub(crate) fn judge(histories: &BTreeMap<String, Vec<Event>>) -> Vec<Judged> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = histories
            .iter()
            .map(|(name, events)| scope.spawn(move || judge_one(name, events)))
            .collect();
        let judged = threads.into_iter();
        judged
            .map(|thread| thread.join().expect("no checker panics"))
            .collect()
    })
}

fn judge_one(name: &str, events: &[Event]) -> Judged {
    let (calls, broken) = match history::calls(events) {
        Ok(calls) => (calls, None),
        Err(why) => (Vec::new(), Some(format!("the harness broke a rule: {why}"))),
    };
    let count = |outcome| calls.iter().filter(|call| call.outcome == outcome).count();
    let ok = count(Outcome::Ok);
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let verdict = match (kind, broken) {
        (_, Some(why)) => Verdict::Unknown { why },
        (None, None) => Verdict::Unknown {
            why: format!("no workload is called {name}"),
        },
        (Some(_), None) if ok == 0 => Verdict::Unknown {
            why: "nothing succeeded".into(),
        },
        (Some(kind), None) => (kind.check)(&calls),
    };
    Judged {
        workload: name.to_owned(),
        ok,
        failed: count(Outcome::Fail),
        unknown: count(Outcome::Unknown),
        verdict,
    }
}

/// Writes each history as JSON lines and as EDN.
///
/// # Errors
/// When the disk takes it not.
pub(crate) fn write(dir: &Path, histories: &BTreeMap<String, Vec<Event>>) -> Result<()> {
    let dir = dir.join("histories");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    for (name, events) in histories {
        record::write(&dir.join(format!("{name}.jsonl")), events)?;
        let path = dir.join(format!("{name}.edn"));
        std::fs::write(&path, crate::edn::history(events))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
