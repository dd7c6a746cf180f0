//! A write that waits in a queue, and the race for it between whoever works the queue off and the
//! caller whose time is up: only by it can a caller say that certainly nothing was done.
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::message::{Write, WriteOutcome};

/// A write in a queue.
pub(crate) struct Waiting {
    write: Write,
    claim: Arc<Claim>,
    answer: oneshot::Sender<WriteOutcome>,
}

/// The caller's half.
pub(crate) struct Ticket {
    claim: Arc<Claim>,
    outcome: oneshot::Receiver<WriteOutcome>,
}

/// There is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nobody had taken the write, and nobody will.
    Untaken(Why),
    /// It was taken, so its fate is open.
    Taken(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The time was up.
    Late,
    /// The queue is no more.
    Stopped,
}

/// Who of the two was first.
#[derive(Debug, Default)]
struct Claim(AtomicU8);

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Claim {
    fn win(&self, by: u8) -> bool {
        self.0
            .compare_exchange(FREE, by, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Both halves of a write that is going to wait.
pub(crate) fn waiting(write: Write) -> (Waiting, Ticket) {
    let claim = Arc::new(Claim::default());
    let (answer, outcome) = oneshot::channel();
    let ticket = Ticket {
        claim: Arc::clone(&claim),
        outcome,
    };
    let waiting = Waiting {
        write,
        claim,
        answer,
    };
    (waiting, ticket)
}

impl Waiting {
    /// The write and where its outcome goes; none if nobody waits for it any more. From here on its
    /// fate is open.
    pub(crate) fn take(self) -> Option<(Write, oneshot::Sender<WriteOutcome>)> {
        let is_wanted = !self.answer.is_closed() && self.claim.win(TAKEN);
        is_wanted.then_some((self.write, self.answer))
    }
}

impl Ticket {
    /// Waits for the outcome, until `deadline` at the latest.
    pub(crate) async fn outcome(self, deadline: Instant) -> Result<WriteOutcome, Missing> {
        let why = match timeout_at(deadline, self.outcome).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(_)) => Why::Stopped,
            Err(_) => Why::Late,
        };
        Err(if self.claim.win(GIVEN_UP) {
            Missing::Untaken(why)
        } else {
            Missing::Taken(why)
        })
    }
}
