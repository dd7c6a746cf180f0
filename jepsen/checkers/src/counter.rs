//! A count stays within what is possible at that moment, and equals its set when all is quiet.
use std::collections::BTreeMap;

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// Judges every `ReadCount` against the additions to and removals from the set of the same key.
///
/// Elements are unique and added (removed) at most once, so a count lies between what certainly
/// remains and what may be there.
pub fn check(calls: &[Call]) -> Verdict {
    let mut changes: BTreeMap<&str, Vec<(&Call, i64)>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.outcome != Outcome::Fail) {
        match &call.action {
            Action::Add { key, .. } => changes.entry(key).or_default().push((call, 1)),
            Action::Remove { key, .. } => changes.entry(key).or_default().push((call, -1)),
            _ => {}
        }
    }
    for read in calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        let Action::ReadCount {
            key,
            count: Some(count),
        } = &read.action
        else {
            continue;
        };
        let changes = changes.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let (lower, upper) = bounds(read, changes);
        if !(lower..=upper).contains(count) {
            return Verdict::Invalid {
                why: format!("{key} was read as {count}, possible is {lower} to {upper}"),
                operations: vec![read.invoked],
            };
        }
    }
    Verdict::Valid
}

fn bounds(read: &Call, changes: &[(&Call, i64)]) -> (i64, i64) {
    let (mut lower, mut upper) = (0, 0);
    for (change, by) in changes {
        let is_certain =
            change.outcome == Outcome::Ok && change.ended.is_some_and(|ended| ended < read.invoked);
        let is_possible = read.ended.is_none_or(|ended| change.invoked < ended);
        match (is_certain, is_possible) {
            (true, _) => {
                lower += by;
                upper += by;
            }
            (false, true) if *by > 0 => upper += by,
            (false, true) => lower += by,
            (false, false) => {}
        }
    }
    (lower, upper)
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
}
