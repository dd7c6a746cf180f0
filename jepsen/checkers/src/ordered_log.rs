//! One total order per conversation: no loss, no double, no reorder, the same for everyone.
//!
//! Whole reads give the order: each must be a beginning of the longest. Reads after a cursor, also
//! those that ask for one sender only, must be the slice of it that they asked for. Then real time
//! is held against it: what was acknowledged is in every fresh read that began later, and before
//! everything that was sent later. Within one sender that is FIFO.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{Action, Call, Level, Outcome};
use crate::verdict::Verdict;

/// Judges all logs of a history. Texts are unique.
pub fn check(calls: &[Call]) -> Verdict {
    logs(calls)
        .iter()
        .map(|(key, log)| log.check(key))
        .fold(Verdict::Valid, Verdict::and)
}

/// What was asked of one log.
#[derive(Default)]
pub(crate) struct Log<'a> {
    appends: HashMap<&'a str, Append<'a>>,
    reads: Vec<Read<'a>>,
}

#[derive(Clone, Copy)]
struct Append<'a> {
    call: &'a Call,
    sender: &'a str,
}

struct Read<'a> {
    call: &'a Call,
    /// The cursor, by the text it stands at.
    after: Option<&'a str>,
    /// The one sender that is asked for.
    from: Option<&'a str>,
    texts: &'a [String],
    /// It was promised to hold all that was acknowledged before.
    is_fresh: bool,
}

/// The order of a log: texts by position, and where each is.
pub(crate) struct Order<'a> {
    pub(crate) texts: &'a [String],
    pub(crate) position: HashMap<&'a str, usize>,
    /// The read it is taken from.
    read: Option<&'a Call>,
}

pub(crate) fn logs(calls: &[Call]) -> BTreeMap<&str, Log<'_>> {
    let mut logs: BTreeMap<&str, Log<'_>> = BTreeMap::new();
    for call in calls {
        let is_ok = call.outcome == Outcome::Ok;
        match &call.action {
            Action::Append { key, sender, text } => {
                let log = logs.entry(key).or_default();
                log.appends.insert(text, Append { call, sender });
            }
            Action::SessionAppend { key, session, text } => {
                let sender = session;
                let log = logs.entry(key).or_default();
                log.appends.insert(text, Append { call, sender });
            }
            Action::ReadLog {
                key,
                after,
                from,
                texts: Some(texts),
            } if is_ok => logs.entry(key).or_default().reads.push(Read {
                call,
                after: after.as_deref(),
                from: from.as_deref(),
                texts,
                is_fresh: true,
            }),
            Action::SessionRead {
                key,
                level,
                texts: Some(texts),
                ..
            } if is_ok => logs.entry(key).or_default().reads.push(Read {
                call,
                after: None,
                from: None,
                texts,
                is_fresh: *level == Level::Fresh,
            }),
            _ => {}
        }
    }
    logs
}

fn invalid(why: String, mut operations: Vec<usize>) -> Verdict {
    operations.sort_unstable();
    operations.dedup();
    Verdict::Invalid { why, operations }
}

impl<'a> Log<'a> {
    fn check(&self, key: &str) -> Verdict {
        if self.reads.is_empty() && !self.appends.is_empty() {
            return Verdict::Unknown {
                why: format!("{key} was never read"),
            };
        }
        match self.order() {
            Ok(order) => self
                .check_texts()
                .and(self.check_slices(&order))
                .and(self.check_losses(&order))
                .and(self.check_real_time(&order)),
            Err(verdict) => self.check_texts().and(verdict),
        }
    }

