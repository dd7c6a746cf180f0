//! Who follows whom, seen from both ends: an edge is in both lists or in neither, friends are those
//! who follow each other, and counts count edges.
//!
//! Two lists are two requests, so nothing is compared at one moment. Instead every edge is one
//! register that both lists read: if they disagree, no order of its writes explains it.
use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Call, Outcome, View};
use crate::possible::{self, Flag};
use crate::register::{self, Operation};
use crate::verdict::Verdict;

/// From whom, to whom.
type Edge<'a> = (&'a str, &'a str);

/// Judges the graph; it begins without edges.
pub fn check(calls: &[Call]) -> Verdict {
    let graph = Graph::of(calls);
    let mut edges: BTreeMap<Edge<'_>, Vec<Operation>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.outcome != Outcome::Fail) {
        match &call.action {
            Action::Follow { from, to } => {
                let write = Operation::of(call, 1, true);
                edges.entry((from, to)).or_default().push(write);
            }
            Action::Unfollow { from, to } => {
                let write = Operation::of(call, 0, true);
                edges.entry((from, to)).or_default().push(write);
            }
            Action::ReadGraph {
                of,
                view,
                users: Some(users),
            } if call.outcome == Outcome::Ok => {
                let verdict = graph.check_list(call, of, *view, users);
                if verdict.is_invalid() {
                    return verdict;
                }
                for (edge, is_there) in graph.seen(of, *view, users) {
                    let read = Operation::of(call, i64::from(is_there), false);
                    edges.entry(edge).or_default().push(read);
                }
            }
            Action::ReadDegree { .. } if call.outcome == Outcome::Ok => {
                let verdict = graph.check_degree(call);
                if verdict.is_invalid() {
                    return verdict;
                }
            }
            _ => {}
        }
    }
    edges
        .iter()
        .map(|((from, to), operations)| {
            register::check_key(&format!("{from} follows {to}"), operations, 0)
        })
        .fold(Verdict::Valid, Verdict::and)
}

/// All edges that were ever written.
#[derive(Default)]
struct Graph<'a> {
    flags: BTreeMap<Edge<'a>, Flag>,
    /// To whom anybody's edges may go, and whence they may come.
    to: BTreeMap<&'a str, BTreeSet<&'a str>>,
    from: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

fn invalid(why: String, mut operations: Vec<usize>, call: &Call) -> Verdict {
    operations.push(call.invoked);
    Verdict::Invalid { why, operations }
}

/// Writes that are named beside a list or count that is wrong.
const NAMED_MAX: usize = 2;

impl<'a> Graph<'a> {
    fn of(calls: &'a [Call]) -> Self {
        let mut graph = Self::default();
        for call in calls {
            let (from, to, is_in) = match &call.action {
                Action::Follow { from, to } => (from.as_str(), to.as_str(), true),
                Action::Unfollow { from, to } => (from.as_str(), to.as_str(), false),
                _ => continue,
            };
            let flag = graph.flags.entry((from, to)).or_default();
            flag.write(call, is_in);
            graph.to.entry(from).or_default().insert(to);
            graph.from.entry(to).or_default().insert(from);
        }
        graph
    }

