//! Damage that no clean store could do: every one must be found.
use std::collections::BTreeMap;

use checkers::history::{ABSENT, Action, Call, Event, Grant, Kind, Level, Outcome, calls};

use crate::store::{Dice, ROUGH, Weather, history};
use crate::{SUBJECTS, Subject, judge};

const HISTORIES: u64 = 800;

/// Every outcome is known.
const CALM: Weather = Weather {
    failed: 10,
    unknown: 0,
};

/// Each kind of damage must have been possible so often, or it proves nothing.
const TRIES_MIN: usize = 50;

/// Damages the history, where it can.
type Damage = fn(&mut Wreck, &mut Dice) -> Option<()>;

/// A history with its calls, to damage.
struct Wreck {
    events: Vec<Event>,
    calls: Vec<Call>,
}

fn damages(subject: Subject) -> Vec<(&'static str, Damage)> {
    match subject {
        Subject::Set | Subject::Members => vec![
            ("drop what was there at rest", drop_at_rest),
            ("double", double),
            ("phantom", phantom),
            ("count one more at rest", |wreck, _| wreck.count(1)),
            ("count one less at rest", |wreck, _| wreck.count(-1)),
        ],
        Subject::Register => vec![("phantom", phantom), ("stale", stale)],
        Subject::Log | Subject::Session => vec![
            ("drop what was there at rest", drop_at_rest),
            ("double", double),
            ("phantom", phantom),
            ("swap", swap),
            ("show what failed", show_failed),
            ("lose the end", lose_end),
        ],
        Subject::Graph => vec![
            ("drop what was there at rest", drop_at_rest),
            ("double", double),
            ("phantom", phantom),
            ("count one more at rest", |wreck, _| wreck.count(1)),
            ("count one less at rest", |wreck, _| wreck.count(-1)),
        ],
        Subject::Unique => vec![("two winners", two_winners), ("locked out", locked_out)],
        Subject::Pages => vec![
            ("drop what was there at rest", drop_at_rest),
            ("double", double),
            ("phantom", phantom),
            ("swap", swap),
            ("show what failed", show_failed),
        ],
        Subject::Blob => vec![
            ("drop what was there at rest", drop_at_rest),
            ("double", double),
            ("phantom", phantom),
            ("show what failed", show_failed),
            ("other bytes", other_bytes),
            ("no bytes", no_bytes),
        ],
    }
}

#[test]
fn all_damage_is_found() {
    let mut counts: BTreeMap<(Subject, &str), usize> = BTreeMap::new();
    for subject in SUBJECTS {
        for seed in 0..HISTORIES {
            let mut dice = Dice(seed ^ 0xdead_0000);
            // Some are calm and some have one client: only then some damage is certain.
            let weather = if seed % 2 == 0 { ROUGH } else { CALM };
            let clean = history(subject, 60, 1 + dice.roll(4), weather, &mut dice);
            for (name, damage) in damages(subject) {
                let mut wreck = Wreck {
                    calls: calls(&clean).unwrap(),
                    events: clean.clone(),
                };
                if damage(&mut wreck, &mut dice).is_none() {
                    continue;
                }
                let verdict = judge(subject, &wreck.events);
                assert!(
                    verdict.is_invalid(),
                    "{subject:?}, {name}, seed {seed}: {verdict:?}"
                );
                *counts.entry((subject, name)).or_default() += 1;
            }
        }
        for (name, _) in damages(subject) {
            let count = counts.get(&(subject, name)).copied().unwrap_or_default();
            assert!(
                count >= TRIES_MIN,
                "{subject:?}: {name} was possible {count} times"
            );
        }
    }
}

impl Wreck {
    /// The last good end whose action fits.
    fn last(&mut self, fits: impl Fn(&Action) -> bool) -> Option<&mut Action> {
        let mut events = self.events.iter_mut().rev();
        let event = events.find(|event| event.kind == Kind::Ok && fits(&event.action));
        event.map(|event| &mut event.action)
    }

    /// Lists of the last read that shows at least so many.
    fn listed(&mut self, at_least: usize) -> Option<&mut Vec<String>> {
        let fits = |action: &Action| {
            let mut action = action.clone();
            list(&mut action).is_some_and(|list| list.len() >= at_least)
        };
        self.last(fits).and_then(list)
    }

