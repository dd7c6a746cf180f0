//! Replicas that are fed the same log in different ways.
//!
//! The first applies command after command to a plain map. The second goes as a node does: batches
//! of entries with a marker, kills, power cuts and what is replayed after them, and now and then a
//! new node in its place that begins with a snapshot.
use bytes::Bytes;
use model::apply::{apply, apply_all};
use model::command::{Command, Reply};
use model::error::Fault;
use model::event::Event;
use model::memory::Memory;
use storage::state::StateStore as _;
use storage::state::memory::MemoryState;

use super::dice::Dice;
use super::{Broken, Figures};

const BATCH_MAX: u64 = 9;

/// Both replicas and the log that they are fed.
#[derive(Default)]
pub(super) struct Replicas {
    first: Memory,
    log: Vec<Entry>,
    second: MemoryState,
    /// How much of the log the second has applied, now and ever.
    applied: usize,
    ever: usize,
}

struct Entry {
    command: Command,
    reply: Reply,
    events: Vec<Event>,
}

fn faulty(fault: Fault) -> Broken {
    ("no-fault", fault.to_string())
}

impl Replicas {
    /// The state of the first replica.
    pub(super) fn state(&self) -> &Memory {
        &self.first
    }

    /// Appends a command and applies it at the first replica.
    pub(super) fn first(&mut self, command: Command, is_repeat: bool) -> Result<Reply, Broken> {
        let outcome = apply(&self.first, command.clone()).map_err(faulty)?;
        if is_repeat && !(outcome.changes.is_empty() && outcome.events.is_empty()) {
            let what = format!("a repeat changed something: {command:?}");
            return Err(("exactly-once", what));
        }
        self.first.commit(outcome.changes);
        let reply = outcome.reply.clone();
        self.log.push(Entry {
            command,
            reply: outcome.reply,
            events: outcome.events,
        });
        Ok(reply)
    }

    /// Lets the second replica do something, mostly nothing.
    pub(super) fn second(&mut self, dice: &mut Dice, figures: &mut Figures) -> Result<(), Broken> {
        if dice.in_thousand(150) {
            self.catch_up(dice, figures)?;
        }
        match dice.below(100) {
            0 => {
                // Some of its commits had left the write buffers.
                self.second = self.second.crash_leaving(dice.below(20));
                figures.kills += 1;
                self.restart()?;
            }
            1 | 2 => {
                self.second = self.second.crash();
                figures.power_cuts += 1;
                self.restart()?;
            }
            3..=5 => {
                self.second.make_durable().map_err(faulty)?;
            }
            6 | 7 => {
                self.catch_up(dice, figures)?;
                self.replace(dice)?;
                figures.snapshots += 1;
                self.compare()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Brings the second up to the end; all replicas must be equal then, also one that is fed the
    /// whole log at once.
    pub(super) fn finish(&mut self, dice: &mut Dice, figures: &mut Figures) -> Result<(), Broken> {
        self.catch_up(dice, figures)?;
        self.compare()?;
        let mut third = Memory::default();
        let commands = self.log.iter().map(|entry| entry.command.clone());
        let batch = apply_all(&third, commands).map_err(faulty)?;
        third.commit(batch.changes);
        if third == self.first {
            return Ok(());
        }
        let what = difference(third.pairs(), self.first.pairs());
        Err(("same-bytes", format!("all in one batch: {what}")))
    }

    /// It stands where its marker says, never further than it ever was.
    fn restart(&mut self) -> Result<(), Broken> {
        let marker = self.second.read().map_err(faulty)?.marker;
        self.applied = match <[u8; 8]>::try_from(&marker[..]) {
            Ok(bytes) => usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX),
            Err(_) => 0,
        };
        if self.applied > self.ever {
            return Err(("markers", format!("it stands at {}", self.applied)));
        }
        Ok(())
    }

    fn catch_up(&mut self, dice: &mut Dice, figures: &mut Figures) -> Result<(), Broken> {
        while self.applied < self.log.len() {
            let left = self.log.len() - self.applied;
            let size = left.min(1 + dice.index(usize::try_from(BATCH_MAX).unwrap_or(1)));
            let entries = &self.log[self.applied..self.applied + size];
            let view = self.second.read().map_err(faulty)?.view;
            let commands = entries.iter().map(|entry| entry.command.clone());
            let batch = apply_all(&view, commands).map_err(faulty)?;
            for (entry, reply) in entries.iter().zip(&batch.replies) {
                if entry.reply != *reply {
                    let what = format!("{reply:?} in a batch, {:?} alone", entry.reply);
                    return Err(("same-replies", what));
                }
            }
            let events = entries.iter().flat_map(|entry| &entry.events);
            if !events.eq(&batch.events) {
                return Err(("same-events", format!("{:?} in a batch", batch.events)));
            }
            let end = self.applied + size;
            let marker = Bytes::copy_from_slice(&(end as u64).to_be_bytes());
            self.second.commit(batch.changes, marker).map_err(faulty)?;
            let again = self.ever.min(end).saturating_sub(self.applied);
            figures.replayed += again as u64;
            self.applied = end;
            self.ever = self.ever.max(end);
        }
        Ok(())
    }

    /// A new node takes the second's place, with its snapshot.
    fn replace(&mut self, dice: &mut Dice) -> Result<(), Broken> {
        let built = self.second.build_snapshot().map_err(faulty)?;
        let node = MemoryState::new();
        let mut sink = node.receive_snapshot().map_err(faulty)?;
        for chunk in self.second.snapshot_chunks(&built.id).map_err(faulty)? {
            let chunk = chunk.map_err(faulty)?;
            let (head, tail) = chunk.split_at(dice.index(chunk.len() + 1));
            sink.write(head).map_err(faulty)?;
            sink.write(tail).map_err(faulty)?;
        }
        let received = sink.finish().map_err(faulty)?;
        node.install_snapshot(&received.id).map_err(faulty)?;
        self.second = node;
        self.restart()
    }

    /// Both have applied the same: they are the same, byte for byte.
    fn compare(&self) -> Result<(), Broken> {
        let view = self.second.read().map_err(faulty)?.view;
        let pairs = view.scan(&[], &[]).collect::<Result<Vec<_>, _>>();
        let pairs = pairs.map_err(faulty)?;
        let second = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
        if self.first.pairs().eq(second.clone()) {
            return Ok(());
        }
        Err(("same-bytes", difference(second, self.first.pairs())))
    }
}

/// The first key at which two states differ, in words.
fn difference<'a>(
    one: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    other: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> String {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    while one.peek().is_some() && one.peek() == other.peek() {
        one.next();
        other.next();
    }
    let key = |pair: Option<&(&[u8], &[u8])>| {
        pair.map_or("the end".to_owned(), |(key, _)| model::key::describe(key))
    };
    format!(
        "they differ at {} and {}",
        key(one.peek()),
        key(other.peek())
    )
}