    fn whole(&self) -> impl Iterator<Item = &Read<'a>> {
        let reads = self.reads.iter();
        reads.filter(|read| read.after.is_none() && read.from.is_none())
    }

    /// The one order that all whole reads are beginnings of.
    pub(crate) fn order(&self) -> Result<Order<'a>, Verdict> {
        let mut order = Order {
            texts: &[],
            position: HashMap::new(),
            read: None,
        };
        let Some(longest) = self.whole().max_by_key(|read| read.texts.len()) else {
            return Ok(order);
        };
        order.read = Some(longest.call);
        order.texts = longest.texts;
        for (position, text) in longest.texts.iter().enumerate() {
            if let Some(first) = order.position.insert(text, position) {
                let why = format!("{text} is there twice, at {first} and at {position}");
                return Err(invalid(why, vec![longest.call.invoked]));
            }
        }
        for read in self.whole() {
            let pairs = read.texts.iter().zip(longest.texts).enumerate();
            let differing = pairs.into_iter().find(|(_, (one, other))| one != other);
            if let Some((position, (one, other))) = differing {
                let why = format!("position {position} is {one} to one reader, {other} to another");
                let mut operations = vec![read.call.invoked, longest.call.invoked];
                operations.extend(self.named(&[one, other]));
                return Err(invalid(why, operations));
            }
        }
        Ok(order)
    }

    fn named(&self, texts: &[&String]) -> Vec<usize> {
        let appends = texts
            .iter()
            .filter_map(|text| self.appends.get(text.as_str()));
        appends.map(|append| append.call.invoked).collect()
    }

    /// Whatever is read was sent, and did not fail.
    fn check_texts(&self) -> Verdict {
        for read in &self.reads {
            let mut seen = BTreeSet::new();
            for text in read.texts {
                let at = read.call.invoked;
                if !seen.insert(text) {
                    return invalid(format!("{text} is there twice"), vec![at]);
                }
                let Some(append) = self.appends.get(text.as_str()) else {
                    return invalid(format!("{text} was never sent"), vec![at]);
                };
                let operations = vec![append.call.invoked, at];
                if append.call.outcome == Outcome::Fail {
                    return invalid(format!("{text} failed and is there"), operations);
                }
                if read.call.ended.is_some_and(|end| end < append.call.invoked) {
                    return invalid(format!("{text} was read before it was sent"), operations);
                }
                if read.from.is_some_and(|from| from != append.sender) {
                    return invalid(format!("{text} is of another sender"), operations);
                }
            }
        }
        Verdict::Valid
    }

    /// Reads after a cursor are slices of the order. Beyond its end nothing is known.
    fn check_slices(&self, order: &Order<'_>) -> Verdict {
        for read in &self.reads {
            let Some(after) = read.after else { continue };
            // A cursor that no whole read has: its reader only saw it in another slice.
            let Some(from) = order.position.get(after) else {
                continue;
            };
            let due = order.texts[from + 1..].iter().filter(|text| {
                let append = self.appends.get(text.as_str());
                read.from.is_none() || append.map(|append| append.sender) == read.from
            });
            let mut got = read.texts.iter();
            for (due, got) in due.zip(&mut got) {
                if due != got {
                    let why = format!("after {after} comes {due}, but {got} was given");
                    let mut operations = self.named(&[due, got]);
                    operations.push(read.call.invoked);
                    operations.extend(order.read.map(|read| read.invoked));
                    return invalid(why, operations);
                }
            }
            if let Some(known) = got.find(|text| order.position.contains_key(text.as_str())) {
                let why =
                    format!("{known} was given after {after}, in another order than elsewhere");
                let mut operations = self.named(&[known]);
                operations.push(read.call.invoked);
                operations.extend(order.read.map(|read| read.invoked));
                return invalid(why, operations);
            }
        }
        Verdict::Valid
    }

    /// Every fresh read has all that was acknowledged before it began.
    fn check_losses(&self, order: &Order<'_>) -> Verdict {
        let mut senders: BTreeMap<Option<&str>, Due<'_>> = BTreeMap::new();
        let mut acknowledged: Vec<(usize, &str, Append<'_>)> = Vec::new();
        for (text, append) in &self.appends {
            if append.call.outcome == Outcome::Ok
                && let Some(ended) = append.call.ended
            {
                acknowledged.push((ended, text, *append));
            }
        }
        acknowledged.sort_unstable_by_key(|(ended, _, _)| *ended);
        for (ended, text, append) in acknowledged {
            // What no read has ever shown is due at the very end: no read goes so far.
            let position = order.position.get(text).copied().unwrap_or(usize::MAX);
            for sender in [None, Some(append.sender)] {
                senders
                    .entry(sender)
                    .or_default()
                    .add(ended, position, append.call);
            }
        }
        for read in self.reads.iter().filter(|read| read.is_fresh) {
            let Some(due) = senders.get(&read.from) else {
                continue;
            };
            let Some((position, append)) = due.before(read.call.invoked) else {
                continue;
            };
            if !self.reaches(read, order, position) {
                let text = match &append.action {
                    Action::Append { text, .. } | Action::SessionAppend { text, .. } => text,
                    _ => continue,
                };
                let why =
                    format!("{text} was acknowledged before this read began and is not in it");
                return invalid(why, vec![append.invoked, read.call.invoked]);
            }
        }
        Verdict::Valid
    }

    /// Does a read go as far as this position, or begin after it?
    fn reaches(&self, read: &Read<'_>, order: &Order<'_>, position: usize) -> bool {
        let place = |text: &str| order.position.get(text).copied();
        let from = match read.after.map(place) {
            None => None,
            Some(Some(from)) => Some(from),
            // Nothing is known of where it began.
            Some(None) => return true,
        };
        if position == usize::MAX {
            // Only a whole read certainly should have had it.
            return from.is_some();
        }
        let last = read.texts.last();
        match last {
            // Beyond the order's end: at least as far.
            Some(last) => place(last).is_none_or(|last| last >= position),
            None => from.is_some_and(|from| from >= position),
        }
    }

    /// What was acknowledged before another was sent comes first.
    fn check_real_time(&self, order: &Order<'_>) -> Verdict {
        // Walking backwards: the earliest end among what comes later must not precede a beginning.
        let mut earliest: Option<(usize, &Call)> = None;
        for text in order.texts.iter().rev() {
            let Some(Append { call, .. }) = self.appends.get(text.as_str()) else {
                continue;
            };
            if let Some((ended, later)) = earliest
                && ended < call.invoked
            {
                let why =
                    format!("{text} was sent after another was acknowledged, and is before it");
                let mut operations = vec![later.invoked, call.invoked];
                operations.extend(order.read.map(|read| read.invoked));
                return invalid(why, operations);
            }
            if let Some(ended) = call.ended.filter(|_| call.outcome == Outcome::Ok)
                && earliest.is_none_or(|(known, _)| ended < known)
            {
                earliest = Some((ended, call));
            }
        }
        Verdict::Valid
    }
}

