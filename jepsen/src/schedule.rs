//! When which fault happens: a pure function of the seed and of the kinds of faults.
//!
//! After a quiet start, every few seconds one fault begins, sometimes two; a quarter of the time
//! nothing. Kinds come from a shuffled deck, so that each has its turn before any comes again.
use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// A kind of fault, as far as the schedule cares.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Kinds of the same class do not begin together.
    pub(crate) class: &'static str,
    pub(crate) length_ms: (u64, u64),
}

/// One fault to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// Milliseconds after the start of the main phase.
    pub(crate) at_ms: u64,
    pub(crate) fault: String,
    pub(crate) length_ms: u64,
    /// Decides targets and details.
    pub(crate) roll: u64,
}

/// How long nothing is broken at the start.
pub(crate) const QUIET_MS: u64 = 5_000;
/// Periods between two beginnings.
const PERIOD_MS: (u64, u64) = (5_000, 10_000);
/// So long nothing begins before the end.
const LAST_MS: u64 = 3_000;

/// The faults of `seconds` seconds.
pub(crate) fn plan(seed: u64, seconds: u64, kinds: &[Kind]) -> Vec<Planned> {
    let mut dice = Dice::named(seed, "schedule");
    let mut deck = Deck::default();
    let mut planned = Vec::new();
    let mut at_ms = 0;
    let end_ms = (seconds * 1_000).saturating_sub(LAST_MS);
    // With many kinds and little time, each still has its turn.
    let classes = classes(kinds) as u64;
    let is_short = end_ms < (classes + kinds.len() as u64) * (PERIOD_MS.0 + PERIOD_MS.1) / 2;
    while at_ms < end_ms && !kinds.is_empty() {
        let period = if is_short {
            let fitting = end_ms / classes.max(1);
            dice.between(
                fitting.min(PERIOD_MS.0) / 2 + 1,
                fitting.clamp(PERIOD_MS.0 / 2 + 1, PERIOD_MS.0),
            )
        } else {
            dice.between(PERIOD_MS.0, PERIOD_MS.1)
        };
        let count = match dice.roll(8) {
            0 | 1 if !is_short => 0,
            2 | 3 => 2,
            _ => 1,
        };
        let mut begun: Vec<&Kind> = Vec::new();
        for _ in 0..count {
            let kind = deck.draw(kinds, &mut dice);
            if begun.iter().any(|other| other.class == kind.class) {
                deck.put_back(kind);
                continue;
            }
            begun.push(kind);
            planned.push(Planned {
                at_ms: at_ms + dice.roll(500),
                fault: kind.name.to_owned(),
                length_ms: dice.between(kind.length_ms.0, kind.length_ms.1),
                roll: dice.next(),
            });
        }
        at_ms += period;
    }
    planned.sort_by_key(|one| one.at_ms);
    planned
}

fn classes(kinds: &[Kind]) -> usize {
    let classes: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.class).collect();
    classes.len()
}

/// Kinds in shuffled order, class by class in turn, until all were drawn.
#[derive(Default)]
struct Deck<'a>(Vec<&'a Kind>);

impl<'a> Deck<'a> {
    fn draw(&mut self, kinds: &'a [Kind], dice: &mut Dice) -> &'a Kind {
        if self.0.is_empty() {
            self.0 = in_turn(kinds, dice);
        }
        self.0.pop().expect("just filled")
    }

    fn put_back(&mut self, kind: &'a Kind) {
        let place = self.0.len().saturating_sub(1);
        self.0.insert(place, kind);
    }
}

/// Turns that a class has before the deck is through, however few kinds it has: some of them will
/// be skipped, since other faults are in the way.
const TURNS_MIN: usize = 3;

/// Shuffled such that the last ones, which are drawn first, are of different classes.
fn in_turn<'a>(kinds: &'a [Kind], dice: &mut Dice) -> Vec<&'a Kind> {
    let mut classes: std::collections::BTreeMap<&str, Vec<&Kind>> = Default::default();
    for kind in kinds {
        classes.entry(kind.class).or_default().push(kind);
    }
    let mut left: Vec<&Kind> = classes
        .into_values()
        .flat_map(|class| {
            let turns = class.len().max(TURNS_MIN);
            class.into_iter().cycle().take(turns)
        })
        .collect();
    dice.shuffle(&mut left);
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let mut round: Vec<&str> = Vec::new();
        let (now, later): (Vec<&Kind>, Vec<&Kind>) = left.into_iter().partition(|kind| {
            let is_new = !round.contains(&kind.class);
            round.push(kind.class);
            is_new
        });
        ordered.extend(now);
        left = later;
    }
    ordered.reverse();
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn kinds() -> Vec<Kind> {
        let kind = |name, class| Kind {
            name,
            class,
            length_ms: (1_000, 8_000),
        };
        vec![
            kind("kill-one", "kill"),
            kind("kill-all", "kill"),
            kind("pause", "pause"),
            kind("halves", "partition"),
            kind("ring", "partition"),
            kind("bridge", "partition"),
        ]
    }

    #[test]
    fn the_same_seed_plans_the_same_and_another_does_not() {
        let two_minutes = |seed| plan(seed, 120, &kinds());
        assert_eq!(two_minutes(7), two_minutes(7));
        assert_ne!(two_minutes(7), two_minutes(8));
    }

    #[test]
    fn each_class_has_its_turn_within_a_minute_and_each_kind_within_five() {
        for seed in 0..200 {
            let kinds = kinds();
            let class = |name: &str| kinds.iter().find(|kind| kind.name == name).unwrap().class;
            let minute = plan(seed, 60, &kinds);
            let seen: BTreeSet<&str> = minute.iter().map(|one| class(&one.fault)).collect();
            assert_eq!(seen.len(), 3, "seed {seed}: {minute:?}");
            let long = plan(seed, 300, &kinds);
            let seen: BTreeSet<&str> = long.iter().map(|one| one.fault.as_str()).collect();
            assert_eq!(seen.len(), kinds.len(), "seed {seed}");
        }
    }

    #[test]
    fn a_class_of_one_kind_has_as_many_turns_as_others() {
        for seed in 0..200 {
            let long = plan(seed, 300, &kinds());
            let pauses = long.iter().filter(|one| one.fault == "pause").count();
            assert!(pauses >= TURNS_MIN, "seed {seed}: {pauses}");
        }
    }

    #[test]
    fn it_ends_in_time_and_has_quiet_periods() {
        let plan = plan(3, 600, &kinds());
        assert!(plan.iter().all(|one| one.at_ms < 600_000 - LAST_MS + 500));
        let gaps = plan.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms);
        assert!(gaps.max().unwrap() > PERIOD_MS.1, "nothing was ever quiet");
        assert!(super::plan(3, 600, &[]).is_empty());
    }
}
