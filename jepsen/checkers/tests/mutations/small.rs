//! Small histories, damaged at random: the checker says what brute force says.
use std::collections::BTreeSet;

use checkers::history::{Action, Call, Event, Kind, Outcome, calls};
use checkers::{counter, members, register, set_full};

use crate::Subject;
use crate::oracle::is_possible;
use crate::store::{Dice, Weather, history};

const ROUNDS: u64 = 12_000;

/// Much goes wrong, and little happens: all orders can be tried.
const STORM: Weather = Weather {
    failed: 10,
    unknown: 30,
};

/// A short history whose reads were told anything that they might be told, right or wrong.
fn small(subject: Subject, seed: u64) -> Vec<Call> {
    let mut dice = Dice(seed);
    let steps = 8 + dice.roll(16);
    let mut events = history(subject, steps, 3, STORM, &mut dice);
    events.retain(is_of_one_key);
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index;
    }
    for _ in 0..dice.roll(3) {
        damage(&mut events, &mut dice);
    }
    calls(&events).unwrap()
}

fn is_of_one_key(event: &Event) -> bool {
    match &event.action {
        Action::Add { key, .. }
        | Action::Remove { key, .. }
        | Action::ReadSet { key, .. }
        | Action::ReadMember { key, .. }
        | Action::ReadCount { key, .. }
        | Action::Write { key, .. }
        | Action::Read { key, .. } => key == "k",
        _ => false,
    }
}

fn damage(events: &mut [Event], dice: &mut Dice) {
    let known: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.action {
            Action::Add { element, .. } => Some(element.clone()),
            _ => None,
        })
        .collect();
    let reads = events
        .iter_mut()
        .filter(|event| event.kind == Kind::Ok && event.action.is_read());
    let mut reads: Vec<&mut Event> = reads.collect();
    if reads.is_empty() {
        return;
    }
    let which = dice.roll(reads.len());
    match &mut reads[which].action {
        Action::Read { value, .. } => *value = Some(i64::try_from(dice.roll(3)).unwrap()),
        Action::ReadCount { count, .. } => *count = Some(i64::try_from(dice.roll(4)).unwrap()),
        Action::ReadMember { is_in, .. } => *is_in = is_in.map(|is_in| !is_in),
        Action::ReadSet { elements, .. } => {
            let Some(element) = dice.pick(&known) else {
                return;
            };
            let mut seen: BTreeSet<String> =
                elements.take().unwrap_or_default().into_iter().collect();
            if !seen.remove(element) {
                seen.insert(element.clone());
            }
            *elements = Some(seen.into_iter().collect());
        }
        other => panic!("{other:?}"),
    }
}

/// Compares verdicts over all rounds; how many were impossible.
fn compare(subject: Subject, verdict: impl Fn(u64, &[Call]) -> Option<bool>) -> usize {
    let mut impossible = 0;
    for seed in 0..ROUNDS {
        let calls = small(subject, seed);
        if verdict(seed, &calls) == Some(false) {
            impossible += 1;
        }
    }
    impossible
}

#[test]
fn registers_are_judged_as_by_brute_force() {
    let impossible = compare(Subject::Register, |seed, calls| {
        let is_fine = is_possible(calls);
        let verdict = register::check(calls, 0);
        assert_eq!(
            verdict.is_valid(),
            is_fine,
            "seed {seed}: {verdict:?} {calls:#?}"
        );
        Some(is_fine)
    });
    assert!(impossible > 500, "only {impossible} to be found");
}

