//! Logs of messages, and of comments that sessions read.
use std::collections::BTreeMap;

use checkers::history::{Action, Level};

use super::key;
use crate::store::{Dice, Model};

/// Logs of all keys in one order, as entries of one replicated log.
#[derive(Default)]
pub(super) struct Log {
    pub(super) has_sessions: bool,
    /// Key, sender, text.
    pub(super) entries: Vec<(String, String, String)>,
    /// How far each session has seen.
    pub(super) positions: BTreeMap<String, usize>,
    pub(super) count: usize,
}

impl Log {
    fn texts(&self, key: &str, until: usize) -> Vec<String> {
        let entries = self.entries[..until].iter().filter(|entry| entry.0 == key);
        entries.map(|entry| entry.2.clone()).collect()
    }

    /// Where a read of this level stands.
    fn position(&self, session: &str, level: Level, dice: &mut Dice) -> usize {
        let end = self.entries.len();
        let least = match level {
            Level::Local => 0,
            Level::Session => self.positions.get(session).copied().unwrap_or(0),
            Level::Fresh => end,
        };
        least + dice.roll(end - least + 1)
    }
}

impl Model for Log {
    fn propose(&mut self, client: usize, dice: &mut Dice) -> Action {
        let (key, session) = (key(dice), format!("s{client}"));
        self.count += 1;
        let text = format!("{key}{}", self.count);
        let is_append = dice.roll(5) < 2;
        if self.has_sessions {
            if is_append {
                return Action::SessionAppend { session, key, text };
            }
            let level = [Level::Session, Level::Fresh, Level::Local][dice.roll(3)];
            return Action::SessionRead {
                session,
                key,
                level,
                texts: None,
            };
        }
        if is_append {
            let sender = session;
            return Action::Append { key, sender, text };
        }
        let known = self.texts(&key, self.entries.len());
        let after = dice.pick(&known).cloned().filter(|_| dice.roll(2) == 0);
        let from = after.is_some().then(|| format!("s{}", dice.roll(3)));
        Action::ReadLog {
            key,
            after,
            from: from.filter(|_| dice.roll(3) > 0),
            texts: None,
        }
    }

    fn apply(&mut self, action: &Action, dice: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Append { key, sender, text } => {
                self.entries
                    .push((key.clone(), sender.clone(), text.clone()));
            }
            Action::SessionAppend { session, key, text } => {
                self.entries
                    .push((key.clone(), session.clone(), text.clone()));
                self.positions.insert(session.clone(), self.entries.len());
            }
            Action::SessionRead {
                session,
                key,
                level,
                texts,
            } => {
                let position = self.position(session, *level, dice);
                if *level != Level::Local {
                    self.positions.insert(session.clone(), position);
                }
                *texts = Some(self.texts(key, position));
            }
            Action::ReadLog {
                key,
                after,
                from,
                texts,
            } => {
                let entries = self.entries.iter().filter(|entry| entry.0 == *key);
                let mut is_after = after.is_none();
                let mut found = Vec::new();
                for (_, sender, text) in entries {
                    if is_after && from.as_ref().is_none_or(|from| from == sender) {
                        found.push(text.clone());
                    }
                    is_after |= after.as_ref() == Some(text);
                }
                *texts = Some(found);
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let keys = ["k", "l"].into_iter();
        keys.map(|key| match self.has_sessions {
            true => Action::SessionRead {
                session: "last".into(),
                key: key.into(),
                level: Level::Fresh,
                texts: None,
            },
            false => Action::ReadLog {
                key: key.into(),
                after: None,
                from: None,
                texts: None,
            },
        })
        .collect()
    }
}
