//! Nothing acknowledged is lost, doubled, or resurrected: Jepsen's set-full, with removal.
//!
//! An element is added once and perhaps removed. It is certainly there from the acknowledgement of
//! its addition, or from the end of a read that showed it, whichever is first; it is certainly gone
//! from the acknowledgement of a removal, or from the end of a read that missed it after it was
//! there. Reads are expected to be fresh (read-your-writes over a linearizable log).
//!
//! Elements are not only judged one by one: of what is never removed, of two reads one has all that
//! the other has (they stand in a chain), and a read that shows an element comes after all that was
//! acknowledged before that element was even sent.
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
                sets.entry(key).or_default().reads.push(Read {
                    call,
                    elements: elements.iter().map(String::as_str).collect(),
                    start: call.invoked,
                });
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
    /// The latest start of a read that shows it.
    shown: usize,
}

#[derive(Default)]
struct Set<'a> {
    elements: HashMap<&'a str, Element<'a>>,
    reads: Vec<Read<'a>>,
}

struct Read<'a> {
    call: &'a Call,
    elements: Vec<&'a str>,
    /// It certainly took place after this index.
    start: usize,
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
        let mut reads = std::mem::take(&mut self.reads);
        for read in &reads {
            let verdict = self.check_known(read.call, &read.elements);
            if verdict.is_invalid() {
                return verdict;
            }
        }
        self.know_starts(&mut reads);
        self.know_there(&reads);
        self.forget_idle_removals(&reads);
        let chain = self.check_chain(&mut reads);
        self.know_gone(&reads);
        for read in &reads {
            let verdict = self.check_read(read, &reads);
            if verdict.is_invalid() {
                return verdict;
            }
        }
        chain
    }

    fn check_read(&self, read: &Read<'_>, reads: &[Read<'_>]) -> Verdict {
        let there: HashSet<&str> = read.elements.iter().copied().collect();
        for (element, known) in &self.elements {
            let verdict = if there.contains(element) {
                known.check_present(read, element)
            } else {
                let is_later = |other: &&Read<'_>| other.call.invoked > read.call.invoked;
                let is_back = || {
                    let mut later = reads.iter().filter(is_later);
                    later.any(|other| other.elements.contains(element))
                };
                known.check_absent(read, element, is_back)
            };
            if verdict.is_invalid() {
                return verdict;
            }
        }
        Verdict::Valid
    }

    /// Who shows an element read after it was sent.
    fn know_starts(&self, reads: &mut [Read<'a>]) {
        for read in reads {
            let shown = read
                .elements
                .iter()
                .filter_map(|one| self.elements.get(one));
            let begun = shown.filter_map(|known| match known.adds[..] {
                [add] => Some(add.invoked),
                _ => None,
            });
            read.start = begun.fold(read.start, usize::max);
        }
    }

    /// A removal that was over before a read that still shows the element came before its addition,
    /// and never removed anything.
    fn forget_idle_removals(&mut self, reads: &[Read<'a>]) {
        for read in reads {
            for element in &read.elements {
                let known = self.element(element);
                if known.adds.len() > 1 || known.removes.is_empty() {
                    continue;
                }
                known.shown = known.shown.max(read.start);
            }
        }
        for known in self.elements.values_mut() {
            let (shown, there) = (known.shown, known.there);
            known.removes.retain(|remove| {
                let is_over = remove.ended.is_some_and(|ended| ended < shown);
                let was_there = there.is_some_and(|(from, _)| from < remove.invoked);
                remove.outcome != Outcome::Ok || !is_over || was_there
            });
        }
    }

    /// Of what is never removed, reads show ever more; each takes place after those that show less.
    fn check_chain(&self, reads: &mut [Read<'a>]) -> Verdict {
        let is_kept = |element: &&str| {
            let known = self.elements.get(element);
            known.is_some_and(|known| known.may_remove(usize::MAX).is_none())
        };
        let mut chain: Vec<(HashSet<&str>, &mut Read<'a>)> = Vec::new();
        for read in reads {
            let kept = read.elements.iter().copied().filter(|one| is_kept(one));
            chain.push((kept.collect(), read));
        }
        chain.sort_by_key(|(kept, _)| kept.len());
        for n in 1..chain.len() {
            let (less, more) = chain.split_at_mut(n);
            let ((less, before), (more, after)) = (&less[n - 1], &mut more[0]);
            if let Some(missing) = less.difference(more).next() {
                let other = more.difference(less).next().copied().unwrap_or_default();
                let why = format!("one reader has {missing} and not {other}, another the reverse");
                let adds = [*missing, other].into_iter();
                let adds = adds.filter_map(|one| self.elements.get(one)?.adds.first());
                let mut others: Vec<&Call> = adds.copied().collect();
                others.push(before.call);
                return invalid(why, after.call, &others);
            }
            if more.len() > less.len() {
                after.start = after.start.max(before.start);
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

    /// When each was certainly there.
    fn know_there(&mut self, reads: &[Read<'a>]) {
        for known in self.elements.values_mut() {
            for add in known.adds.iter().filter(|add| add.outcome == Outcome::Ok) {
                first(&mut known.there, add.ended, add);
            }
        }
        for read in reads {
            for element in &read.elements {
                first(&mut self.element(element).there, read.call.ended, read.call);
            }
        }
    }

    /// When each was certainly gone.
    fn know_gone(&mut self, reads: &[Read<'a>]) {
        for known in self.elements.values_mut() {
            for remove in known
                .removes
                .iter()
                .filter(|call| call.outcome == Outcome::Ok)
            {
                // Only if no addition can come after it is it certainly gone.
                let is_over = |add: &&Call| add.ended.is_some_and(|end| end < remove.invoked);
                let was_there = known.there.is_some_and(|(from, _)| from < remove.invoked);
                if known.adds.len() <= 1 && was_there
                    || known.adds.iter().copied().all(|add| is_over(&add))
                {
                    first(&mut known.gone, remove.ended, remove);
                }
            }
        }
        for read in reads {
            let there: HashSet<&str> = read.elements.iter().copied().collect();
            for (element, known) in &mut self.elements {
                let was_there = known.there.is_some_and(|(from, _)| from < read.start);
                if was_there && !there.contains(element) {
                    first(&mut known.gone, read.call.ended, read.call);
                }
            }
        }
    }
}

impl Element<'_> {
    /// A removal that may have taken effect before this index.
    fn may_remove(&self, until: usize) -> Option<&Call> {
        let mut removes = self.removes.iter().copied();
        removes.find(|remove| remove.outcome != Outcome::Fail && remove.invoked < until)
    }

    fn check_present(&self, read: &Read<'_>, element: &str) -> Verdict {
        let until = read.call.ended.unwrap_or(usize::MAX);
        let mut begun = self.adds.iter().filter(|add| add.invoked < until);
        if !begun.any(|add| add.outcome != Outcome::Fail) {
            let why = format!("{element} is there though its addition failed or began later");
            return invalid(why, read.call, &self.adds);
        }
        match self.gone {
            Some((from, by)) if from < read.start => {
                let why = format!("{element} was gone and is back");
                let mut others = vec![by];
                others.extend(self.there.map(|(_, call)| call));
                invalid(why, read.call, &others)
            }
            _ => Verdict::Valid,
        }
    }

    fn check_absent(&self, read: &Read<'_>, element: &str, is_back: impl Fn() -> bool) -> Verdict {
        let until = read.call.ended.unwrap_or(usize::MAX);
        match self.there {
            Some((from, by)) if from < read.start && self.may_remove(until).is_none() => {
                let fate = if is_back() {
                    "is missed here (stale)"
                } else {
                    "is lost"
                };
                invalid(format!("{element} was there and {fate}"), read.call, &[by])
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
