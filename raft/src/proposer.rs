//! Turns the writes that wait at the leader into entries.
//!
//! Whatever waits when the log is ready for another entry goes into one: under load an entry
//! carries many commands, and a lone write waits for nobody. A few entries are under way at once,
//! so that the next batch need not wait for the last one's sync.
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::apply::apply_all;
use model::command::{Command, Reply};
use model::time::Timestamp;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::codec::{self, SequenceBuilder};
use crate::core::Core;
use crate::health;
use crate::message::{Write, WriteOutcome};
use crate::replica::Error;
use crate::types::{Batch, Raft, Types};
use crate::waiting::{Missing, Ticket, Waiting, Why, waiting};

/// Proposes `write` here, if this node leads, and waits at most `within` for what becomes of it.
pub(crate) async fn propose(core: &Core, write: Write, within: Duration) -> WriteOutcome {
    let deadline = Instant::now() + within;
    match enter(core, write) {
        ControlFlow::Continue(ticket) => outcome(core, ticket, deadline).await,
        ControlFlow::Break(no) => no,
    }
}

/// As [`propose`] for writes that came together; gives what became of each, in their order.
pub(crate) async fn propose_all(
    core: &Core,
    writes: Vec<Write>,
    within: Duration,
) -> Vec<WriteOutcome> {
    let deadline = Instant::now() + within;
    // All are in the queue before the first is waited for: so they share an entry.
    let entered: Vec<_> = writes.into_iter().map(|it| enter(core, it)).collect();
    let mut outcomes = Vec::with_capacity(entered.len());
    for entered in entered {
        outcomes.push(match entered {
            ControlFlow::Continue(ticket) => outcome(core, ticket, deadline).await,
            ControlFlow::Break(no) => no,
        });
    }
    outcomes
}

fn enter(core: &Core, write: Write) -> ControlFlow<WriteOutcome, Ticket> {
    check(core)?;
    let (waiting, ticket) = waiting(write);
    match core.proposals.try_send(waiting) {
        Ok(()) => ControlFlow::Continue(ticket),
        Err(mpsc::error::TrySendError::Full(_)) => {
            metrics::counter!("yin_raft_writes_refused_total", "why" => "queue").increment(1);
            ControlFlow::Break(refused(core, "too many writes wait at the leader"))
        }
        Err(mpsc::error::TrySendError::Closed(_)) => {
            ControlFlow::Break(refused(core, "this replica is stopping"))
        }
    }
}

async fn outcome(core: &Core, ticket: Ticket, deadline: Instant) -> WriteOutcome {
    let missing = match ticket.outcome(deadline).await {
        Ok(outcome) => return outcome,
        Err(missing) => missing,
    };
    let unknown = |why: &str| WriteOutcome::Unknown {
        why: why.to_owned(),
    };
    match missing {
        Missing::Untaken(Why::Stopped) => refused(core, "this replica is stopping"),
        Missing::Untaken(Why::Late) => refused(core, "the leader did not get to it in time"),
        Missing::Taken(Why::Stopped) => unknown("the replica stopped while it waited for a quorum"),
        Missing::Taken(Why::Late) => unknown("a quorum did not take it in time"),
    }
}

/// Is there a reason not to propose anything?
fn check(core: &Core) -> ControlFlow<WriteOutcome> {
    let leader = core.leader().leader;
    if leader != Some(core.me()) {
        return ControlFlow::Break(WriteOutcome::NotLeader { leader });
    }
    if core.is_disk_low() {
        return ControlFlow::Break(refused(core, "the disk is nearly full on the leader"));
    }
    if core.is_quorum_low.load(Ordering::Relaxed) {
        let why = "the disk is nearly full on a majority of the voters";
        return ControlFlow::Break(refused(core, why));
    }
    ControlFlow::Continue(())
}

/// Certainly not done, and worth another try in a while.
pub(crate) fn refused(core: &Core, why: &str) -> WriteOutcome {
    let retry_after = core.heartbeat() * 2;
    WriteOutcome::Refused {
        why: why.to_owned(),
        retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Runs until the replica stops.
pub(crate) async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Waiting>) {
    let mut stopping = core.stopping.subscribe();
    let mut in_flight = FuturesUnordered::new();
    loop {
        let has_place = in_flight.len() < core.options.limits.entries_in_flight_max;
        let first = tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            Some(()) = in_flight.next(), if !in_flight.is_empty() => continue,
            first = queue.recv(), if has_place => first,
        };
        let Some(first) = first else { return };
        others_first().await;
        match stamp(&core) {
            Ok(stamp) => {
                if let Some(entry) = gather(&core, stamp, first, &mut queue) {
                    in_flight.push(entry.propose(&core));
                }
            }
            // Who gave up meanwhile has said the same already.
            Err(why) => {
                if let Some((_, answer)) = first.take() {
                    drop(answer.send(refused(&core, &why)));
                }
            }
        }
    }
}

