//! Paging through a list that grows: what was there throughout is shown exactly once, in one order,
//! newest first; what failed is never shown.
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// Judges all walks of a history against the additions to the same list. Elements are unique; those
/// that are taken out may be missed by any walk.
pub fn check(calls: &[Call]) -> Verdict {
    let mut lists: BTreeMap<&str, List<'_>> = BTreeMap::new();
    for call in calls {
        match &call.action {
            Action::Add { key, element } => {
                lists.entry(key).or_default().adds.insert(element, call);
            }
            Action::Remove { key, element } if call.outcome != Outcome::Fail => {
                lists.entry(key).or_default().removed.insert(element);
            }
            Action::ReadPages {
                key,
                is_fresh,
                is_whole,
                pages: Some(pages),
            } if call.outcome == Outcome::Ok => {
                lists.entry(key).or_default().walks.push(Walk {
                    call,
                    shown: pages.iter().flatten().map(String::as_str).collect(),
                    is_fresh: *is_fresh,
                    is_whole: *is_whole,
                });
            }
            _ => {}
        }
    }
    lists
        .iter()
        .map(|(key, list)| list.check(key))
        .fold(Verdict::Valid, Verdict::and)
}

#[derive(Default)]
struct List<'a> {
    adds: HashMap<&'a str, &'a Call>,
    removed: HashSet<&'a str>,
    walks: Vec<Walk<'a>>,
}

struct Walk<'a> {
    call: &'a Call,
    /// All its pages, one after the other.
    shown: Vec<&'a str>,
    is_fresh: bool,
    is_whole: bool,
}

fn invalid(why: String, operations: Vec<usize>) -> Verdict {
    Verdict::Invalid { why, operations }
}