    /// Changes a count that was read when all was quiet and sure.
    fn count(&mut self, by: i64) -> Option<()> {
        let is_unknown = |call: &Call| call.outcome == Outcome::Unknown;
        let overlap = |pair: &[Call]| pair[0].ended.is_none_or(|ended| ended > pair[1].invoked);
        if self.calls.iter().any(is_unknown) || self.calls.windows(2).any(overlap) {
            return None;
        }
        match self
            .last(|action| matches!(action, Action::ReadCount { .. } | Action::ReadDegree { .. }))?
        {
            Action::ReadCount { count, .. } => *count = count.map(|count| count + by),
            Action::ReadDegree { followers, .. } => {
                *followers = followers.map(|followers| followers + by);
            }
            _ => return None,
        }
        Some(())
    }

    /// Was this certainly put there, by a write that was heard of?
    fn is_acknowledged(&self, text: &str) -> bool {
        self.calls.iter().any(|call| {
            call.outcome == Outcome::Ok
                && match &call.action {
                    Action::Add { element, .. } => element == text,
                    Action::Append { text: sent, .. }
                    | Action::SessionAppend { text: sent, .. } => sent == text,
                    Action::Upload { name, .. } => name == text,
                    _ => false,
                }
        })
    }

    fn is_removed(&self, text: &str) -> bool {
        self.calls.iter().any(|call| match &call.action {
            Action::Remove { element, .. } => element == text,
            _ => false,
        })
    }
}

/// What a read shows, if it shows a list. Local reads and friends promise less.
fn list(action: &mut Action) -> Option<&mut Vec<String>> {
    match action {
        Action::ReadSet { elements, .. } => elements.as_mut(),
        Action::ReadLog {
            after: None, texts, ..
        } => texts.as_mut(),
        Action::SessionRead { level, texts, .. } if *level == Level::Fresh => texts.as_mut(),
        Action::ReadGraph { users, view, .. } if *view != checkers::history::View::Friends => {
            users.as_mut()
        }
        Action::ReadPages {
            is_fresh: true,
            is_whole: true,
            pages,
            ..
        } => pages.as_mut()?.last_mut(),
        _ => None,
    }
}

/// Something that was acknowledged and never taken away is missing at the end.
fn drop_at_rest(wreck: &mut Wreck, dice: &mut Dice) -> Option<()> {
    let is_graph = matches!(wreck.events.last()?.action, Action::ReadDegree { .. });
    if is_graph {
        // Both ends are read at rest: one of them now says otherwise. One unknown write could
        // explain a change in between.
        if wreck
            .calls
            .iter()
            .any(|call| call.outcome == Outcome::Unknown)
        {
            return None;
        }
        wreck.listed(1)?.pop();
        return Some(());
    }
    let shown = wreck.listed(1)?.clone();
    let is_sure = |text: &&String| wreck.is_acknowledged(text) && !wreck.is_removed(text);
    let sure: Vec<String> = shown.iter().filter(is_sure).cloned().collect();
    let dropped = dice.pick(&sure)?;
    wreck.listed(1)?.retain(|text| text != dropped);
    Some(())
}

fn double(wreck: &mut Wreck, dice: &mut Dice) -> Option<()> {
    let list = wreck.listed(1)?;
    let doubled = dice.pick(list)?.clone();
    list.insert(dice.roll(list.len()), doubled);
    Some(())
}

fn phantom(wreck: &mut Wreck, dice: &mut Dice) -> Option<()> {
    if let Some(Action::Read { value, .. }) =
        wreck.last(|action| matches!(action, Action::Read { .. }))
    {
        *value = Some(-7);
        return Some(());
    }
    let list = wreck.listed(1)?;
    list.insert(dice.roll(list.len()), "phantom".into());
    Some(())
}

