//! Hands the writes of this node's clients to the leader: whatever waits when a request may go
//! becomes one request, as the leader's proposer does with entries. A lone write waits for nobody.
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use transport::network::{Error as NetworkError, PeerId};

use crate::codec::{self, SequenceBuilder};
use crate::core::Core;
use crate::forward::deposed;
use crate::message::{Write, WriteOutcome, service};
use crate::proposer::{others_first, refused};
use crate::waiting::{Missing, Waiting, Why, waiting};

/// Requests to the leader under way at once. Fewer carry more writes each, which is cheaper; more
/// let a write leave earlier.
const REQUESTS_IN_FLIGHT: usize = 2;

/// A write on its way to a leader.
pub(crate) struct Outgoing {
    leader: u64,
    deadline: Instant,
    waiting: Waiting,
}

/// Has `leader` do `write`, and waits at most `within` for what becomes of it.
pub(crate) async fn hand_over(
    core: &Core,
    leader: u64,
    write: Write,
    within: Duration,
) -> WriteOutcome {
    let deadline = Instant::now() + within;
    let (waiting, ticket) = waiting(write);
    let outgoing = Outgoing {
        leader,
        deadline,
        waiting,
    };
    if core.outbox.try_send(outgoing).is_err() {
        // There is room for all writes that may be under way, so its end is why.
        return refused(core, "this replica is stopping");
    }
    match ticket.outcome(deadline).await {
        Ok(outcome) => outcome,
        Err(Missing::Untaken(Why::Stopped)) => refused(core, "this replica is stopping"),
        Err(Missing::Untaken(Why::Late)) => WriteOutcome::NotLeader { leader: None },
        Err(Missing::Taken(Why::Late)) => WriteOutcome::Unknown {
            why: format!("node {leader} gave no answer in time"),
        },
        Err(Missing::Taken(Why::Stopped)) => WriteOutcome::Unknown {
            why: "the replica stopped while it waited for the leader".to_owned(),
        },
    }
}

/// Runs until the replica stops.
pub(crate) async fn run(core: Arc<Core>, mut queue: mpsc::Receiver<Outgoing>) {
    let mut stopping = core.stopping.subscribe();
    let places = Semaphore::new(REQUESTS_IN_FLIGHT);
    // Bounded by the writes that clients may have under way: each request carries one at least.
    let mut under_way = FuturesUnordered::new();
    let mut next = None;
    loop {
        let begin = async {
            let place = places.acquire().await.expect("it is never closed");
            if next.is_none() {
                next = queue.recv().await;
            }
            place
        };
        let place = tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            Some(()) = under_way.next(), if !under_way.is_empty() => continue,
            place = begin => place,
        };
        let Some(first) = next.take() else { return };
        others_first().await;
        let (request, other) = gather(&core, first, &mut queue);
        next = other;
        if let Some(request) = request {
            under_way.push(request.send(&core, place));
        }
    }
}

/// Writes for one leader and who waits for them.
struct Request {
    leader: u64,
    /// By when the last of them gives up.
    deadline: Instant,
    body: Bytes,
    answers: Vec<oneshot::Sender<WriteOutcome>>,
}

/// Puts what waits for one leader into one request, up to the limits of an entry. Also gives what
/// came after it for another leader.
fn gather(
    core: &Core,
    first: Outgoing,
    queue: &mut mpsc::Receiver<Outgoing>,
) -> (Option<Request>, Option<Outgoing>) {
    let limits = &core.options.limits;
    let (leader, mut deadline) = (first.leader, first.deadline);
    let mut builder = SequenceBuilder::new();
    let mut answers = Vec::new();
    let mut next = Some(first);
    while let Some(outgoing) = next.take_if(|next| next.leader == leader) {
        if let Some((write, answer)) = outgoing.waiting.take() {
            builder.push(&write);
            answers.push(answer);
            deadline = deadline.max(outgoing.deadline);
        }
        let has_room =
            answers.len() < limits.entry_commands_max && builder.len() < limits.entry_bytes_max;
        if has_room {
            next = queue.try_recv().ok();
        }
    }
    let request = (!answers.is_empty()).then(|| Request {
        leader,
        deadline,
        body: builder.finish(),
        answers,
    });
    (request, next)
}

impl Request {
    async fn send(self, core: &Core, place: SemaphorePermit<'_>) {
        let answers = self.answers;
        let mut leadership = core.leadership.subscribe();
        let within = self.deadline.saturating_duration_since(Instant::now());
        let peer = PeerId(self.leader);
        let asking = core
            .network
            .request(peer, service::WRITES, self.body, within);
        let asking = async {
            tokio::select! {
                biased;
                answer = asking => answer,
                () = deposed(&mut leadership, self.leader) => Err(NetworkError::NoAnswer {
                    peer,
                    why: "the leader changed while it was under way".to_owned(),
                }),
            }
        };
        tokio::pin!(asking);
        // A leader that is slow must not hold up what another could do: the place is free again
        // after a while, whatever becomes of this request.
        let answer = match timeout(core.heartbeat() * 2, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(place);
                asking.await
            }
        };
        match outcomes(answer, answers.len()) {
            ControlFlow::Continue(outcomes) => {
                for (waiter, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever gave up waiting will ask again.
                    let _ = waiter.send(outcome);
                }
            }
            ControlFlow::Break(same) => {
                for waiter in answers {
                    let _ = waiter.send(same.clone());
                }
            }
        }
    }
}

/// What became of `count` writes: each for itself, or all the same.
fn outcomes(
    answer: Result<Bytes, NetworkError>,
    count: usize,
) -> ControlFlow<WriteOutcome, Vec<WriteOutcome>> {
    let unknown = |why: String| ControlFlow::Break(WriteOutcome::Unknown { why });
    match answer {
        Ok(answer) => match codec::decode::<Vec<WriteOutcome>>("outcomes of writes", &answer) {
            Ok(outcomes) if outcomes.len() == count => ControlFlow::Continue(outcomes),
            Ok(outcomes) => unknown(format!(
                "{count} writes were answered with {} outcomes",
                outcomes.len()
            )),
            Err(error) => unknown(error.to_string()),
        },
        // It never arrived, or was turned away before it was looked at.
        Err(NetworkError::Unreachable { .. } | NetworkError::Refused { .. }) => {
            ControlFlow::Break(WriteOutcome::NotLeader { leader: None })
        }
        Err(error @ NetworkError::NoAnswer { .. }) => unknown(error.to_string()),
    }
}
