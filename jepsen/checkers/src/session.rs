//! A client that roams between nodes: it reads what it wrote (read your writes), never an older
//! state than before (monotonic reads), and others see its writes in order and after what it had
//! seen (monotonic writes, writes follow reads), over all logs of a history together.
//!
//! Black box: only unique texts in append-only logs are looked at, never the positions that a node
//! gives its clients, so that a lying position hides nothing. Each log first must have one order
//! ([`crate::ordered_log`], which also judges fresh reads); what a session knows then is a length
//! for each log.
use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Call, Level, Outcome};
use crate::ordered_log::{self, Order};
use crate::verdict::Verdict;

/// Judges all sessions of a history. A session has one operation under way at a time.
pub fn check(calls: &[Call]) -> Verdict {
    let orders = ordered_log::check(calls);
    if orders.is_invalid() {
        return orders;
    }
    let logs = ordered_log::logs(calls);
    let mut judge = Judge::default();
    for call in calls {
        let (Action::SessionAppend { key, .. } | Action::SessionRead { key, .. }) = &call.action
        else {
            continue;
        };
        if !judge.numbers.contains_key(key.as_str())
            && let Some(log) = logs.get(key.as_str())
            && let Ok(order) = log.order()
        {
            judge.numbers.insert(key, judge.logs.len());
            judge.logs.push(Known::new(order));
        }
    }
    orders.and(judge.run(calls))
}

/// How much of one log must be there, and the operations that show why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Need {
    length: usize,
    because: Vec<usize>,
    /// It comes from another session's write.
    is_indirect: bool,
    is_own_write: bool,
}

/// What is needed of each log, by its number; later logs have higher numbers.
type Needs = BTreeMap<usize, Need>;

/// So many logs are kept in mind, the latest: workloads go on to new ones, and a mind of all that
/// ever were would make a long history cost its square.
const LOGS_MAX: usize = 12;

fn need_of(needs: &Needs, number: usize) -> Need {
    needs.get(&number).cloned().unwrap_or_default()
}

fn put(needs: &mut Needs, number: usize, need: Need) {
    needs.insert(number, need);
    if needs.len() > LOGS_MAX {
        needs.pop_first();
    }
}

fn merge(needs: &mut Needs, other: &Needs) {
    for (number, other) in other {
        if needs
            .get(number)
            .is_none_or(|need| other.length > need.length)
        {
            put(needs, *number, other.clone());
        }
    }
}

/// A log with what each of its texts needs, and all before it.
struct Known<'a> {
    order: Order<'a>,
    /// By position; only as far as it was asked for.
    needs: Vec<Needs>,
}

impl<'a> Known<'a> {
    fn new(order: Order<'a>) -> Self {
        let needs = Vec::new();
        Self { order, needs }
    }
}

#[derive(Default)]
struct Judge<'a> {
    logs: Vec<Known<'a>>,
    numbers: HashMap<&'a str, usize>,
    sessions: HashMap<&'a str, Needs>,
    /// What the writer of a text knew when it sent it, and its operation.
    sent: HashMap<&'a str, (Needs, usize)>,
}

impl<'a> Judge<'a> {
    fn run(&mut self, calls: &'a [Call]) -> Verdict {
        for (is_end, call) in moments(calls) {
            let verdict = match &call.action {
                Action::SessionAppend { session, key, text } if !is_end => {
                    self.begins(call, session, key, text)
                }
                Action::SessionAppend { session, key, text } => {
                    self.wrote(call, session, key, text);
                    Verdict::Valid
                }
                Action::SessionRead {
                    session,
                    key,
                    level: Level::Session | Level::Fresh,
                    texts: Some(texts),
                } if is_end => self.saw(call, session, key, texts.len()),
                _ => Verdict::Valid,
            };
            if verdict.is_invalid() {
                return verdict;
            }
        }
        Verdict::Valid
    }

    fn needs(&mut self, session: &'a str) -> &mut Needs {
        self.sessions.entry(session).or_default()
    }

    /// A write comes after all that its session knows.
    fn begins(&mut self, call: &Call, session: &'a str, key: &str, text: &'a str) -> Verdict {
        let needs = self.needs(session).clone();
        let place = self.numbers.get(key).and_then(|number| {
            let position = self.logs[*number].order.position.get(text)?;
            Some((*number, *position))
        });
        if let Some((number, position)) = place
            && position < need_of(&needs, number).length
        {
            let need = need_of(&needs, number);
            let promise = if need.is_own_write {
                "monotonic writes"
            } else {
                "writes follow reads"
            };
            let why = format!("{promise}: {text} is before what its session knew when it wrote it");
            return broken(why, &need, call);
        }
        self.sent.insert(text, (needs, call.invoked));
        Verdict::Valid
    }

    /// An acknowledged write is known to its session.
    fn wrote(&mut self, call: &Call, session: &'a str, key: &str, text: &str) {
        let Some(number) = self.numbers.get(key).copied() else {
            return;
        };
        // A text that no whole read has: whether that is a loss is the order's question.
        let Some(position) = self.logs[number].order.position.get(text).copied() else {
            return;
        };
        let needs = self.needs(session);
        if need_of(needs, number).length <= position {
            let need = Need {
                length: position + 1,
                because: vec![call.invoked],
                is_indirect: false,
                is_own_write: true,
            };
            put(needs, number, need);
        }
    }

