//! Nothing acknowledged is lost, doubled, or resurrected: Jepsen's set-full, with removal.
//!
//! Per element: what the last of its additions and removals were, and what each read that began
//! after them saw. Reads are expected to be fresh (read-your-writes over a linearizable log).
use std::collections::BTreeMap;

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// What is known of one element of one set.
#[derive(Default)]
struct Element<'a> {
    adds: Vec<&'a Call>,
    removes: Vec<&'a Call>,
}

/// Judges all sets of a history. An element may be added once and removed once.
pub fn check(calls: &[Call]) -> Verdict {
    let mut sets: BTreeMap<&str, BTreeMap<&str, Element<'_>>> = BTreeMap::new();
    for call in calls {
        match &call.action {
            Action::Add { key, element } => {
                let set = sets.entry(key).or_default();
                set.entry(element).or_default().adds.push(call);
            }
            Action::Remove { key, element } => {
                let set = sets.entry(key).or_default();
                set.entry(element).or_default().removes.push(call);
            }
            _ => {}
        }
    }
    let mut reads = 0;
    for read in calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        if let Action::ReadSet {
            key,
            elements: Some(elements),
        } = &read.action
        {
            reads += 1;
            let empty = BTreeMap::new();
            let set = sets.get(key.as_str()).unwrap_or(&empty);
            let verdict = check_read(read, set, elements);
            if verdict.is_invalid() {
                return verdict;
            }
        }
    }
    if reads == 0 && !sets.is_empty() {
        return Verdict::Unknown {
            why: "no set was ever read".into(),
        };
    }
    Verdict::Valid
}

fn invalid(why: String, read: &Call, others: &[&Call]) -> Verdict {
    let mut operations: Vec<usize> = others.iter().map(|call| call.invoked).collect();
    operations.push(read.invoked);
    Verdict::Invalid { why, operations }
}

fn check_read(read: &Call, set: &BTreeMap<&str, Element<'_>>, elements: &[String]) -> Verdict {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for element in elements {
        *counts.entry(element).or_default() += 1;
    }
    for (element, count) in &counts {
        if *count > 1 {
            return invalid(format!("{element} is there {count} times"), read, &[]);
        }
        let Some(known) = set.get(element) else {
            return invalid(format!("{element} was never added"), read, &[]);
        };
        let verdict = check_present(read, element, known);
        if verdict.is_invalid() {
            return verdict;
        }
    }
    for (element, known) in set {
        if !counts.contains_key(element) {
            let verdict = check_absent(read, element, known);
            if verdict.is_invalid() {
                return verdict;
            }
        }
    }
    Verdict::Valid
}

/// Did `first` certainly end before `second` began?
fn precedes(first: &Call, second: &Call) -> bool {
    first.ended.is_some_and(|ended| ended < second.invoked)
}

fn check_present(read: &Call, element: &str, known: &Element<'_>) -> Verdict {
    let may_be = known
        .adds
        .iter()
        .any(|add| add.outcome != Outcome::Fail && read.ended.is_none_or(|end| add.invoked < end));
    if !may_be {
        return invalid(
            format!("{element} is there though its addition failed or began later"),
            read,
            &known.adds,
        );
    }
    let removed = known
        .removes
        .iter()
        .find(|remove| remove.outcome == Outcome::Ok && precedes(remove, read));
    match removed {
        // Only if every addition was over before the removal began is it certainly gone.
        Some(remove) if known.adds.iter().all(|add| precedes(add, remove)) => invalid(
            format!("{element} was removed and is back"),
            read,
            &[remove],
        ),
        _ => Verdict::Valid,
    }
}

fn check_absent(read: &Call, element: &str, known: &Element<'_>) -> Verdict {
    let may_be_removed = known
        .removes
        .iter()
        .any(|remove| remove.outcome != Outcome::Fail && !precedes(read, remove));
    let added = known
        .adds
        .iter()
        .find(|add| add.outcome == Outcome::Ok && precedes(add, read));
    match added {
        Some(add) if !may_be_removed => invalid(
            format!("{element} was acknowledged and is lost"),
            read,
            &[add],
        ),
        _ => Verdict::Valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Event, Kind, calls};

    fn add(element: &str) -> Action {
        Action::Add {
            key: "s".into(),
            element: element.into(),
        }
    }

    fn remove(element: &str) -> Action {
        Action::Remove {
            key: "s".into(),
            element: element.into(),
        }
    }

    fn read(elements: &[&str]) -> Action {
        Action::ReadSet {
            key: "s".into(),
            elements: Some(elements.iter().map(|e| (*e).to_owned()).collect()),
        }
    }

    fn judge(history: &[Event]) -> Verdict {
        check(&calls(history).unwrap())
    }

    #[test]
    fn what_was_acknowledged_must_be_read() {
        let history = Builder::default().ok(1, add("a"));
        assert!(judge(&history.ok(2, read(&["a"])).build()).is_valid());
        let lost = Builder::default().ok(1, add("a")).ok(2, read(&[])).build();
        assert!(judge(&lost).is_invalid());
    }

    #[test]
    fn what_is_not_known_may_be_there_or_not() {
        for seen in [&["a"][..], &[]] {
            let history = Builder::default()
                .event(1, Kind::Invoke, add("a"))
                .event(1, Kind::Info, add("a"))
                .ok(2, read(seen))
                .build();
            assert!(judge(&history).is_valid());
        }
    }

    #[test]
    fn what_failed_must_not_be_there() {
        let history = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(1, Kind::Fail, add("a"))
            .ok(2, read(&["a"]))
            .build();
        assert!(judge(&history).is_invalid());
    }

    #[test]
    fn doubles_phantoms_and_the_resurrected_are_found() {
        let base = || Builder::default().ok(1, add("a"));
        assert!(judge(&base().ok(2, read(&["a", "a"])).build()).is_invalid());
        assert!(judge(&base().ok(2, read(&["a", "x"])).build()).is_invalid());
        let removed = base().ok(1, remove("a"));
        assert!(judge(&removed.ok(2, read(&["a"])).build()).is_invalid());
        let gone = base().ok(1, remove("a")).ok(2, read(&[]));
        assert!(judge(&gone.build()).is_valid());
    }

    #[test]
    fn a_read_that_overlaps_may_see_either() {
        for seen in [&["a"][..], &[]] {
            let history = Builder::default()
                .event(2, Kind::Invoke, read(&[]))
                .ok(1, add("a"))
                .event(2, Kind::Ok, read(seen))
                .build();
            assert!(judge(&history).is_valid());
        }
    }

    #[test]
    fn a_set_that_nobody_read_is_no_pass() {
        let history = Builder::default().ok(1, add("a")).build();
        assert!(matches!(judge(&history), Verdict::Unknown { .. }));
    }
}
