//! Names, and who follows whom.
use std::collections::{BTreeMap, BTreeSet};

use checkers::history::{Action, Grant, View};

use crate::store::{Dice, Model};

#[derive(Default)]
pub(super) struct Graph {
    edges: BTreeSet<(String, String)>,
}

const USERS: [&str; 3] = ["a", "b", "c"];
const VIEWS: [View; 3] = [View::Follows, View::Followers, View::Friends];

impl Graph {
    fn users(&self, of: &str, view: View) -> Vec<String> {
        let has = |from: &str, to: &str| self.edges.contains(&(from.to_owned(), to.to_owned()));
        let is_there = |user: &&str| match view {
            View::Follows => has(of, user),
            View::Followers => has(user, of),
            View::Friends => has(of, user) && has(user, of),
        };
        let users = USERS.into_iter().filter(is_there);
        users.map(str::to_owned).collect()
    }
}

impl Model for Graph {
    fn propose(&mut self, _: usize, dice: &mut Dice) -> Action {
        let from = dice.roll(3);
        let to = (from + 1 + dice.roll(2)) % 3;
        let (from, to) = (USERS[from].to_owned(), USERS[to].to_owned());
        match dice.roll(8) {
            0..3 => Action::Follow { from, to },
            3 => Action::Unfollow { from, to },
            4 => Action::ReadDegree {
                of: from,
                follows: None,
                followers: None,
            },
            n => Action::ReadGraph {
                of: from,
                view: VIEWS[n - 5],
                users: None,
            },
        }
    }

    fn apply(&mut self, action: &Action, _: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Follow { from, to } => {
                self.edges.insert((from.clone(), to.clone()));
            }
            Action::Unfollow { from, to } => {
                self.edges.remove(&(from.clone(), to.clone()));
            }
            Action::ReadGraph { of, view, users } => *users = Some(self.users(of, *view)),
            Action::ReadDegree {
                of,
                follows,
                followers,
            } => {
                let count = |view| Some(i64::try_from(self.users(of, view).len()).unwrap());
                *follows = count(View::Follows);
                *followers = count(View::Followers);
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let mut last = Vec::new();
        // Only users who ever had an edge: of the others nothing is known.
        for of in USERS.map(str::to_owned) {
            for view in VIEWS {
                let (of, users) = (of.clone(), None);
                last.push(Action::ReadGraph { of, view, users });
            }
            last.push(Action::ReadDegree {
                of,
                follows: None,
                followers: None,
            });
        }
        last
    }
}

#[derive(Default)]
pub(super) struct Unique {
    /// Password and id by name.
    names: BTreeMap<String, (String, String)>,
}

impl Model for Unique {
    fn propose(&mut self, client: usize, dice: &mut Dice) -> Action {
        let name = format!("n{}", dice.roll(4));
        let granted = None;
        if dice.roll(2) == 0 {
            let password = format!("p{client}");
            return Action::Register {
                name,
                password,
                granted,
            };
        }
        let password = format!("p{}", dice.roll(3));
        Action::Login {
            name,
            password,
            granted,
        }
    }

    fn apply(&mut self, action: &Action, _: &mut Dice) -> Action {
        let mut action = action.clone();
        match &mut action {
            Action::Register {
                name,
                password,
                granted,
            } => {
                let id = format!("id{}", self.names.len());
                *granted = Some(if self.names.contains_key(name) {
                    Grant::Refused
                } else {
                    self.names
                        .insert(name.clone(), (password.clone(), id.clone()));
                    Grant::To(id)
                });
            }
            Action::Login {
                name,
                password,
                granted,
            } => {
                let known = self.names.get(name);
                let id = known
                    .filter(|(known, _)| known == password)
                    .map(|known| known.1.clone());
                *granted = Some(id.map_or(Grant::Refused, Grant::To));
            }
            other => panic!("{other:?}"),
        }
        action
    }

    fn last(&self) -> Vec<Action> {
        let names = self.names.iter();
        names
            .map(|(name, (password, _))| Action::Login {
                name: name.clone(),
                password: password.clone(),
                granted: None,
            })
            .collect()
    }
}
