//! Brute force: is there any order at all that explains a small history?
use std::collections::{BTreeMap, BTreeSet};

use checkers::history::{Action, Call, Outcome};

#[derive(Clone, Default)]
struct State {
    registers: BTreeMap<String, i64>,
    sets: BTreeMap<String, BTreeSet<String>>,
}

impl State {
    /// `None`: that is not what it would have answered.
    fn after(&self, action: &Action) -> Option<Self> {
        let mut state = self.clone();
        let set = |key: &String| self.sets.get(key).cloned().unwrap_or_default();
        let is_true = match action {
            Action::Write { key, value } => {
                state.registers.insert(key.clone(), *value);
                true
            }
            Action::Read { key, value } => {
                *value == Some(self.registers.get(key).copied().unwrap_or(0))
            }
            Action::Add { key, element } => {
                state
                    .sets
                    .entry(key.clone())
                    .or_default()
                    .insert(element.clone());
                true
            }
            Action::Remove { key, element } => {
                state.sets.entry(key.clone()).or_default().remove(element);
                true
            }
            Action::ReadSet { key, elements } => {
                let expected: Vec<String> = set(key).into_iter().collect();
                let mut elements = elements.clone().unwrap_or_default();
                elements.sort();
                elements == expected
            }
            Action::ReadMember {
                key,
                element,
                is_in,
            } => *is_in == Some(set(key).contains(element)),
            Action::ReadCount { key, count } => {
                *count == Some(i64::try_from(set(key).len()).unwrap())
            }
            other => panic!("{other:?}"),
        };
        is_true.then_some(state)
    }
}

/// Tries all orders of what certainly happened, with any of what may have.
pub(crate) fn is_possible(calls: &[Call]) -> bool {
    let calls: Vec<&Call> = calls
        .iter()
        .filter(|call| match call.outcome {
            Outcome::Ok => true,
            Outcome::Unknown => !call.action.is_read(),
            Outcome::Fail => false,
        })
        .collect();
    search(&calls, &mut vec![false; calls.len()], &State::default())
}

fn search(calls: &[&Call], taken: &mut Vec<bool>, state: &State) -> bool {
    let open = |n: &usize| !taken[*n];
    let left: Vec<usize> = (0..calls.len()).filter(open).collect();
    if left.iter().all(|n| calls[*n].outcome != Outcome::Ok) {
        return true;
    }
    let end = |n: &usize| match calls[*n].outcome {
        Outcome::Ok => calls[*n].ended.unwrap_or(usize::MAX),
        Outcome::Fail | Outcome::Unknown => usize::MAX,
    };
    let horizon = left.iter().map(end).min().unwrap_or(usize::MAX);
    for n in left {
        if calls[n].invoked > horizon {
            continue;
        }
        if let Some(next) = state.after(&calls[n].action) {
            taken[n] = true;
            let is_found = search(calls, taken, &next);
            taken[n] = false;
            if is_found {
                return true;
            }
        }
    }
    false
}