    fn saw(&mut self, call: &Call, session: &'a str, key: &str, length: usize) -> Verdict {
        let Some(number) = self.numbers.get(key).copied() else {
            return Verdict::Valid;
        };
        let need = need_of(self.needs(session), number);
        if length < need.length {
            let promise = match (need.is_own_write, need.is_indirect) {
                (true, _) => "read your writes",
                (false, false) => "monotonic reads",
                (false, true) => "writes follow reads",
            };
            let why = format!(
                "{promise}: session {session} knew of {} texts in {key} and was given {length}",
                need.length
            );
            return broken(why, &need, call);
        }
        let carried = self.carried(number, length, call);
        let needs = self.needs(session);
        merge(needs, &carried);
        if need_of(needs, number).length < length {
            let need = Need {
                length,
                because: vec![call.invoked],
                is_indirect: false,
                is_own_write: false,
            };
            put(needs, number, need);
        }
        Verdict::Valid
    }

    /// All that the writers of the first `length` texts knew.
    fn carried(&mut self, number: usize, length: usize, read: &Call) -> Needs {
        let log = &mut self.logs[number];
        for position in log.needs.len()..length {
            let mut needs = log.needs.last().cloned().unwrap_or_default();
            let text = log.order.texts[position].as_str();
            if let Some((sent, append)) = self.sent.get(text) {
                let mut sent = sent.clone();
                for need in sent.values_mut() {
                    need.is_indirect = true;
                    need.is_own_write = false;
                    need.because.push(*append);
                    need.because.dedup();
                    // The first and the last links tell the story.
                    while need.because.len() > OPERATIONS_MAX - 2 {
                        need.because.remove(1);
                    }
                }
                merge(&mut needs, &sent);
            }
            log.needs.push(needs);
        }
        let Some(last) = length.checked_sub(1) else {
            return Needs::new();
        };
        let mut carried = log.needs[last].clone();
        for need in carried.values_mut() {
            need.because.push(read.invoked);
        }
        carried
    }
}

/// More operations tell a person no more.
const OPERATIONS_MAX: usize = 6;

fn broken(why: String, need: &Need, call: &Call) -> Verdict {
    let mut operations = need.because.clone();
    operations.push(call.invoked);
    operations.sort_unstable();
    operations.dedup();
    Verdict::Invalid { why, operations }
}

/// Beginnings and good ends in order of time.
fn moments(calls: &[Call]) -> Vec<(bool, &Call)> {
    let mut moments = Vec::new();
    for call in calls {
        moments.push((call.invoked, false, call));
        if let Some(ended) = call.ended.filter(|_| call.outcome == Outcome::Ok) {
            moments.push((ended, true, call));
        }
    }
    moments.sort_unstable_by_key(|(index, _, _)| *index);
    let moments = moments.into_iter();
    moments.map(|(_, is_end, call)| (is_end, call)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, calls};

    fn say(session: &str, key: &str, text: &str) -> Action {
        Action::SessionAppend {
            session: session.into(),
            key: key.into(),
            text: text.into(),
        }
    }

    fn hear(session: &str, key: &str, texts: &[&str]) -> Action {
        at(Level::Session, session, key, texts)
    }

    fn at(level: Level, session: &str, key: &str, texts: &[&str]) -> Action {
        Action::SessionRead {
            session: session.into(),
            key: key.into(),
            level,
            texts: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
        }
    }

    fn why(history: Builder) -> String {
        match check(&calls(&history.build()).unwrap()) {
            Verdict::Valid => "valid".into(),
            Verdict::Invalid { why, operations } => {
                assert!((2..=6).contains(&operations.len()), "{operations:?}");
                why
            }
            Verdict::Unknown { why } => panic!("{why}"),
        }
    }

    #[test]
    fn others_may_lag_but_not_oneself() {
        let base = || Builder::default().ok(1, say("s", "k", "a"));
        let whole = |history: Builder| history.ok(9, hear("z", "k", &["a"]));
        assert_eq!(why(whole(base().ok(2, hear("t", "k", &[])))), "valid");
        let own = why(whole(base().ok(1, hear("s", "k", &[]))));
        assert!(own.starts_with("read your writes"), "{own}");
        let back = base()
            .ok(2, hear("t", "k", &["a"]))
            .ok(2, hear("t", "k", &[]));
        assert!(why(back).starts_with("monotonic reads"));
    }

    #[test]
    fn levels_are_judged_at_what_they_promise() {
        let base = || Builder::default().ok(1, say("s", "k", "a"));
        let whole = |history: Builder| history.ok(9, hear("z", "k", &["a"]));
        let local = whole(base().ok(1, at(Level::Local, "s", "k", &[])));
        assert_eq!(why(local), "valid");
        let fresh = whole(base().ok(2, at(Level::Fresh, "t", "k", &[])));
        assert!(why(fresh).contains("acknowledged before this read"));
    }

    #[test]
    fn what_a_writer_knew_its_readers_must_be_shown() {
        let base = || {
            Builder::default()
                .ok(1, say("s", "x", "a"))
                .ok(1, say("s", "y", "b"))
                .ok(2, hear("t", "y", &["b"]))
        };
        let shown = base().ok(2, hear("t", "x", &["a"]));
        assert_eq!(why(shown), "valid");
        let hidden = base()
            .ok(2, hear("t", "x", &[]))
            .ok(9, hear("z", "x", &["a"]));
        assert!(why(hidden).starts_with("writes follow reads"));
    }

    #[test]
    fn a_write_is_never_before_what_its_session_saw() {
        let overlapping = |order: &[&str]| {
            Builder::default()
                .event(1, crate::history::Kind::Invoke, say("s", "k", "a"))
                .ok(2, hear("t", "k", &order[..1]))
                .ok(2, say("t", "k", "b"))
                .event(1, crate::history::Kind::Ok, say("s", "k", "a"))
                .ok(3, hear("u", "k", order))
        };
        assert_eq!(why(overlapping(&["a", "b"])), "valid");
    }
}