/// A new value was acknowledged, and the next read does not know of it.
fn stale(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    let (key, old) = match wreck.last(|action| matches!(action, Action::Read { .. }))? {
        Action::Read { key, value } => (key.clone(), (*value)?),
        _ => return None,
    };
    let is_unknown = |call: &Call| call.outcome == Outcome::Unknown;
    if wreck.calls.iter().any(is_unknown) {
        return None;
    }
    let value = Some(old);
    let write = Action::Write {
        key: key.clone(),
        value: 99,
    };
    let read = Action::Read { key, value };
    for action in [write, read] {
        for kind in [Kind::Invoke, Kind::Ok] {
            wreck.events.push(Event {
                index: wreck.events.len(),
                time_ns: 0,
                process: 9_999,
                kind,
                action: action.clone(),
                node: String::new(),
                error: None,
            });
        }
    }
    Some(())
}

/// Two that were put there one after the other change places.
fn swap(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    let times: BTreeMap<String, (usize, usize)> = wreck
        .calls
        .iter()
        .filter(|call| call.outcome == Outcome::Ok)
        .filter_map(|call| match &call.action {
            Action::Add { element: text, .. }
            | Action::Append { text, .. }
            | Action::SessionAppend { text, .. } => {
                Some((text.clone(), (call.invoked, call.ended?)))
            }
            _ => None,
        })
        .collect();
    let list = wreck.listed(2)?;
    for n in 1..list.len() {
        let (Some(one), Some(other)) = (times.get(&list[n - 1]), times.get(&list[n])) else {
            continue;
        };
        if one.1 < other.0 || other.1 < one.0 {
            list.swap(n - 1, n);
            return Some(());
        }
    }
    None
}

/// What was certainly not done is shown.
fn show_failed(wreck: &mut Wreck, dice: &mut Dice) -> Option<()> {
    let failed = wreck
        .calls
        .iter()
        .filter(|call| call.outcome == Outcome::Fail);
    let failed: Vec<String> = failed
        .filter_map(|call| match &call.action {
            Action::Add { element: text, .. }
            | Action::Append { text, .. }
            | Action::SessionAppend { text, .. }
            | Action::Upload { name: text, .. } => Some(text.clone()),
            _ => None,
        })
        .collect();
    let shown = dice.pick(&failed)?.clone();
    wreck.listed(1)?.push(shown);
    Some(())
}

/// The latest that was acknowledged is not there yet for one who reads later.
fn lose_end(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    let last = wreck.listed(1)?.last()?.clone();
    if !wreck.is_acknowledged(&last) {
        return None;
    }
    wreck.listed(1)?.pop();
    Some(())
}

fn two_winners(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    let won: Vec<String> = wreck
        .calls
        .iter()
        .filter_map(|call| match &call.action {
            Action::Register {
                name,
                granted: Some(Grant::To(_)),
                ..
            } if call.outcome == Outcome::Ok => Some(name.clone()),
            _ => None,
        })
        .collect();
    let action = wreck.last(|action| match action {
        Action::Register {
            name,
            granted: Some(Grant::Refused),
            ..
        } => won.contains(name),
        _ => false,
    })?;
    if let Action::Register { granted, .. } = action {
        *granted = Some(Grant::To("another".into()));
    }
    Some(())
}

/// The last logins are those of the winners.
fn locked_out(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    let last = wreck.events.last()?.action.clone();
    let Action::Login { name, password, .. } = &last else {
        return None;
    };
    let is_won = wreck.calls.iter().any(|call| match &call.action {
        Action::Register {
            name: claimed,
            password: with,
            granted: Some(Grant::To(_)),
        } => call.outcome == Outcome::Ok && claimed == name && with == password,
        _ => false,
    });
    if !is_won {
        return None;
    }
    if let Some(Action::Login { granted, .. }) =
        wreck.last(|action| matches!(action, Action::Login { .. }))
    {
        *granted = Some(Grant::Refused);
    }
    Some(())
}

fn other_bytes(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    digest(wreck, "altered")
}

fn no_bytes(wreck: &mut Wreck, _: &mut Dice) -> Option<()> {
    digest(wreck, ABSENT)
}

fn digest(wreck: &mut Wreck, altered: &str) -> Option<()> {
    let is_fetch = |action: &Action| matches!(action, Action::Download { .. });
    if let Action::Download { digest, .. } = wreck.last(is_fetch)? {
        *digest = Some(altered.to_owned());
    }
    Some(())
}
