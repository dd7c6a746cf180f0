//! Gets a write done: here or, in one hop, at the leader; again with the same request id when its
//! fate is not known.
//!
//! Asking again is safe because the state machine remembers request ids. What the caller is told
//! is honest: "not done" only if no attempt can have reached the log.
use std::time::Duration;

use model::command::{Reply, RequestId};
use model::error::Rejection;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::{Core, Leadership};
use crate::message::{Write, WriteOutcome};
use crate::outbox;
use crate::position::Position;
use crate::proposer;
use crate::replica::{Error, Proposal, Written};

/// The first pause between two attempts; it doubles up to the heartbeat interval.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// # Errors
/// As [`crate::replica::Replica::write`].
pub(crate) async fn write(
    core: &Core,
    proposal: Proposal,
    within: Duration,
) -> Result<Written, Error> {
    let deadline = Instant::now() + within;
    // This node would have to log and apply it too before it could answer.
    if core.is_disk_low() {
        metrics::counter!("yin_raft_writes_refused_total", "why" => "disk").increment(1);
        return Err(core.unavailable("the disk of this node is nearly full: free space on it"));
    }
    let Ok(_place) = core.places.try_acquire() else {
        metrics::counter!("yin_raft_writes_refused_total", "why" => "places").increment(1);
        return Err(core.unavailable("too many writes are under way on this node"));
    };
    let mut effort = Effort {
        core,
        write: Write {
            request: proposal.request,
            issued: proposal.issued,
            actor: proposal.actor,
            operation: proposal.operation,
        },
        deadline,
        leadership: core.leadership.subscribe(),
        pause: PAUSE_MIN,
        doubt: None,
    };
    let (reply, index) = effort.get_it_done().await?;
    if !core.bench.progress.reach(index, deadline).await {
        return Err(Error::Unknown {
            why: "it is committed, but this node has not applied it in time".to_owned(),
        });
    }
    let seal = core.seal().map_err(|error| Error::Unknown {
        why: format!("it is committed, but this node has failed: {error}"),
    })?;
    let epoch = seal.map_or(0, |seal| seal.epoch);
    Ok(Written {
        reply,
        position: Position { epoch, index },
    })
}

/// One write and all attempts at it.
struct Effort<'a> {
    core: &'a Core,
    write: Write,
    deadline: Instant,
    leadership: watch::Receiver<Leadership>,
    pause: Duration,
    /// Why an earlier attempt may have been done after all.
    doubt: Option<String>,
}

impl Effort<'_> {
    async fn get_it_done(&mut self) -> Result<(Reply, u64), Error> {
        loop {
            let mut why = "no leader is known";
            let leader = self.leadership.borrow_and_update().leader;
            if let Some(leader) = leader {
                match self.attempt(leader).await {
                    WriteOutcome::Done { reply, index } => {
                        return answer(reply, index, self.doubt.is_some());
                    }
                    WriteOutcome::NotLeader { .. } => why = "no leader took it",
                    WriteOutcome::Unknown { why } => {
                        if plants::is(plants::FALSE_NOT_APPLIED) {
                            return Err(self.core.unavailable(why));
                        }
                        self.doubt.get_or_insert(why);
                        if plants::is(plants::RETRY_WITHOUT_REQUEST) {
                            self.write.request = another(self.write.request);
                        }
                    }
                    WriteOutcome::Refused {
                        why,
                        retry_after_ms,
                    } if self.doubt.is_none() => {
                        return Err(Error::Unavailable {
                            why,
                            retry_after: Duration::from_millis(retry_after_ms),
                        });
                    }
                    WriteOutcome::Refused { .. } => why = "the leader refused it",
                }
            } else if let Some(why) = self.core.stopped() {
                return Err(self.give_up(Error::Stopped { why }));
            }
            if !self.wait().await {
                return Err(self.give_up(self.core.unavailable(why)));
            }
        }
    }

    async fn attempt(&mut self, leader: u64) -> WriteOutcome {
        let within = self.deadline.saturating_duration_since(Instant::now());
        let mut leadership = self.leadership.clone();
        let attempt = async {
            if leader == self.core.me() {
                proposer::propose(self.core, self.write.clone(), within).await
            } else if plants::is(plants::FORWARDED_TWICE) {
                hand_over_twice(self.core, leader, &self.write, within).await
            } else {
                outbox::hand_over(self.core, leader, self.write.clone(), within).await
            }
        };
        tokio::select! {
            biased;
            outcome = attempt => outcome,
            () = deposed(&mut leadership, leader) => WriteOutcome::Unknown {
                why: "the leader changed while it was under way".to_owned(),
            },
        }
    }

    /// Waits for another leader, or a moment; false when the time is up.
    async fn wait(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        let until = self.deadline.min(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(self.core.heartbeat());
        let _ = tokio::time::timeout_at(until, self.leadership.changed()).await;
        Instant::now() < self.deadline
    }

    /// `certain`, unless an earlier attempt may have been done.
    fn give_up(&self, certain: Error) -> Error {
        match &self.doubt {
            Some(why) => Error::Unknown { why: why.clone() },
            None => certain,
        }
    }
}

/// The log's answer; but that a repeat came too late says nothing of what it repeats, which may have
/// been done if `is_in_doubt`.
fn answer(reply: Reply, index: u64, is_in_doubt: bool) -> Result<(Reply, u64), Error> {
    if is_in_doubt && reply == Reply::Rejected(Rejection::RequestExpired) {
        let why = "it came too late to be looked up".to_owned();
        return Err(Error::Unknown { why });
    }
    Ok((reply, index))
}

/// Waits until another node than `leader` is known to lead. That nobody is known to lead is no
/// reason to give up on an answer that may be on its way.
pub(crate) async fn deposed(leadership: &mut watch::Receiver<Leadership>, leader: u64) {
    let is_other = |now: &Leadership| now.leader.is_some_and(|now| now != leader);
    if leadership.wait_for(is_other).await.is_err() {
        // The replica is gone; the attempt itself will say so.
        std::future::pending::<()>().await;
    }
}

/// A request id that nobody has.
fn another(request: RequestId) -> RequestId {
    RequestId(u128::from_be_bytes(request.0).wrapping_add(1).to_be_bytes())
}

/// Asks again, as if it were another write, when the answer is slow.
async fn hand_over_twice(
    core: &Core,
    leader: u64,
    write: &Write,
    within: Duration,
) -> WriteOutcome {
    let first = outbox::hand_over(core, leader, write.clone(), within);
    match tokio::time::timeout(core.heartbeat() * 2, first).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let mut again = write.clone();
            again.request = another(write.request);
            outbox::hand_over(core, leader, again, within).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_that_is_too_late_tells_nothing_of_what_it_repeats() {
        let late = || Reply::Rejected(Rejection::RequestExpired);
        assert!(matches!(
            answer(late(), 7, true),
            Err(Error::Unknown { .. })
        ));
        // The first attempt is told the plain truth, and so is who repeats anything else.
        assert!(matches!(answer(late(), 7, false), Ok((reply, 7)) if reply == late()));
        let other = Reply::Rejected(Rejection::VideoNotFound);
        assert!(matches!(answer(other.clone(), 8, true), Ok((reply, 8)) if reply == other));
        assert!(matches!(answer(Reply::Done, 9, true), Ok((Reply::Done, 9))));
    }
}