/// Each element by itself, and all that are never removed together.
#[test]
fn sets_of_unique_elements_are_judged_as_by_brute_force() {
    let impossible = compare(Subject::Set, |seed, calls| {
        let is_count = |call: &&Call| matches!(call.action, Action::ReadCount { .. });
        let calls: Vec<Call> = calls
            .iter()
            .filter(|call| !is_count(call))
            .cloned()
            .collect();
        let has_reads = calls
            .iter()
            .any(|call| call.action.is_read() && call.outcome == Outcome::Ok);
        if !has_reads {
            return None;
        }
        let mut elements = BTreeSet::new();
        for call in &calls {
            if let Action::Add { element, .. } = &call.action {
                elements.insert(element.as_str());
            }
        }
        let is_fine = elements.iter().all(|one| is_possible(&only(&calls, one)))
            && is_possible(&without_removed(&calls));
        let verdict = set_full::check(&calls);
        // It finds at least that, and refuses nothing that has an order.
        let is_found = is_fine || verdict.is_invalid();
        assert!(is_found, "seed {seed}: {verdict:?} {calls:#?}");
        let is_right = verdict.is_valid() || !is_possible(&calls);
        assert!(is_right, "seed {seed}: {verdict:?} {calls:#?}");
        Some(is_fine)
    });
    assert!(impossible > 500, "only {impossible} to be found");
}

/// The history as if elements that somebody may have removed had never been.
fn without_removed(calls: &[Call]) -> Vec<Call> {
    let mut removed = BTreeSet::new();
    for call in calls.iter().filter(|call| call.outcome != Outcome::Fail) {
        if let Action::Remove { element, .. } = &call.action {
            removed.insert(element.clone());
        }
    }
    let mut kept = Vec::new();
    for call in calls {
        let mut call = call.clone();
        match &mut call.action {
            Action::Add { element, .. } | Action::Remove { element, .. }
                if removed.contains(element) =>
            {
                continue;
            }
            Action::ReadSet {
                elements: Some(elements),
                ..
            } => {
                elements.retain(|element| !removed.contains(element));
            }
            _ => {}
        }
        kept.push(call);
    }
    kept
}

/// Each element by itself: that is what this checker promises.
#[test]
fn elements_that_come_and_go_are_judged_as_by_brute_force() {
    let impossible = compare(Subject::Members, |seed, calls| {
        let is_fine = ["k-e0", "k-e1", "k-e2"]
            .iter()
            .all(|one| is_possible(&only(calls, one)));
        let verdict = members::check(calls);
        assert_eq!(
            verdict.is_valid(),
            is_fine,
            "seed {seed}: {verdict:?} {calls:#?}"
        );
        Some(is_fine)
    });
    assert!(impossible > 500, "only {impossible} to be found");
}

fn only(calls: &[Call], one: &str) -> Vec<Call> {
    let mut kept = Vec::new();
    for call in calls {
        let action = match &call.action {
            Action::Add { element, .. }
            | Action::Remove { element, .. }
            | Action::ReadMember { element, .. }
                if element == one =>
            {
                call.action.clone()
            }
            Action::ReadSet {
                key,
                elements: Some(elements),
            } => {
                if elements
                    .iter()
                    .any(|element| !is_ever_written(calls, element))
                {
                    // Whoever was never added is no part of any state: nobody's own affair.
                    return vec![call.clone()];
                }
                Action::ReadMember {
                    key: key.clone(),
                    element: one.to_owned(),
                    is_in: Some(elements.iter().any(|element| element == one)),
                }
            }
            _ => continue,
        };
        kept.push(Call {
            action,
            ..call.clone()
        });
    }
    kept
}

fn is_ever_written(calls: &[Call], one: &str) -> bool {
    calls.iter().any(|call| match &call.action {
        Action::Add { element, .. } | Action::Remove { element, .. } => element == one,
        _ => false,
    })
}

/// Bounds are wider than the truth: what they refuse is impossible; not the other way round.
#[test]
fn a_count_that_is_refused_is_impossible() {
    let found = std::cell::Cell::new(0);
    let impossible = compare(Subject::Members, |seed, calls| {
        let is_read = |call: &&Call| call.action.is_read();
        let is_count = |call: &&Call| matches!(call.action, Action::ReadCount { .. });
        let counted = calls.iter().filter(|call| !is_read(call) || is_count(call));
        let counted: Vec<Call> = counted.cloned().collect();
        let is_fine = is_possible(&counted);
        if counter::check(&counted).is_invalid() {
            assert!(!is_fine, "seed {seed}: {counted:#?}");
            found.set(found.get() + 1);
        }
        Some(is_fine)
    });
    assert!(
        found.get() * 10 >= impossible * 8,
        "{} of {impossible}",
        found.get()
    );
}
