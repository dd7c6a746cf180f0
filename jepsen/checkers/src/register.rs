//! Linearizability of registers, each key by itself: Wing & Gong's search as Lowe refined it.
//!
//! The search walks the history, takes an operation that may come first, and goes back when it gets
//! stuck; states that were tried (which operations are taken, what the value is) are remembered.
use std::collections::{BTreeMap, HashSet};

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// More steps than this on one key end in `Unknown`.
pub const STEPS_MAX: usize = 5_000_000;

/// One operation on a register.
#[derive(Clone, Copy, Debug)]
struct Operation {
    invoked: usize,
    /// `usize::MAX`: may take effect at any later time, or never.
    ended: usize,
    /// What is written, or what was read.
    value: i64,
    is_write: bool,
}

/// Judges all registers; every register begins at `initial`.
pub fn check(calls: &[Call], initial: i64) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.outcome != Outcome::Fail) {
        let ended = match call.outcome {
            Outcome::Ok => call.ended.unwrap_or(usize::MAX),
            Outcome::Fail | Outcome::Unknown => usize::MAX,
        };
        let (key, value, is_write) = match &call.action {
            Action::Write { key, value } => (key, *value, true),
            Action::Read {
                key,
                value: Some(value),
            } if call.outcome == Outcome::Ok => (key, *value, false),
            _ => continue,
        };
        keys.entry(key).or_default().push(Operation {
            invoked: call.invoked,
            ended,
            value,
            is_write,
        });
    }
    keys.iter()
        .map(|(key, operations)| check_key(key, operations, initial))
        .fold(Verdict::Valid, Verdict::and)
}

/// A set of operation numbers.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn contains(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    fn set(&mut self, n: usize, is_in: bool) {
        let bit = 1 << (n % 64);
        if is_in {
            self.0[n / 64] |= bit;
        } else {
            self.0[n / 64] &= !bit;
        }
    }
}

fn check_key(key: &str, operations: &[Operation], initial: i64) -> Verdict {
    let mut search = Search {
        operations,
        taken: Bits::new(operations.len()),
        path: Vec::new(),
        value: initial,
        seen: HashSet::new(),
        deepest: Vec::new(),
    };
    match search.run() {
        Some(true) => Verdict::Valid,
        Some(false) => {
            let stuck = operations
                .iter()
                .enumerate()
                .filter(|(n, operation)| {
                    !search.deepest.contains(n) && operation.ended != usize::MAX
                })
                .map(|(_, operation)| operation.invoked)
                .take(8)
                .collect();
            Verdict::Invalid {
                why: format!(
                    "register {key}: no order explains it beyond {} of {} operations",
                    search.deepest.len(),
                    operations.len()
                ),
                operations: stuck,
            }
        }
        None => Verdict::Unknown {
            why: format!("register {key}: not decided after {STEPS_MAX} steps"),
        },
    }
}

struct Search<'a> {
    /// In order of invocation.
    operations: &'a [Operation],
    taken: Bits,
    /// What was taken, with the value before and where to go on after going back.
    path: Vec<(usize, i64)>,
    value: i64,
    seen: HashSet<(Bits, i64)>,
    deepest: Vec<usize>,
}

