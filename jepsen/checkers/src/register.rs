//! Linearizability of registers, each key by itself: Wing & Gong's search as Lowe refined it.
//!
//! The search walks the history, takes an operation that may come first, and goes back when it gets
//! stuck; states that were tried (which operations are taken, what the value is) are remembered.
//! Two things keep it small where faults leave many writes of unknown fate:
//! - such a write is only worth taking right before a read of its value, and of several with one
//!   value the earliest will do, so that states count them and do not name them;
//! - a read that fits the value as it stands may always be taken at once, with no way back.
use std::collections::{BTreeMap, HashSet};

use crate::history::{Action, Call, Outcome};
use crate::shrink;
use crate::verdict::Verdict;

/// More steps than this on one key end in `Unknown`; the memory follows the steps.
pub const STEPS_MAX: usize = 1_000_000;

/// An end that never came: it may take effect at any later time, or never.
pub(crate) const NEVER: usize = usize::MAX;

/// One operation on a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Index of the invocation; it names the operation.
    pub(crate) invoked: usize,
    /// Index of the end, or [`NEVER`].
    pub(crate) ended: usize,
    /// What is written, or what was read.
    pub(crate) value: i64,
    pub(crate) is_write: bool,
}

/// Judges all registers; every register begins at `initial`.
pub fn check(calls: &[Call], initial: i64) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.outcome != Outcome::Fail) {
        let (key, value, is_write) = match &call.action {
            Action::Write { key, value } => (key, *value, true),
            Action::Read {
                key,
                value: Some(value),
            } if call.outcome == Outcome::Ok => (key, *value, false),
            _ => continue,
        };
        let operation = Operation::of(call, value, is_write);
        keys.entry(key).or_default().push(operation);
    }
    keys.iter()
        .map(|(key, operations)| check_key(key, operations, initial))
        .fold(Verdict::Valid, Verdict::and)
}

impl Operation {
    pub(crate) fn of(call: &Call, value: i64, is_write: bool) -> Self {
        let ended = match call.outcome {
            Outcome::Ok => call.ended.unwrap_or(NEVER),
            Outcome::Fail | Outcome::Unknown => NEVER,
        };
        Self {
            invoked: call.invoked,
            ended,
            value,
            is_write,
        }
    }
}

/// Judges one register. Failed operations are none.
pub(crate) fn check_key(key: &str, operations: &[Operation], initial: i64) -> Verdict {
    match is_linearizable(operations, initial) {
        Some(true) => Verdict::Valid,
        Some(false) => {
            let few = shrink::shrink(operations, initial);
            Verdict::Invalid {
                why: format!("{key}: no order explains {}", in_words(&few)),
                operations: few.iter().map(|operation| operation.invoked).collect(),
            }
        }
        None => Verdict::Unknown {
            why: format!("{key}: not decided after {STEPS_MAX} steps"),
        },
    }
}

fn in_words(operations: &[Operation]) -> String {
    const WORDS_MAX: usize = 8;
    let words = operations.iter().take(WORDS_MAX).map(|operation| {
        let deed = if operation.is_write { "write" } else { "read" };
        let fate = if operation.ended == NEVER {
            " (outcome not known)"
        } else {
            ""
        };
        format!("{deed} {}{fate}", operation.value)
    });
    let mut words = words.collect::<Vec<_>>().join(", ");
    if operations.len() > WORDS_MAX {
        words.push_str(", …");
    }
    words
}

/// `None` when it takes too long to tell.
pub(crate) fn is_linearizable(operations: &[Operation], initial: i64) -> Option<bool> {
    let read: HashSet<i64> = operations
        .iter()
        .filter(|operation| !operation.is_write)
        .map(|operation| operation.value)
        .collect();
    // A write of unknown fate that nobody read need not have been.
    let mut unknown: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut certain = Vec::new();
    for operation in operations {
        if operation.ended != NEVER {
            certain.push(*operation);
        } else if operation.is_write && read.contains(&operation.value) {
            let same = unknown.entry(operation.value).or_default();
            same.push(operation.invoked);
        }
    }
    for same in unknown.values_mut() {
        same.sort_unstable();
    }
    Search::new(&certain, unknown, initial).run()
}

