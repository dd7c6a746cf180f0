//! A feed that is paged through, and clips with their bytes.
use std::collections::BTreeMap;

use checkers::history::{ABSENT, Action};

use crate::store::{Dice, Model};

const PAGE: usize = 3;

/// A feed; oldest first.
#[derive(Default)]
pub(super) struct Pages {
    feed: Vec<String>,
    count: usize,
}

impl Model for Pages {
    fn propose(&mut self, _: usize, dice: &mut Dice) -> Action {
        self.count += 1;
        if dice.roll(3) > 0 {
            let (key, element) = ("feed".into(), format!("v{}", self.count));
            return Action::Add { key, element };
        }
        Action::ReadPages {
            key: "feed".into(),
            is_fresh: dice.roll(2) == 0,
            is_whole: dice.roll(2) == 0,
            pages: None,
        }
    }

    fn apply(&mut self, action: &Action, dice: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Add { element, .. } => self.feed.push(element.clone()),
            Action::ReadPages {
                is_fresh,
                is_whole,
                pages,
                ..
            } => {
                let lag = if *is_fresh {
                    0
                } else {
                    dice.roll(self.feed.len() + 1)
                };
                let until = self.feed.len() - lag;
                let newest: Vec<String> = self.feed[..until].iter().rev().cloned().collect();
                let all = newest.chunks(PAGE).map(<[String]>::to_vec);
                let take = if *is_whole {
                    usize::MAX
                } else {
                    1 + dice.roll(3)
                };
                *pages = Some(all.take(take).collect());
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        vec![Action::ReadPages {
            key: "feed".into(),
            is_fresh: true,
            is_whole: true,
            pages: None,
        }]
    }
}

#[derive(Default)]
pub(super) struct Blob {
    /// Digest by name.
    stored: BTreeMap<String, String>,
    count: usize,
}

impl Model for Blob {
    fn propose(&mut self, _: usize, dice: &mut Dice) -> Action {
        self.count += 1;
        let key = "videos".to_owned();
        let listed: Vec<String> = self.stored.keys().cloned().collect();
        match (dice.roll(3), dice.pick(&listed).cloned()) {
            (0, _) => Action::Upload {
                key,
                name: format!("v{}", self.count),
                digest: format!("d{}", self.count),
            },
            (1, Some(name)) => Action::Download {
                key,
                name,
                part: ["play", "cover"][dice.roll(2)].into(),
                digest: None,
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
            Action::Upload { name, digest, .. } => {
                self.stored.insert(name.clone(), digest.clone());
            }
            Action::ReadSet { elements, .. } => {
                *elements = Some(self.stored.keys().cloned().collect());
            }
            Action::Download {
                name, part, digest, ..
            } => {
                let stored = self.stored.get(name).cloned();
                let cover = |stored| format!("cover of {stored}");
                let found = if part == "play" {
                    stored
                } else {
                    stored.map(cover)
                };
                *digest = Some(found.unwrap_or(ABSENT.to_owned()));
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let key = "videos".to_owned();
        let list = Action::ReadSet {
            key: key.clone(),
            elements: None,
        };
        let plays = self.stored.keys().map(|name| Action::Download {
            key: key.clone(),
            name: name.clone(),
            part: "play".into(),
            digest: None,
        });
        std::iter::once(list).chain(plays).collect()
    }
}
