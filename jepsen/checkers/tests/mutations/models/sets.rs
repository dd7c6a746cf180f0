//! Sets and registers.
use std::collections::{BTreeMap, BTreeSet};

use checkers::history::Action;

use super::key;
use crate::store::{Dice, Model};

/// Sets of unique elements, or of few that come and go.
#[derive(Default)]
pub(super) struct Set {
    pub(super) is_toggled: bool,
    pub(super) sets: BTreeMap<String, BTreeSet<String>>,
    pub(super) count: usize,
}

impl Model for Set {
    fn propose(&mut self, _: usize, dice: &mut Dice) -> Action {
        let key = key(dice);
        self.count += 1;
        let there: Vec<String> = self
            .sets
            .entry(key.clone())
            .or_default()
            .iter()
            .cloned()
            .collect();
        let element = if self.is_toggled {
            format!("{key}-e{}", dice.roll(3))
        } else {
            format!("{key}{}", self.count)
        };
        match (dice.roll(10), dice.pick(&there).cloned()) {
            (0..4, _) => Action::Add { key, element },
            (4 | 5, _) if self.is_toggled => Action::Remove { key, element },
            (4, Some(element)) => Action::Remove { key, element },
            (6 | 7, _) => Action::ReadCount { key, count: None },
            (8, _) if self.is_toggled => Action::ReadMember {
                key,
                element,
                is_in: None,
            },
            _ => Action::ReadSet {
                key,
                elements: None,
            },
        }
    }

    fn apply(&mut self, action: &Action, _: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Add { key, element } => {
                self.sets
                    .entry(key.clone())
                    .or_default()
                    .insert(element.clone());
            }
            Action::Remove { key, element } => {
                self.sets.entry(key.clone()).or_default().remove(element);
            }
            Action::ReadSet { key, elements } => {
                let set = self.sets.entry(key.clone()).or_default();
                *elements = Some(set.iter().cloned().collect());
            }
            Action::ReadCount { key, count } => {
                let set = self.sets.entry(key.clone()).or_default();
                *count = Some(i64::try_from(set.len()).unwrap());
            }
            Action::ReadMember {
                key,
                element,
                is_in,
            } => {
                let set = self.sets.entry(key.clone()).or_default();
                *is_in = Some(set.contains(element));
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let keys = self.sets.keys();
        keys.flat_map(|key| {
            let (key, elements, count) = (key.clone(), None, None);
            [
                Action::ReadSet {
                    key: key.clone(),
                    elements,
                },
                Action::ReadCount { key, count },
            ]
        })
        .collect()
    }
}

#[derive(Default)]
pub(super) struct Register {
    values: BTreeMap<String, i64>,
}

impl Model for Register {
    fn propose(&mut self, _: usize, dice: &mut Dice) -> Action {
        let key = key(dice);
        if dice.roll(2) == 0 {
            return Action::Read { key, value: None };
        }
        let value = i64::try_from(dice.roll(3)).unwrap();
        Action::Write { key, value }
    }

    fn apply(&mut self, action: &Action, _: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Write { key, value } => {
                self.values.insert(key.clone(), *value);
            }
            Action::Read { key, value } => {
                *value = Some(self.values.get(key).copied().unwrap_or(0));
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let keys = ["k", "l"].into_iter();
        keys.map(|key| Action::Read {
            key: key.into(),
            value: None,
        })
        .collect()
    }
}