/// A beginning or an end, in a list that operations are taken out of and put back into.
#[derive(Clone, Copy)]
struct Node {
    operation: usize,
    is_end: bool,
    /// Index in the history.
    at: usize,
    next: usize,
    before: usize,
}

/// A step that was taken, as it is needed to go back.
struct Step {
    operation: usize,
    value_before: i64,
    hash_before: u128,
    took_unknown: bool,
    /// It could not be wrong: there is nothing else to try in its place.
    is_free: bool,
}

struct Search<'a> {
    certain: &'a [Operation],
    /// Beginnings of writes of unknown fate, by value, and how many of each are taken.
    unknown: BTreeMap<i64, (Vec<usize>, usize)>,
    /// The first is a head that stays.
    nodes: Vec<Node>,
    /// The nodes of each operation: beginning and end.
    places: Vec<(usize, usize)>,
    path: Vec<Step>,
    value: i64,
    /// Stands for what is taken; 128 bits, so that no two states look alike.
    hash: u128,
    seen: HashSet<(u128, i64)>,
}

const HEAD: usize = 0;

impl<'a> Search<'a> {
    fn new(certain: &'a [Operation], unknown: BTreeMap<i64, Vec<usize>>, value: i64) -> Self {
        let mut marks = Vec::new();
        for (operation, one) in certain.iter().enumerate() {
            marks.push((one.invoked, false, operation));
            marks.push((one.ended, true, operation));
        }
        marks.sort_unstable();
        let mut places = vec![(HEAD, HEAD); certain.len()];
        let mut nodes = vec![Node {
            operation: 0,
            is_end: false,
            at: 0,
            next: 1,
            before: HEAD,
        }];
        for (at, is_end, operation) in marks {
            let place = nodes.len();
            nodes.push(Node {
                operation,
                is_end,
                at,
                next: place + 1,
                before: place - 1,
            });
            if is_end {
                places[operation].1 = place;
            } else {
                places[operation].0 = place;
            }
        }
        // The list ends where it begins.
        let last = nodes.len() - 1;
        nodes[last].next = HEAD;
        let unknown = unknown.into_iter();
        Self {
            certain,
            unknown: unknown.map(|(value, same)| (value, (same, 0))).collect(),
            nodes,
            places,
            path: Vec::new(),
            value,
            hash: 0,
            seen: HashSet::new(),
        }
    }

    fn run(&mut self) -> Option<bool> {
        self.take_free();
        let mut place = self.nodes[HEAD].next;
        for _ in 0..STEPS_MAX {
            if self.nodes[HEAD].next == HEAD {
                return Some(true);
            }
            let node = self.nodes[place];
            if !node.is_end {
                if self.take(node.operation) {
                    self.take_free();
                    place = self.nodes[HEAD].next;
                } else {
                    place = node.next;
                }
                continue;
            }
            // Nothing that began after this end may come before it: this way leads nowhere.
            match self.go_back() {
                Some(operation) => place = self.nodes[self.places[operation].0].next,
                None => return Some(false),
            }
        }
        None
    }

    /// Takes an operation if it may come now and leads to a state not yet tried.
    fn take(&mut self, operation: usize) -> bool {
        let Operation {
            value, is_write, ..
        } = self.certain[operation];
        let is_free = !is_write && value == self.value;
        let took_unknown = !is_write && value != self.value;
        let mut hash = self.hash ^ noise(operation as u64);
        if took_unknown {
            let horizon = self.horizon();
            let Some((same, taken)) = self.unknown.get(&value) else {
                return false;
            };
            if same.get(*taken).is_none_or(|invoked| *invoked > horizon) {
                return false;
            }
            hash ^= noise(value.cast_unsigned().rotate_left(32) ^ !(*taken as u64));
        }
        if !self.seen.insert((hash, value)) {
            return false;
        }
        self.path.push(Step {
            operation,
            value_before: self.value,
            hash_before: self.hash,
            took_unknown,
            is_free,
        });
        self.count_unknown(value, took_unknown, true);
        self.value = value;
        self.hash = hash;
        self.lift(operation);
        true
    }