/// How far the order must be known, growing with each acknowledgement.
#[derive(Default)]
struct Due<'a>(Vec<(usize, usize, &'a Call)>);

impl<'a> Due<'a> {
    /// In order of `ended`.
    fn add(&mut self, ended: usize, position: usize, call: &'a Call) {
        if self.0.last().is_none_or(|(_, far, _)| position > *far) {
            self.0.push((ended, position, call));
        }
    }

    /// The furthest that was acknowledged before this index.
    fn before(&self, index: usize) -> Option<(usize, &'a Call)> {
        let count = self.0.partition_point(|(ended, _, _)| *ended < index);
        let (_, position, call) = self.0.get(count.checked_sub(1)?)?;
        Some((*position, call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, calls};

    fn append(text: &str) -> Action {
        Action::Append {
            key: "k".into(),
            sender: String::new(),
            text: text.into(),
        }
    }

    fn read(texts: &[&str]) -> Action {
        read_after(None, texts)
    }

    fn read_after(after: Option<&str>, texts: &[&str]) -> Action {
        Action::ReadLog {
            key: "k".into(),
            after: after.map(str::to_owned),
            from: None,
            texts: Some(texts.iter().map(|t| (*t).to_owned()).collect()),
        }
    }

    fn abc() -> Builder {
        Builder::default()
            .ok(1, append("a"))
            .ok(2, append("b"))
            .ok(1, append("c"))
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    #[test]
    fn one_order_passes() {
        let history = abc()
            .ok(3, read(&["a", "b", "c"]))
            .ok(3, read_after(Some("a"), &["b", "c"]));
        assert_eq!(judge(history), Verdict::Valid);
    }

    #[test]
    fn loss_double_reorder_phantom_and_divergence_are_found() {
        for texts in [
            &["a", "b"][..],
            &["a", "c"],
            &["a", "b", "b", "c"],
            &["b", "a", "c"],
            &["a", "b", "x", "c"],
        ] {
            assert!(judge(abc().ok(3, read(texts))).is_invalid(), "{texts:?}");
        }
        let diverging = Builder::default()
            .event(1, crate::history::Kind::Invoke, append("a"))
            .event(2, crate::history::Kind::Invoke, append("b"))
            .event(1, crate::history::Kind::Ok, append("a"))
            .event(2, crate::history::Kind::Ok, append("b"))
            .ok(3, read(&["a", "b"]))
            .ok(4, read(&["b", "a"]));
        assert!(judge(diverging).is_invalid());
    }

    #[test]
    fn a_gap_after_a_cursor_is_found() {
        let history = abc()
            .ok(3, read(&["a", "b", "c"]))
            .ok(3, read_after(Some("a"), &["c"]));
        assert!(judge(history).is_invalid());
    }
}
