//! Long histories are judged in time: a run of an hour must not wait for its judge.
use std::time::{Duration, Instant};

use checkers::history::{Action, Event, Kind};

use crate::store::{Dice, ROUGH, Weather, history};
use crate::{SUBJECTS, judge};

/// What a checker may take for 100,000 operations; it takes far less unless something is quadratic.
const TIME_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_hundred_thousand_operations_are_judged_in_time() {
    for subject in SUBJECTS {
        let mut events: Vec<Event> = Vec::new();
        let mut part = 0;
        while events.len() < 200_000 {
            let mut dice = Dice(part);
            let more = history(subject, 900, 6, ROUGH, &mut dice);
            let (first, processes) = (events.len(), part * 1_000_000);
            for mut event in more {
                event.index += first;
                event.process += processes;
                rename(&mut event.action, part);
                events.push(event);
            }
            part += 1;
        }
        let begun = Instant::now();
        let verdict = judge(subject, &events);
        let took = begun.elapsed();
        assert!(verdict.is_valid(), "{subject:?}: {verdict:?}");
        assert!(took < TIME_MAX, "{subject:?} took {took:?}");
    }
}

/// Keys are rotated, as workloads do.
fn rename(action: &mut Action, part: u64) {
    let to = |key: &mut String| *key = format!("{key} of {part}");
    match action {
        Action::Add { key, .. }
        | Action::Remove { key, .. }
        | Action::ReadSet { key, .. }
        | Action::ReadMember { key, .. }
        | Action::ReadCount { key, .. }
        | Action::Write { key, .. }
        | Action::Read { key, .. }
        | Action::Append { key, .. }
        | Action::ReadLog { key, .. }
        | Action::ReadPages { key, .. }
        | Action::Upload { key, .. }
        | Action::Download { key, .. } => to(key),
        Action::SessionAppend { key, session, .. } | Action::SessionRead { key, session, .. } => {
            to(key);
            to(session);
        }
        Action::Follow { from, to: other } | Action::Unfollow { from, to: other } => {
            to(from);
            to(other);
        }
        Action::ReadGraph { of, users, .. } => {
            to(of);
            users.iter_mut().flatten().for_each(to);
        }
        Action::ReadDegree { of, .. } => to(of),
        Action::Register { name, .. } | Action::Login { name, .. } => to(name),
    }
}

/// One register with very many writes of unknown fate: decided all the same.
#[test]
fn a_key_with_many_unknown_writes_is_decided() {
    let storm = Weather {
        failed: 5,
        unknown: 40,
    };
    for seed in 0..40 {
        let mut events = history(crate::Subject::Register, 600, 8, storm, &mut Dice(seed));
        let unknown = events
            .iter()
            .filter(|event| event.kind == Kind::Info)
            .count();
        assert!(unknown >= 8, "{unknown}");
        let verdict = judge(crate::Subject::Register, &events);
        assert!(verdict.is_valid(), "seed {seed}: {verdict:?}");
        let mut ends = events.iter_mut().rev();
        let last = ends.find(|event| event.kind == Kind::Ok && event.action.is_read());
        if let Some(Event {
            action: Action::Read { value, .. },
            ..
        }) = last
        {
            *value = Some(77);
        }
        assert!(judge(crate::Subject::Register, &events).is_invalid());
    }
}
