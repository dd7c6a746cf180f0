//! A count stays within what is possible at that moment, and equals its set when all is quiet.
use std::collections::BTreeMap;

use crate::history::{Action, Call, Outcome};
use crate::possible::{self, Flag};
use crate::verdict::Verdict;

/// Writes that are named beside a count that is wrong.
const NAMED_MAX: usize = 5;

/// Judges every `ReadCount` against the additions to and removals from the set of the same key.
///
/// Elements may come and go again and again: a count lies between the number of those that are
/// certainly there and the number of those that may be.
pub fn check(calls: &[Call]) -> Verdict {
    let mut sets: BTreeMap<&str, BTreeMap<&str, Flag>> = BTreeMap::new();
    for call in calls {
        let (key, element, is_in) = match &call.action {
            Action::Add { key, element } => (key, element, true),
            Action::Remove { key, element } => (key, element, false),
            _ => continue,
        };
        let flag = sets.entry(key).or_default().entry(element).or_default();
        flag.write(call, is_in);
    }
    let empty = BTreeMap::new();
    for read in calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        let Action::ReadCount {
            key,
            count: Some(count),
        } = &read.action
        else {
            continue;
        };
        let set = sets.get(key.as_str()).unwrap_or(&empty);
        let until = read.ended.unwrap_or(usize::MAX);
        let (lower, upper) = possible::bounds(set.values(), read.invoked, until);
        if !(lower..=upper).contains(count) {
            let mut operations = latest(set, until);
            operations.push(read.invoked);
            return Verdict::Invalid {
                why: format!("{key} was counted as {count}, possible is {lower} to {upper}"),
                operations,
            };
        }
    }
    Verdict::Valid
}

/// The latest changes before the count.
fn latest(set: &BTreeMap<&str, Flag>, until: usize) -> Vec<usize> {
    let each = set.values().flat_map(|flag| flag.latest(until, NAMED_MAX));
    let mut latest: Vec<usize> = each.collect();
    latest.sort_unstable();
    latest.split_off(latest.len().saturating_sub(NAMED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Kind, calls};

    fn add(element: &str) -> Action {
        Action::Add {
            key: "v".into(),
            element: element.into(),
        }
    }

    fn remove(element: &str) -> Action {
        Action::Remove {
            key: "v".into(),
            element: element.into(),
        }
    }

    fn count(count: i64) -> Action {
        Action::ReadCount {
            key: "v".into(),
            count: Some(count),
        }
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    #[test]
    fn at_rest_the_count_is_exact() {
        let base = || {
            Builder::default()
                .ok(1, add("a"))
                .ok(1, add("b"))
                .ok(1, remove("a"))
        };
        assert!(judge(base().ok(2, count(1))).is_valid());
        for wrong in [0, 2, 3] {
            assert!(judge(base().ok(2, count(wrong))).is_invalid(), "{wrong}");
        }
    }

    #[test]
    fn what_is_under_way_may_or_may_not_count() {
        for (seen, is_fine) in [(0, true), (1, true), (2, false), (-1, false)] {
            let history = Builder::default()
                .event(1, Kind::Invoke, add("a"))
                .ok(2, count(seen));
            assert_eq!(judge(history).is_valid(), is_fine, "{seen}");
        }
    }

    #[test]
    fn what_failed_does_not_count() {
        let history = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(1, Kind::Fail, add("a"))
            .ok(2, count(1));
        assert!(judge(history).is_invalid());
    }

    #[test]
    fn what_comes_and_goes_counts_once() {
        let base = || {
            Builder::default()
                .ok(1, add("a"))
                .ok(2, add("a"))
                .ok(1, remove("a"))
                .ok(1, add("a"))
        };
        assert!(judge(base().ok(3, count(1))).is_valid());
        assert!(judge(base().ok(3, count(2))).is_invalid());
        assert!(judge(base().ok(1, remove("a")).ok(3, count(1))).is_invalid());
    }
}
