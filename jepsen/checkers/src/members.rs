//! Sets whose elements come and go again and again: each element is a register of *in* and *out*,
//! linearizable across whole reads, questions for one element, and writes that repeat.
use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Call, Outcome};
use crate::register;
use crate::verdict::Verdict;

/// Judges all sets of a history; each begins empty.
pub fn check(calls: &[Call]) -> Verdict {
    let elements = elements(calls);
    let mut registers = Vec::new();
    for call in calls {
        let one = |key: &str, element: &str, action: fn(String) -> Action| Call {
            action: action(name(key, element)),
            ..call.clone()
        };
        match &call.action {
            Action::Add { key, element } => {
                registers.push(one(key, element, |key| Action::Write { key, value: 1 }));
            }
            Action::Remove { key, element } => {
                registers.push(one(key, element, |key| Action::Write { key, value: 0 }));
            }
            Action::ReadMember {
                key,
                element,
                is_in: Some(is_in),
            } => registers.push(read(call, key, element, *is_in)),
            Action::ReadSet {
                key,
                elements: Some(seen),
            } if call.outcome == Outcome::Ok => {
                let known = elements.get(key.as_str());
                match members(call, key, seen, known) {
                    Ok(reads) => registers.extend(reads),
                    Err(verdict) => return verdict,
                }
            }
            _ => {}
        }
    }
    register::check(&registers, 0)
}

fn name(key: &str, element: &str) -> String {
    format!("{element} in {key}")
}

fn read(call: &Call, key: &str, element: &str, is_in: bool) -> Call {
    Call {
        action: Action::Read {
            key: name(key, element),
            value: Some(i64::from(is_in)),
        },
        ..call.clone()
    }
}

/// What each set may have.
fn elements(calls: &[Call]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut elements: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in calls {
        if let Action::Add { key, element } | Action::Remove { key, element } = &call.action {
            elements.entry(key).or_default().insert(element);
        }
    }
    elements
}

/// One read of a whole set is a read of each of its elements.
fn members(
    call: &Call,
    key: &str,
    seen: &[String],
    known: Option<&BTreeSet<&str>>,
) -> Result<Vec<Call>, Verdict> {
    let empty = BTreeSet::new();
    let known = known.unwrap_or(&empty);
    let invalid = |why| Verdict::Invalid {
        why,
        operations: vec![call.invoked],
    };
    let mut there = BTreeSet::new();
    for element in seen {
        if !there.insert(element.as_str()) {
            return Err(invalid(format!("{element} is twice in {key}")));
        }
        if !known.contains(element.as_str()) {
            return Err(invalid(format!("{element} was never added to {key}")));
        }
    }
    let reads = known.iter();
    Ok(reads
        .map(|element| read(call, key, element, there.contains(element)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, calls};

    fn add() -> Action {
        Action::Add {
            key: "s".into(),
            element: "a".into(),
        }
    }

    fn remove() -> Action {
        Action::Remove {
            key: "s".into(),
            element: "a".into(),
        }
    }

    fn set(elements: &[&str]) -> Action {
        Action::ReadSet {
            key: "s".into(),
            elements: Some(elements.iter().map(|e| (*e).to_owned()).collect()),
        }
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    #[test]
    fn an_element_comes_and_goes() {
        let history = Builder::default()
            .ok(1, add())
            .ok(1, add())
            .ok(2, set(&["a"]))
            .ok(1, remove())
            .ok(2, set(&[]))
            .ok(1, add())
            .ok(2, set(&["a"]));
        assert_eq!(judge(history), Verdict::Valid);
    }

    #[test]
    fn the_stale_the_doubled_and_the_unknown_are_found() {
        let base = || Builder::default().ok(1, add()).ok(1, remove());
        assert!(judge(base().ok(2, set(&["a"]))).is_invalid());
        assert!(judge(base().ok(1, add()).ok(2, set(&[]))).is_invalid());
        assert!(judge(base().ok(1, add()).ok(2, set(&["a", "a"]))).is_invalid());
        assert!(judge(base().ok(2, set(&["x"]))).is_invalid());
        let member = Action::ReadMember {
            key: "s".into(),
            element: "a".into(),
            is_in: Some(true),
        };
        assert!(judge(base().ok(2, member)).is_invalid());
    }
}
