//! One total order per conversation: no loss, no double, no reorder, the same for everyone.
//!
//! Every read must be a contiguous slice of one order. That order is read off the longest reads;
//! then real time is held against it: what was acknowledged before another was begun comes first.
use std::collections::BTreeMap;

use crate::history::{Action, Call, Outcome};
use crate::verdict::Verdict;

/// Judges all logs of a history. Texts are unique.
pub fn check(calls: &[Call]) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        match &call.action {
            Action::Append { key, .. } | Action::ReadLog { key, .. } => {
                keys.entry(key).or_default().push(call);
            }
            _ => {}
        }
    }
    keys.values()
        .map(|calls| check_key(calls))
        .fold(Verdict::Valid, Verdict::and)
}

type Read<'a> = (&'a Call, Option<&'a str>, &'a [String]);

fn reads<'a>(calls: &[&'a Call]) -> Vec<Read<'a>> {
    let completed = calls.iter().filter(|call| call.outcome == Outcome::Ok);
    completed
        .filter_map(|call| match &call.action {
            Action::ReadLog {
                after,
                texts: Some(texts),
                ..
            } => Some((*call, after.as_deref(), texts.as_slice())),
            _ => None,
        })
        .collect()
}

fn check_key(calls: &[&Call]) -> Verdict {
    let reads = reads(calls);
    let mut appends: BTreeMap<&str, &Call> = BTreeMap::new();
    for call in calls {
        if let Action::Append { text, .. } = &call.action {
            appends.insert(text, call);
        }
    }
    if reads.is_empty() && !appends.is_empty() {
        return Verdict::Unknown {
            why: "no log was ever read".into(),
        };
    }
    let order = match order(&reads) {
        Ok(order) => order,
        Err(verdict) => return verdict,
    };
    check_texts(&order, &appends, &reads)
        .and(check_losses(&order, &appends, &reads))
        .and(check_real_time(&order, &appends))
}

/// The one order that all reads are slices of: position by text.
fn order<'a>(reads: &[Read<'a>]) -> Result<BTreeMap<&'a str, usize>, Verdict> {
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    let mut texts_at: Vec<&str> = Vec::new();
    let mut sorted: Vec<&Read<'a>> = reads.iter().collect();
    // Whole reads first, the longest of them first: later ones are slices of what is known.
    sorted.sort_by_key(|(_, after, texts)| (after.is_some(), std::cmp::Reverse(texts.len())));
    for (call, after, texts) in sorted {
        let from = match after {
            None => 0,
            Some(after) => match order.get(after) {
                Some(position) => position + 1,
                // The cursor was never seen itself: its reader only sent it.
                None => continue,
            },
        };
        for (position, text) in (from..).zip(*texts) {
            match (texts_at.get(position), order.get(text.as_str())) {
                (Some(known), _) if *known == text => {}
                (None, None) => {
                    order.insert(text, position);
                    texts_at.push(text);
                }
                (known, _) => {
                    let expected = known.unwrap_or(&"nothing");
                    return Err(Verdict::Invalid {
                        why: format!("position {position}: {text} here, {expected} elsewhere"),
                        operations: vec![call.invoked],
                    });
                }
            }
        }
    }
    Ok(order)
}

fn check_texts(
    order: &BTreeMap<&str, usize>,
    appends: &BTreeMap<&str, &Call>,
    reads: &[Read<'_>],
) -> Verdict {
    for text in order.keys() {
        let first_seen = reads
            .iter()
            .filter(|(_, _, texts)| texts.iter().any(|seen| seen == text))
            .filter_map(|(call, _, _)| call.ended)
            .min();
        match appends.get(text) {
            None => {
                return Verdict::Invalid {
                    why: format!("{text} was never sent"),
                    operations: Vec::new(),
                };
            }
            Some(call) if call.outcome == Outcome::Fail => {
                return Verdict::Invalid {
                    why: format!("{text} failed and is there"),
                    operations: vec![call.invoked],
                };
            }
            Some(call) if first_seen.is_some_and(|seen| seen < call.invoked) => {
                return Verdict::Invalid {
                    why: format!("{text} was read before it was sent"),
                    operations: vec![call.invoked],
                };
            }
            Some(_) => {}
        }
    }
    Verdict::Valid
}

/// Every whole read has all that was acknowledged before it began.
fn check_losses(
    order: &BTreeMap<&str, usize>,
    appends: &BTreeMap<&str, &Call>,
    reads: &[Read<'_>],
) -> Verdict {
    for (read, after, texts) in reads {
        let from = match after {
            None => 0,
            Some(after) => match order.get(after) {
                Some(position) => position + 1,
                None => continue,
            },
        };
        let until = from + texts.len();
        for (text, append) in appends {
            let is_due = append.outcome == Outcome::Ok
                && append.ended.is_some_and(|ended| ended < read.invoked);
            if !is_due {
                continue;
            }
            let is_behind = order.get(text).is_some_and(|position| *position < until);
            if !is_behind {
                return Verdict::Invalid {
                    why: format!("{text} was acknowledged before this read and is not in it"),
                    operations: vec![append.invoked, read.invoked],
                };
            }
        }
    }
    Verdict::Valid
}

/// What was acknowledged before another was begun comes first.
fn check_real_time(order: &BTreeMap<&str, usize>, appends: &BTreeMap<&str, &Call>) -> Verdict {
    let mut placed: Vec<(usize, &Call)> = order
        .iter()
        .filter_map(|(text, position)| Some((*position, *appends.get(text)?)))
        .collect();
    placed.sort_by_key(|(position, _)| *position);
    // Walking backwards: the earliest end among what comes later must not precede a beginning.
    let mut earliest: Option<(usize, &Call)> = None;
    for (_, call) in placed.iter().rev() {
        if let Some((ended, later)) = earliest
            && ended < call.invoked
        {
            return Verdict::Invalid {
                why: "acknowledged first, ordered second".into(),
                operations: vec![later.invoked, call.invoked],
            };
        }
        if let Some(ended) = call.ended.filter(|_| call.outcome == Outcome::Ok)
            && earliest.is_none_or(|(known, _)| ended < known)
        {
            earliest = Some((ended, call));
        }
    }
    Verdict::Valid
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