    fn neighbours(&self, of: &str, view: View) -> impl Iterator<Item = &'a str> {
        let sets = match view {
            View::Follows | View::Friends => &self.to,
            View::Followers => &self.from,
        };
        sets.get(of).into_iter().flatten().copied()
    }

    /// What a list says of single edges. Friends are two edges each; one who is missing among them
    /// says of neither edge that it is not there.
    fn seen<'b>(&self, of: &'b str, view: View, users: &'b [String]) -> Vec<(Edge<'b>, bool)>
    where
        'a: 'b,
    {
        let there: BTreeSet<&str> = users.iter().map(String::as_str).collect();
        match view {
            View::Follows => self
                .neighbours(of, view)
                .map(|to| ((of, to), there.contains(to)))
                .collect(),
            View::Followers => self
                .neighbours(of, view)
                .map(|from| ((from, of), there.contains(from)))
                .collect(),
            View::Friends => {
                let pairs = there.into_iter().flat_map(|user| [(of, user), (user, of)]);
                pairs.map(|edge| (edge, true)).collect()
            }
        }
    }

    /// No doubles, nobody who never was, no certain friend left out.
    fn check_list(&self, call: &Call, of: &str, view: View, users: &[String]) -> Verdict {
        let mut there = BTreeSet::new();
        for user in users {
            if !there.insert(user.as_str()) {
                let why = format!("{user} is twice in the {view:?} of {of}");
                return invalid(why, Vec::new(), call);
            }
            let edges: &[Edge<'_>] = match view {
                View::Follows => &[(of, user)],
                View::Followers => &[(user, of)],
                View::Friends => &[(of, user), (user, of)],
            };
            if edges.iter().any(|edge| !self.flags.contains_key(edge)) {
                let why = format!("{user} is in the {view:?} of {of} and never was to be");
                return invalid(why, Vec::new(), call);
            }
        }
        if view != View::Friends {
            return Verdict::Valid;
        }
        let until = call.ended.unwrap_or(usize::MAX);
        for user in self
            .neighbours(of, view)
            .filter(|user| !there.contains(user))
        {
            let both = [self.flags.get(&(of, user)), self.flags.get(&(user, of))];
            let is_certain = |flag: &Option<&Flag>| {
                flag.is_some_and(|flag| !flag.between(call.invoked, until).is_out)
            };
            if both.iter().all(is_certain) {
                let why = format!("{of} and {user} follow each other and are no friends");
                let named = both.iter().flatten();
                let named = named.flat_map(|flag| flag.latest(until, NAMED_MAX));
                return invalid(why, named.collect(), call);
            }
        }
        Verdict::Valid
    }

    fn check_degree(&self, call: &Call) -> Verdict {
        let Action::ReadDegree {
            of,
            follows: Some(follows),
            followers: Some(followers),
        } = &call.action
        else {
            return Verdict::Valid;
        };
        let until = call.ended.unwrap_or(usize::MAX);
        for (view, count) in [(View::Follows, follows), (View::Followers, followers)] {
            let edges: Vec<Edge<'_>> = match view {
                View::Follows => self.neighbours(of, view).map(|to| (&**of, to)).collect(),
                _ => self
                    .neighbours(of, view)
                    .map(|from| (from, &**of))
                    .collect(),
            };
            let flags = || edges.iter().filter_map(|edge| self.flags.get(edge));
            let (lower, upper) = possible::bounds(flags(), call.invoked, until);
            if !(lower..=upper).contains(count) {
                let why =
                    format!("{of}: {view:?} counted as {count}, possible is {lower} to {upper}");
                let mut named: Vec<usize> = flags()
                    .flat_map(|flag| flag.latest(until, NAMED_MAX))
                    .collect();
                named.sort_unstable();
                let few = named.split_off(named.len().saturating_sub(5));
                return invalid(why, few, call);
            }
        }
        Verdict::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Kind, calls};

    fn follow(from: &str, to: &str) -> Action {
        Action::Follow {
            from: from.into(),
            to: to.into(),
        }
    }

    fn list(of: &str, view: View, users: &[&str]) -> Action {
        Action::ReadGraph {
            of: of.into(),
            view,
            users: Some(users.iter().map(|user| (*user).to_owned()).collect()),
        }
    }

    fn degree(of: &str, follows: i64, followers: i64) -> Action {
        Action::ReadDegree {
            of: of.into(),
            follows: Some(follows),
            followers: Some(followers),
        }
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    fn mutual() -> Builder {
        Builder::default()
            .ok(1, follow("a", "b"))
            .ok(1, follow("b", "a"))
    }

    #[test]
    fn both_ends_agree() {
        let history = mutual()
            .ok(2, list("a", View::Follows, &["b"]))
            .ok(2, list("b", View::Followers, &["a"]))
            .ok(2, list("a", View::Friends, &["b"]))
            .ok(2, degree("a", 1, 1));
        assert_eq!(judge(history), Verdict::Valid);
    }

    #[test]
    fn half_an_edge_is_found_though_its_fate_was_not_known() {
        let half = Builder::default()
            .event(1, Kind::Invoke, follow("a", "b"))
            .event(1, Kind::Info, follow("a", "b"))
            .ok(2, list("a", View::Follows, &["b"]))
            .ok(2, list("b", View::Followers, &[]));
        assert!(judge(half).is_invalid());
    }

    #[test]
    fn wrong_lists_and_counts_are_found() {
        for wrong in [
            list("a", View::Follows, &[]),
            list("a", View::Followers, &[]),
            list("a", View::Friends, &[]),
            list("a", View::Follows, &["b", "b"]),
            list("a", View::Follows, &["b", "x"]),
            degree("a", 0, 1),
            degree("a", 1, 2),
        ] {
            assert!(
                judge(mutual().ok(2, wrong.clone())).is_invalid(),
                "{wrong:?}"
            );
        }
    }
}
