//! Nothing acknowledged is lost, doubled, or resurrected: Jepsen's set-full, with removal.
//!
//! An element is added once and perhaps removed. It is certainly there from the acknowledgement of
//! its addition, or from the end of a read that showed it, whichever is first; it is certainly gone
//! from the acknowledgement of a removal, or from the end of a read that missed it after it was
//! there. Reads are expected to be fresh (read-your-writes over a linearizable log).
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// Judges all sets of a history. An element may be added once, and removals may repeat.
pub fn check(calls: &[Call]) -> Verdict {
    let mut sets: BTreeMap<&str, Set<'_>> = BTreeMap::new();
    for call in calls {
        match &call.action {
            Action::Add { key, element } => {
                let set = sets.entry(key).or_default();
                set.element(element).adds.push(call);
            }
            Action::Remove { key, element } => {
                let set = sets.entry(key).or_default();
                set.element(element).removes.push(call);
            }
            Action::ReadSet {
                key,
                elements: Some(elements),
            } if call.outcome == Outcome::Ok => {
                let elements = elements.iter().map(String::as_str).collect();
                sets.entry(key).or_default().reads.push((call, elements));
            }
            _ => {}
        }
    }
    let has_reads = sets.values().any(|set| !set.reads.is_empty());
    if !has_reads && !sets.is_empty() {
        return Verdict::Unknown {
            why: "no set was ever read".into(),
        };
    }
    let judged = sets.values_mut().map(Set::check);
    judged.fold(Verdict::Valid, Verdict::and)
}

/// What is known of one element of one set.
#[derive(Default)]
struct Element<'a> {
    adds: Vec<&'a Call>,
    removes: Vec<&'a Call>,
    /// The first to show that it is there (gone), with the index from which that is certain.
    there: Option<(usize, &'a Call)>,
    gone: Option<(usize, &'a Call)>,
}

#[derive(Default)]
struct Set<'a> {
    elements: HashMap<&'a str, Element<'a>>,
    reads: Vec<(&'a Call, Vec<&'a str>)>,
}

fn invalid(why: String, read: &Call, others: &[&Call]) -> Verdict {
    let mut operations: Vec<usize> = others.iter().map(|call| call.invoked).collect();
    operations.push(read.invoked);
    operations.sort_unstable();
    operations.dedup();
    Verdict::Invalid { why, operations }
}

/// Keeps the earlier.
fn first<'a>(known: &mut Option<(usize, &'a Call)>, ended: Option<usize>, call: &'a Call) {
    if let Some(ended) = ended
        && known.is_none_or(|(known, _)| ended < known)
    {
        *known = Some((ended, call));
    }
}

impl<'a> Set<'a> {
    fn element(&mut self, element: &'a str) -> &mut Element<'a> {
        self.elements.entry(element).or_default()
    }

    fn check(&mut self) -> Verdict {
        let reads = std::mem::take(&mut self.reads);
        for (read, elements) in &reads {
            let verdict = self.check_known(read, elements);
            if verdict.is_invalid() {
                return verdict;
            }
        }
        self.know(&reads);
        for (read, elements) in &reads {
            let there: HashSet<&str> = elements.iter().copied().collect();
            for (element, known) in &self.elements {
                let verdict = if there.contains(element) {
                    known.check_present(read, element)
                } else {
                    let shown = reads.iter().rev();
                    let later = || {
                        let mut later = shown
                            .clone()
                            .take_while(|(other, _)| other.invoked > read.invoked);
                        later.any(|(_, elements)| elements.contains(element))
                    };
                    known.check_absent(read, element, later)
                };
                if verdict.is_invalid() {
                    return verdict;
                }
            }
        }
        Verdict::Valid
    }

    /// No doubles, and nobody unknown.
    fn check_known(&self, read: &Call, elements: &[&str]) -> Verdict {
        let mut seen = HashSet::new();
        for element in elements {
            let Some(known) = self.elements.get(element) else {
                return invalid(format!("{element} is there and was never added"), read, &[]);
            };
            if !seen.insert(element) {
                return invalid(format!("{element} is there twice"), read, &known.adds);
            }
        }
        Verdict::Valid
    }

    /// When each was certainly there, and certainly gone.
    fn know(&mut self, reads: &[(&'a Call, Vec<&'a str>)]) {
        for known in self.elements.values_mut() {
            for add in known.adds.iter().filter(|add| add.outcome == Outcome::Ok) {
                first(&mut known.there, add.ended, add);
            }
        }
        for (read, elements) in reads {
            for element in elements {
                first(&mut self.element(element).there, read.ended, read);
            }
        }
        for known in self.elements.values_mut() {
            for remove in known
                .removes
                .iter()
                .filter(|call| call.outcome == Outcome::Ok)
            {
                // Only if every addition was over before it began is it certainly gone.
                let is_after = |add: &&&Call| add.ended.is_some_and(|end| end < remove.invoked);
                if known.adds.iter().filter(is_after).count() == known.adds.len() {
                    first(&mut known.gone, remove.ended, remove);
                }
            }
        }
        for (read, elements) in reads {
            let there: HashSet<&str> = elements.iter().copied().collect();
            for (element, known) in &mut self.elements {
                let was_there = known.there.is_some_and(|(from, _)| from < read.invoked);
                if was_there && !there.contains(element) {
                    first(&mut known.gone, read.ended, read);
                }
            }
        }
    }
}

impl Element<'_> {
    fn check_present(&self, read: &Call, element: &str) -> Verdict {
        let is_begun = |add: &&Call| read.ended.is_none_or(|end| add.invoked < end);
        let mut possible = self.adds.iter().filter(|add| is_begun(add));
        if !possible.any(|add| add.outcome != Outcome::Fail) {
            let why = format!("{element} is there though its addition failed or began later");
            return invalid(why, read, &self.adds);
        }
        match self.gone {
            Some((from, by)) if from < read.invoked => {
                let why = format!("{element} was gone and is back");
                let mut others = vec![by];
                others.extend(self.there.map(|(_, call)| call));
                invalid(why, read, &others)
            }
            _ => Verdict::Valid,
        }
    }