impl Search<'_> {
    /// `None` when it takes too long.
    fn run(&mut self) -> Option<bool> {
        let mut from = 0;
        for _ in 0..STEPS_MAX {
            if self.is_done() {
                return Some(true);
            }
            if let Some(n) = self.candidate(from) {
                self.take(n);
                from = 0;
                continue;
            }
            let Some((n, before)) = self.path.pop() else {
                return Some(false);
            };
            self.taken.set(n, false);
            self.value = before;
            from = n + 1;
        }
        None
    }

    /// All that certainly happened is explained.
    fn is_done(&self) -> bool {
        let certain = |operation: &Operation| operation.ended != usize::MAX;
        self.operations
            .iter()
            .enumerate()
            .all(|(n, operation)| self.taken.contains(n) || !certain(operation))
    }

    /// The first operation from `from` on that may come next and leads to a state not yet tried.
    fn candidate(&mut self, from: usize) -> Option<usize> {
        let open = || {
            let numbered = self.operations.iter().enumerate();
            numbered.filter(|(n, _)| !self.taken.contains(*n))
        };
        // Nothing that began after another's end may come before it.
        let horizon = open().map(|(_, operation)| operation.ended).min()?;
        let fitting: Vec<usize> = open()
            .filter(|(n, operation)| *n >= from && operation.invoked < horizon)
            .filter(|(_, operation)| operation.is_write || operation.value == self.value)
            .map(|(n, _)| n)
            .collect();
        for n in fitting {
            let mut taken = self.taken.clone();
            taken.set(n, true);
            let operation = self.operations[n];
            let value = if operation.is_write {
                operation.value
            } else {
                self.value
            };
            if self.seen.insert((taken, value)) {
                return Some(n);
            }
        }
        None
    }

    fn take(&mut self, n: usize) {
        self.path.push((n, self.value));
        self.taken.set(n, true);
        if self.operations[n].is_write {
            self.value = self.operations[n].value;
        }
        if self.path.len() > self.deepest.len() {
            self.deepest = self.path.iter().map(|(n, _)| *n).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::{Builder, Event, Kind, calls};

    fn write(value: i64) -> Action {
        Action::Write {
            key: "k".into(),
            value,
        }
    }

    fn read(value: i64) -> Action {
        Action::Read {
            key: "k".into(),
            value: Some(value),
        }
    }

    fn judge(history: &[Event]) -> Verdict {
        check(&calls(history).unwrap(), 0)
    }

    #[test]
    fn a_stale_read_is_found() {
        let fresh = Builder::default().ok(1, write(1)).ok(2, read(1)).build();
        assert!(judge(&fresh).is_valid());
        let stale = Builder::default().ok(1, write(1)).ok(2, read(0)).build();
        assert!(judge(&stale).is_invalid());
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let base = || {
            Builder::default()
                .event(1, Kind::Invoke, write(1))
                .event(1, Kind::Info, write(1))
                .ok(2, read(0))
        };
        assert!(judge(&base().build()).is_valid());
        assert!(judge(&base().ok(2, read(1)).build()).is_valid());
        let back = base().ok(2, read(1)).ok(2, read(0)).build();
        assert!(judge(&back).is_invalid(), "once seen it stays");
    }

    /// A history of a real register: operations overlap, each takes effect at a point between.
    fn clean(steps: &[(u64, bool)]) -> Vec<Event> {
        let mut builder = Builder::default();
        let mut value = 0;
        let mut open: BTreeMap<u64, Action> = BTreeMap::new();
        for (n, (process, is_write)) in steps.iter().enumerate() {
            if let Some(done) = open.remove(process) {
                builder = builder.event(*process, Kind::Ok, done);
                continue;
            }
            let action = if *is_write {
                value = i64::try_from(n).unwrap() + 1;
                write(value)
            } else {
                read(value)
            };
            let invoked = match &action {
                Action::Read { key, .. } => Action::Read {
                    key: key.clone(),
                    value: None,
                },
                other => other.clone(),
            };
            builder = builder.event(*process, Kind::Invoke, invoked);
            open.insert(*process, action);
        }
        for (process, action) in open {
            builder = builder.event(process, Kind::Ok, action);
        }
        builder.build()
    }

    proptest! {
        #[test]
        fn clean_histories_pass(steps in prop::collection::vec((0u64..4, any::<bool>()), 0..60)) {
            prop_assert!(judge(&clean(&steps)).is_valid());
        }

        #[test]
        fn a_value_that_was_never_written_is_found(
            steps in prop::collection::vec((0u64..4, any::<bool>()), 1..40),
        ) {
            let mut history = clean(&steps);
            let damaged = history.iter_mut().rev().find_map(|event| match &mut event.action {
                Action::Read { value: Some(value), .. } => Some(value),
                _ => None,
            });
            if let Some(value) = damaged {
                *value = -7;
                prop_assert!(judge(&history).is_invalid());
            }
        }
    }
}
