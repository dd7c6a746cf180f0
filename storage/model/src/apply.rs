//! One command in; changes, a reply and events out.
//!
//! Every command goes the same way. A repeat of a request gets the remembered reply. One that is
//! older than repeats are remembered is refused. Then the rule of its noun makes all its checks and
//! only then its writes; what a refused one wrote is dropped. Last, the reply is remembered.
use crate::command::{Command, Operation, Reply};
use crate::error::{Error, Fault, Rejection};
use crate::event::Event;
use crate::key;
use crate::overlay::{Changes, Overlay};
use crate::read::Read;
use crate::record::Totals;
use crate::time::Timestamp;
use crate::transaction::{Answer, Transaction};
use crate::view::View;

/// How long a reply is remembered after its request was issued, by log time, in milliseconds.
/// Longer than any client or entry node goes on retrying.
pub const REPEAT_HORIZON_MS: u64 = 60 * 60 * 1000;

/// All that one command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub changes: Changes,
    pub reply: Reply,
    pub events: Vec<Event>,
}

/// All that several commands do, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: Changes,
    /// One for each command, in their order.
    pub replies: Vec<Reply>,
    pub events: Vec<Event>,
}

/// Applies `command` to `view`.
///
/// Pure: the same view and command give the same outcome, on every replica, for ever. A rejected
/// command changes nothing but the memory of its own request.
///
/// # Errors
/// [`Fault`] when this machine cannot read its state; the replica must stop.
pub fn apply(view: &impl View, command: Command) -> Result<Outcome, Fault> {
    let Command {
        request,
        issued,
        stamp,
        actor,
        operation,
    } = command;
    let memory = key::Request { issued, request };
    // Nearly always there is nothing: repeats are rare.
    if let Some(reply) = view.read_once(&memory)? {
        return Ok(Outcome {
            changes: Changes::new(),
            reply,
            events: Vec::new(),
        });
    }
    let totals = view.read(&key::Watermarks {})?.unwrap_or_default();
    if is_forgotten(issued, totals.clock) {
        // No need to remember: the clock does not run back, so every repeat meets this line again.
        let reply = Reply::Rejected(Rejection::RequestExpired);
        return Ok(Outcome {
            changes: Changes::new(),
            reply,
            events: Vec::new(),
        });
    }
    let answer = run(view, totals, issued, stamp, actor, operation);
    let (mut changes, reply, events) = match answer {
        Ok(done) => done,
        Err(Error::Rejected(no)) => (Changes::new(), Reply::Rejected(no), Vec::new()),
        Err(Error::Fault(fault)) => return Err(fault),
    };
    let mut remembering = Overlay::new(view);
    remembering.put(&memory, &reply);
    changes.extend(remembering.into_changes());
    Ok(Outcome {
        changes,
        reply,
        events,
    })
}

/// Applies `commands` one after the other and gathers what they do into one batch.
///
/// # Errors
/// [`Fault`] when this machine cannot read its state; then nothing of the batch counts.
pub fn apply_all(
    view: &impl View,
    commands: impl IntoIterator<Item = Command>,
) -> Result<Batch, Fault> {
    let mut stacked = Overlay::new(view);
    let mut batch = Batch::default();
    for command in commands {
        let outcome = apply(&stacked, command)?;
        stacked.absorb(outcome.changes);
        batch.replies.push(outcome.reply);
        batch.events.extend(outcome.events);
    }
    batch.changes = stacked.into_changes();
    Ok(batch)
}

/// Was a request that was issued then forgotten by `clock`?
pub(crate) fn is_forgotten(issued: Timestamp, clock: Timestamp) -> bool {
    issued.0.saturating_add(REPEAT_HORIZON_MS) < clock.0
}

type Done = (Changes, Reply, Vec<Event>);

fn run(
    view: &impl View,
    totals: Totals,
    issued: Timestamp,
    stamp: Timestamp,
    actor: Option<crate::token::TokenHash>,
    operation: Operation,
) -> Result<Done, Error> {
    let mut transaction = Transaction::new(view, totals, stamp, actor);
    // A clock that is far ahead would have its requests remembered for ever: refused as well.
    if is_forgotten(issued, transaction.now) || is_forgotten(transaction.now, issued) {
        return Err(Rejection::RequestExpired.into());
    }
    let reply = dispatch(&mut transaction, operation)?;
    let (changes, events) = transaction.finish();
    Ok((changes, reply, events))
}

fn dispatch(at: &mut Transaction<'_, impl View>, operation: Operation) -> Answer {
    match operation {
        Operation::Register(it) => it.apply(at),
        Operation::Login(it) => it.apply(at),
        Operation::Logout(it) => it.apply(at),
        Operation::Publish(it) => it.apply(at),
        Operation::Like(it) => it.apply(at),
        Operation::Unlike(it) => it.apply(at),
        Operation::AddComment(it) => it.apply(at),
        Operation::DeleteComment(it) => it.apply(at),
        Operation::Follow(it) => it.apply(at),
        Operation::Unfollow(it) => it.apply(at),
        Operation::SendMessage(it) => it.apply(at),
        Operation::RetireBlob(it) => it.apply(at),
        Operation::Sweep(it) => it.apply(at),
        Operation::Found(it) => it.apply(at),
        Operation::CreateJoinToken(it) => it.apply(at),
        Operation::AdmitNode(it) => it.apply(at),
        Operation::RetireNode(it) => it.apply(at),
        Operation::Configure(it) => it.apply(at),
    }
}