    fn check_absent(&self, read: &Call, element: &str, is_back: impl Fn() -> bool) -> Verdict {
        let may_be_removed = self.removes.iter().any(|remove| {
            remove.outcome != Outcome::Fail && read.ended.is_none_or(|end| remove.invoked < end)
        });
        match self.there {
            Some((from, by)) if from < read.invoked && !may_be_removed => {
                let fate = if is_back() {
                    "is missed here (stale)"
                } else {
                    "is lost"
                };
                invalid(format!("{element} was there and {fate}"), read, &[by])
            }
            _ => Verdict::Valid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Event, Kind, calls};

    fn add(element: &str) -> Action {
        Action::Add {
            key: "s".into(),
            element: element.into(),
        }
    }

    fn remove(element: &str) -> Action {
        Action::Remove {
            key: "s".into(),
            element: element.into(),
        }
    }

    fn read(elements: &[&str]) -> Action {
        Action::ReadSet {
            key: "s".into(),
            elements: Some(elements.iter().map(|e| (*e).to_owned()).collect()),
        }
    }

    fn judge(history: &[Event]) -> Verdict {
        check(&calls(history).unwrap())
    }

    #[test]
    fn what_was_acknowledged_must_be_read() {
        let history = Builder::default().ok(1, add("a"));
        assert!(judge(&history.ok(2, read(&["a"])).build()).is_valid());
        let lost = Builder::default().ok(1, add("a")).ok(2, read(&[])).build();
        assert!(judge(&lost).is_invalid());
    }

    #[test]
    fn what_is_not_known_may_be_there_or_not() {
        for seen in [&["a"][..], &[]] {
            let history = Builder::default()
                .event(1, Kind::Invoke, add("a"))
                .event(1, Kind::Info, add("a"))
                .ok(2, read(seen))
                .build();
            assert!(judge(&history).is_valid());
        }
    }

    #[test]
    fn what_failed_must_not_be_there() {
        let history = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(1, Kind::Fail, add("a"))
            .ok(2, read(&["a"]))
            .build();
        assert!(judge(&history).is_invalid());
    }

    #[test]
    fn doubles_phantoms_and_the_resurrected_are_found() {
        let base = || Builder::default().ok(1, add("a"));
        assert!(judge(&base().ok(2, read(&["a", "a"])).build()).is_invalid());
        assert!(judge(&base().ok(2, read(&["a", "x"])).build()).is_invalid());
        let removed = base().ok(1, remove("a"));
        assert!(judge(&removed.ok(2, read(&["a"])).build()).is_invalid());
        let gone = base().ok(1, remove("a")).ok(2, read(&[]));
        assert!(judge(&gone.build()).is_valid());
    }

    #[test]
    fn a_read_that_overlaps_may_see_either() {
        for seen in [&["a"][..], &[]] {
            let history = Builder::default()
                .event(2, Kind::Invoke, read(&[]))
                .ok(1, add("a"))
                .event(2, Kind::Ok, read(seen))
                .build();
            assert!(judge(&history).is_valid());
        }
    }

    #[test]
    fn a_set_that_nobody_read_is_no_pass() {
        let history = Builder::default().ok(1, add("a")).build();
        assert!(matches!(judge(&history), Verdict::Unknown { .. }));
    }
}
