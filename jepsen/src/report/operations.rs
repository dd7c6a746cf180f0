//! The operations of all histories, paired and in time: the ground that every chart stands on.
use std::collections::BTreeMap;
use std::fmt::Write;

use checkers::history::{Action, Event, Kind, Outcome};

use crate::evidence::Evidence;

/// One operation, from its invocation to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    pub(super) workload: &'a str,
    /// Of its invocation, in its workload's history.
    pub(super) index: usize,
    pub(super) process: u64,
    pub(super) node: &'a str,
    pub(super) invoked_ns: u64,
    /// `None`: nothing more was heard of it.
    pub(super) ended_ns: Option<u64>,
    pub(super) outcome: Outcome,
    /// As completed, if it ended well; as invoked otherwise.
    pub(super) action: &'a Action,
    pub(super) is_write: bool,
    /// What the client was told when it did not go well.
    pub(super) error: Option<&'a str>,
}

impl Operation<'_> {
    /// How long its client waited.
    pub(super) fn latency_ns(&self) -> Option<u64> {
        Some(self.ended_ns?.saturating_sub(self.invoked_ns))
    }
}

/// All operations, in order of invocation within each workload. A history that breaks the rules of
/// histories is drawn as far as it can be; judging it is not this module's business.
pub(super) fn of(evidence: &Evidence) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (workload, events) in &evidence.histories {
        pair(workload, events, &mut operations);
    }
    operations
}

fn pair<'a>(workload: &'a str, events: &'a [Event], operations: &mut Vec<Operation<'a>>) {
    let mut under_way: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events {
        if event.kind == Kind::Invoke {
            under_way.insert(event.process, operations.len());
            operations.push(Operation {
                workload,
                index: event.index,
                process: event.process,
                node: &event.node,
                invoked_ns: event.time_ns,
                ended_ns: None,
                outcome: Outcome::Unknown,
                action: &event.action,
                is_write: is_write(&event.action),
                error: None,
            });
            continue;
        }
        let Some(position) = under_way.remove(&event.process) else {
            continue;
        };
        let operation = &mut operations[position];
        operation.ended_ns = Some(event.time_ns);
        operation.error = event.error.as_deref();
        operation.outcome = match event.kind {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Info | Kind::Invoke => Outcome::Unknown,
        };
        if event.kind == Kind::Ok {
            operation.action = &event.action;
        }
    }
}

/// Whether it changes something. Told by its name, so that a new kind of action needs no word here.
fn is_write(action: &Action) -> bool {
    let name = name(action);
    let is_read = name.contains("Read") || matches!(name.as_str(), "Login" | "Download");
    !is_read
}

/// The name of an action's variant.
pub(super) fn name(action: &Action) -> String {
    let mut name = Name(String::new());
    // It ends in an error as soon as the name is whole: the rest may be a long list.
    let whole = write!(name, "{action:?}");
    debug_assert!(whole.is_err() || !name.0.is_empty());
    name.0
}

/// Takes the first word that is written to it and refuses the rest.
struct Name(String);

impl Write for Name {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            if !letter.is_alphanumeric() {
                return Err(std::fmt::Error);
            }
            self.0.push(letter);
        }
        Ok(())
    }
}

/// Counts by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) unknown: u64,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    pub(super) fn of<'a>(operations: impl IntoIterator<Item = &'a Operation<'a>>) -> Self {
        let mut tally = Self::default();
        for operation in operations {
            tally.add(operation.outcome);
        }
        tally
    }

    pub(super) fn all(self) -> u64 {
        self.ok + self.failed + self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_told_by_its_name() {
        let read = Action::ReadSet {
            key: "k".into(),
            elements: Some(vec!["Add".into()]),
        };
        assert_eq!(name(&read), "ReadSet");
        assert!(!is_write(&read));
        assert!(is_write(&Action::Write {
            key: "Read".into(),
            value: 1
        }));
    }
}