impl List<'_> {
    fn check(&self, key: &str) -> Verdict {
        if self.walks.is_empty() && !self.adds.is_empty() {
            return Verdict::Unknown {
                why: format!("nobody paged through {key}"),
            };
        }
        let mut acknowledged: Vec<(usize, &str, &Call)> = Vec::new();
        for (element, add) in &self.adds {
            if let Some(ended) = add.ended.filter(|_| add.outcome == Outcome::Ok) {
                acknowledged.push((ended, element, add));
            }
        }
        acknowledged.sort_unstable_by_key(|(ended, _, _)| *ended);
        for walk in &self.walks {
            let verdict = self
                .check_shown(walk)
                .and(self.check_order(walk))
                .and(self.check_skips(walk, &acknowledged));
            if verdict.is_invalid() {
                return verdict;
            }
        }
        self.check_same_order()
    }

    /// Once each, and only what was added.
    fn check_shown(&self, walk: &Walk<'_>) -> Verdict {
        let at = walk.call.invoked;
        let mut seen = HashSet::new();
        for element in &walk.shown {
            let Some(add) = self.adds.get(element) else {
                return invalid(format!("{element} was shown and never added"), vec![at]);
            };
            let operations = vec![add.invoked, at];
            if !seen.insert(element) {
                return invalid(format!("{element} was shown twice by one walk"), operations);
            }
            if add.outcome == Outcome::Fail {
                return invalid(format!("{element} failed and was shown"), operations);
            }
            if walk.call.ended.is_some_and(|end| end < add.invoked) {
                return invalid(
                    format!("{element} was shown before it was added"),
                    operations,
                );
            }
        }
        Verdict::Valid
    }

    /// Newest first: what was added after another was acknowledged stands before it.
    fn check_order(&self, walk: &Walk<'_>) -> Verdict {
        // The latest beginning so far of those further back.
        let mut latest: Option<&Call> = None;
        for element in walk.shown.iter().rev() {
            let Some(add) = self.adds.get(element) else {
                continue;
            };
            let ended = add.ended.filter(|_| add.outcome == Outcome::Ok);
            if let (Some(ended), Some(latest)) = (ended, latest)
                && ended < latest.invoked
            {
                let why = format!("{element} is older than one that was shown after it");
                return invalid(why, vec![add.invoked, latest.invoked, walk.call.invoked]);
            }
            if latest.is_none_or(|latest| add.invoked > latest.invoked) {
                latest = Some(add);
            }
        }
        Verdict::Valid
    }

    /// What was there before the walk began, between what was shown, was shown too.
    fn check_skips(&self, walk: &Walk<'_>, acknowledged: &[(usize, &str, &Call)]) -> Verdict {
        let shown: HashSet<&str> = walk.shown.iter().copied().collect();
        let adds = || {
            walk.shown
                .iter()
                .filter_map(|element| self.adds.get(element))
        };
        let oldest = adds().filter_map(|add| {
            let ended = add.ended.filter(|_| add.outcome == Outcome::Ok);
            ended.map(|ended| (ended, add.invoked))
        });
        // Whatever began after this had ended is newer than it, so the walk had to come by.
        let (reached, reached_by) = oldest.min().unwrap_or((usize::MAX, usize::MAX));
        // Whatever had ended before this began is older than it, so the walk had not passed it.
        let newest = adds().map(|add| add.invoked).max().unwrap_or(0);
        for (ended, element, add) in acknowledged {
            if *ended >= walk.call.invoked {
                break;
            }
            let is_due = (walk.is_whole || add.invoked > reached)
                && (walk.is_fresh || *ended < newest)
                && !shown.contains(element)
                && !self.removed.contains(element);
            if is_due {
                let mut operations = vec![add.invoked, walk.call.invoked];
                if !walk.is_whole {
                    operations.push(reached_by);
                }
                return invalid(
                    format!("{element} was there throughout and was skipped"),
                    operations,
                );
            }
        }
        Verdict::Valid
    }

    /// Two that stand side by side never stand the other way round.
    fn check_same_order(&self) -> Verdict {
        let mut pairs: HashMap<(&str, &str), usize> = HashMap::new();
        for walk in &self.walks {
            for pair in walk.shown.windows(2) {
                if let Some(other) = pairs.get(&(pair[1], pair[0])) {
                    let why = format!("{} and {} change places", pair[0], pair[1]);
                    return invalid(why, vec![*other, walk.call.invoked]);
                }
                pairs.insert((pair[0], pair[1]), walk.call.invoked);
            }
        }
        Verdict::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Kind, calls};

    fn add(element: &str) -> Action {
        Action::Add {
            key: "feed".into(),
            element: element.into(),
        }
    }

    fn walk(is_fresh: bool, is_whole: bool, pages: &[&[&str]]) -> Action {
        let page = |page: &&[&str]| page.iter().map(|e| (*e).to_owned()).collect();
        Action::ReadPages {
            key: "feed".into(),
            is_fresh,
            is_whole,
            pages: Some(pages.iter().map(page).collect()),
        }
    }

    fn abc() -> Builder {
        Builder::default()
            .ok(1, add("a"))
            .ok(1, add("b"))
            .ok(1, add("c"))
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    #[test]
    fn each_once_newest_first_passes() {
        for fine in [
            walk(true, true, &[&["c", "b"], &["a"]]),
            walk(true, false, &[&["c", "b"]]),
            walk(false, true, &[&["b", "a"]]),
            walk(false, false, &[&["b"]]),
        ] {
            assert_eq!(judge(abc().ok(2, fine.clone())), Verdict::Valid, "{fine:?}");
        }
    }

    #[test]
    fn skips_doubles_and_disorder_are_found() {
        for wrong in [
            walk(true, true, &[&["c", "b"]]),
            walk(true, true, &[&["c"], &["a"]]),
            walk(true, false, &[&["c"], &["a"]]),
            walk(false, true, &[&["c"], &["a"]]),
            walk(true, true, &[&["c", "b"], &["b", "a"]]),
            walk(true, true, &[&["b", "c"], &["a"]]),
            walk(true, true, &[&["c", "b"], &["a", "x"]]),
        ] {
            assert!(judge(abc().ok(2, wrong.clone())).is_invalid(), "{wrong:?}");
        }
    }

    #[test]
    fn who_is_taken_out_may_be_missed_and_nobody_else() {
        let base = || {
            abc().ok(
                1,
                Action::Remove {
                    key: "feed".into(),
                    element: "b".into(),
                },
            )
        };
        assert_eq!(
            judge(base().ok(2, walk(true, true, &[&["c", "a"]]))),
            Verdict::Valid
        );
        assert!(judge(base().ok(2, walk(true, true, &[&["c"]]))).is_invalid());
    }

    #[test]
    fn what_failed_is_not_shown_and_places_are_kept() {
        let failed = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(1, Kind::Fail, add("a"))
            .ok(2, walk(true, true, &[&["a"]]));
        assert!(judge(failed).is_invalid());
        let moved = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(2, Kind::Invoke, add("b"))
            .event(1, Kind::Ok, add("a"))
            .event(2, Kind::Ok, add("b"))
            .ok(3, walk(true, true, &[&["a", "b"]]))
            .ok(3, walk(true, true, &[&["b", "a"]]));
        assert!(judge(moved).is_invalid());
    }
}