    /// Takes the reads that fit the value as it stands.
    fn take_free(&mut self) {
        let mut place = self.nodes[HEAD].next;
        // Bounded by the first end; the head is never one, the list then is empty.
        while place != HEAD && !self.nodes[place].is_end {
            let Node {
                operation, next, ..
            } = self.nodes[place];
            let one = self.certain[operation];
            if !one.is_write && one.value == self.value && self.take(operation) {
                place = self.nodes[HEAD].next;
            } else {
                place = next;
            }
        }
    }

    /// Undoes the latest step that could have been another; its operation.
    fn go_back(&mut self) -> Option<usize> {
        while let Some(step) = self.path.pop() {
            self.unlift(step.operation);
            let value = self.certain[step.operation].value;
            self.count_unknown(value, step.took_unknown, false);
            self.value = step.value_before;
            self.hash = step.hash_before;
            if !step.is_free {
                return Some(step.operation);
            }
        }
        None
    }

    fn count_unknown(&mut self, value: i64, is_unknown: bool, is_taken: bool) {
        if let Some((_, taken)) = self.unknown.get_mut(&value).filter(|_| is_unknown) {
            *taken = if is_taken { *taken + 1 } else { *taken - 1 };
        }
    }

    /// The first end that is still open: whatever comes next began before it.
    fn horizon(&self) -> usize {
        let mut place = self.nodes[HEAD].next;
        while !self.nodes[place].is_end {
            place = self.nodes[place].next;
        }
        self.nodes[place].at
    }

    fn lift(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        for place in [begin, end] {
            let Node { next, before, .. } = self.nodes[place];
            self.nodes[before].next = next;
            self.nodes[next].before = before;
        }
    }

    fn unlift(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        for place in [end, begin] {
            let Node { next, before, .. } = self.nodes[place];
            self.nodes[before].next = place;
            self.nodes[next].before = place;
        }
    }
}

/// A number's own 128 bits (SplitMix64's finish, twice): states are told apart by their sums.
fn noise(number: u64) -> u128 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    u128::from(mix(number)) << 64 | u128::from(mix(mix(number ^ 0x5851_f42d_4c95_7f2d)))
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

    #[test]
    fn thirty_writes_of_unknown_fate_are_no_trouble() {
        let mut history = Builder::default();
        for n in 0..30 {
            let action = write(i64::from(n % 2 == 0));
            history = history
                .event(n, Kind::Invoke, action.clone())
                .event(n, Kind::Info, action);
        }
        for n in 0..120 {
            let process = 100 + n % 4;
            history = history.ok(process, read(i64::from(n % 8 < 4)));
            if n % 3 == 0 {
                history = history.ok(process, write(i64::from(n % 2 == 0)));
            }
        }
        assert!(!matches!(judge(&history.build()), Verdict::Unknown { .. }));
        let mut flips = Builder::default();
        for n in 0..30 {
            flips = flips
                .event(n, Kind::Invoke, write(1))
                .event(n, Kind::Info, write(1));
        }
        for _ in 0..30 {
            flips = flips.ok(99, write(0)).ok(98, read(0)).ok(97, read(1));
        }
        let flips = flips.ok(99, write(0));
        assert!(
            judge(&flips.ok(97, read(1)).build()).is_invalid(),
            "the 31st has no cause"
        );
    }

    #[test]
    fn a_contradiction_is_told_in_few_operations() {
        let mut history = Builder::default();
        for n in 0..100 {
            history = history.ok(1, write(n % 2)).ok(2, read(n % 2));
        }
        let Verdict::Invalid { why, operations } = judge(&history.ok(3, read(0)).build()) else {
            panic!("a stale read");
        };
        assert!(operations.len() <= 3, "{operations:?}");
        assert!(why.contains("write 1, read 0"), "{why}");
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