/// Lets all run that can run now: writes that have come in already, and wait for their turn on this
/// thread, share what is begun next. When there are none it takes no time.
pub(crate) async fn others_first() {
    tokio::task::yield_now().await;
}

/// The commands of one entry and who waits for them.
struct NextEntry {
    batch: Batch,
    answers: Vec<oneshot::Sender<WriteOutcome>>,
}

/// One stamp for all of an entry: their order is the log's.
fn stamp(core: &Core) -> Result<Timestamp, String> {
    let log_time = || {
        let reading = core.bench.state.read()?;
        model::time::log_time(&reading.view)
    };
    let skew_ms_max = core.options.timing.clock_skew_ms_max;
    match core.stamps.stamp(&*core.clock, skew_ms_max, log_time) {
        Ok(Some(stamp)) => Ok(stamp),
        Ok(None) => Err("the leader has yet to compare its clock with the others'".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Puts what waits into one entry, up to its limits.
fn gather(
    core: &Core,
    stamp: Timestamp,
    first: Waiting,
    queue: &mut mpsc::Receiver<Waiting>,
) -> Option<NextEntry> {
    let limits = &core.options.limits;
    let mut builder = SequenceBuilder::new();
    let mut answers = Vec::new();
    let mut next = Some(first);
    while let Some(waiting) = next {
        // One that nobody waits for any more was given up, here or at the node that forwarded it.
        if let Some((write, answer)) = waiting.take() {
            let Write {
                request,
                issued,
                actor,
                operation,
            } = write;
            builder.push(&Command {
                request,
                issued,
                stamp,
                actor,
                operation,
            });
            answers.push(answer);
        }
        let has_room =
            answers.len() < limits.entry_commands_max && builder.len() < limits.entry_bytes_max;
        next = if has_room {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    if answers.is_empty() {
        return None;
    }
    metrics::histogram!("yin_raft_entry_commands").record(as_f64(answers.len()));
    Some(NextEntry {
        batch: Batch(builder.finish()),
        answers,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of at most a few thousand, for a graph"
)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

impl NextEntry {
    async fn propose(self, core: &Core) {
        let raft = match core.raft() {
            Ok(raft) => raft,
            Err(Error::Stopped { why }) => return self.tell_all(&refused(core, &why)),
            Err(_) => return self.tell_all(&WriteOutcome::NotLeader { leader: None }),
        };
        health::look_at_disk(core);
        if let ControlFlow::Break(no) = check(core) {
            return self.tell_all(&no);
        }
        if plants::is(plants::ACK_BEFORE_COMMIT) {
            return self.acknowledge_early(core, &raft).await;
        }
        match raft.client_write(self.batch.clone()).await {
            Ok(written) => self.tell_each(written.log_id.index(), written.data.0),
            Err(error) => self.tell_all(&not_written(error)),
        }
    }

    /// Waits for a quorum, but not for long; then answers what the commands would do here and now.
    async fn acknowledge_early(self, core: &Core, raft: &Raft) {
        let writing = raft.client_write(self.batch.clone());
        if let Ok(Ok(written)) = tokio::time::timeout(core.heartbeat() * 2, writing).await {
            return self.tell_each(written.log_id.index(), written.data.0);
        }
        let commands = codec::decode_batch(&self.batch).unwrap_or_default();
        let guessed = core
            .bench
            .state
            .read()
            .and_then(|it| apply_all(&it.view, commands));
        let replies = guessed.map_or_else(|_| Vec::new(), |batch| batch.replies);
        self.tell_each(core.bench.progress.applied(), replies);
    }

    fn tell_each(self, index: u64, replies: Vec<Reply>) {
        for (answer, reply) in self.answers.into_iter().zip(replies) {
            // Whoever gave up waiting will ask again.
            let _ = answer.send(WriteOutcome::Done { reply, index });
        }
    }

    fn tell_all(self, outcome: &WriteOutcome) {
        for answer in self.answers {
            let _ = answer.send(outcome.clone());
        }
    }
}

fn not_written(error: RaftError<Types, ClientWriteError<Types>>) -> WriteOutcome {
    match error {
        // Refused before it was put in the log.
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader {
            leader_id,
            ..
        })) => WriteOutcome::NotLeader { leader: leader_id },
        RaftError::APIError(error) => WriteOutcome::Unknown {
            why: error.to_string(),
        },
        RaftError::Fatal(fatal) => WriteOutcome::Unknown {
            why: fatal.to_string(),
        },
    }
}
