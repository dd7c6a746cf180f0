//! What is listed has its bytes: every upload that was acknowledged stays listed, nothing that broke
//! off is, and whoever fetches gets exactly what was stored.
use std::collections::HashMap;

use crate::history::{ABSENT, Action, Call, Outcome};
use crate::set_full;
use crate::verdict::Verdict;

/// The part whose digest is that of the upload. Others only must be there and stay the same.
pub const PLAY: &str = "play";

/// Judges uploads, listings ([`Action::ReadSet`]) and downloads of a history.
pub fn check(calls: &[Call]) -> Verdict {
    check_listings(calls).and(check_bytes(calls))
}

/// Names are a set.
fn check_listings(calls: &[Call]) -> Verdict {
    let named = calls.iter().map(|call| match &call.action {
        Action::Upload { key, name, .. } => Call {
            action: Action::Add {
                key: key.clone(),
                element: name.clone(),
            },
            ..call.clone()
        },
        _ => call.clone(),
    });
    set_full::check(&named.collect::<Vec<_>>())
}

fn check_bytes(calls: &[Call]) -> Verdict {
    let mut uploads: HashMap<(&str, &str), (&str, &Call)> = HashMap::new();
    for call in calls {
        if let Action::Upload { key, name, digest } = &call.action {
            uploads.insert((key, name), (digest, call));
        }
    }
    let mut firsts: HashMap<(&str, &str, &str), (&str, &Call)> = HashMap::new();
    for fetch in calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        let Action::Download {
            key,
            name,
            part,
            digest: Some(digest),
        } = &fetch.action
        else {
            continue;
        };
        let upload = uploads.get(&(key.as_str(), name.as_str()));
        let invalid = |why: String, other: Option<&Call>| {
            let mut operations: Vec<usize> = other.iter().map(|call| call.invoked).collect();
            operations.push(fetch.invoked);
            Verdict::Invalid { why, operations }
        };
        let Some((stored, upload)) = upload else {
            return invalid(format!("{name} was fetched and never stored"), None);
        };
        // Who fetches had found it in a list.
        if digest == ABSENT {
            return invalid(format!("{name} is listed without its {part}"), Some(upload));
        }
        if part == PLAY && digest != stored {
            let why = format!("{name}: other bytes than were stored");
            return invalid(why, Some(upload));
        }
        let first = firsts.entry((key, name, part)).or_insert((digest, fetch));
        if first.0 != digest {
            let why = format!("the {part} of {name} is not what it was");
            return invalid(why, Some(first.1));
        }
    }
    Verdict::Valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Kind, calls};

    fn upload() -> Action {
        Action::Upload {
            key: "v".into(),
            name: "a".into(),
            digest: "d".into(),
        }
    }

    fn listed(names: &[&str]) -> Action {
        Action::ReadSet {
            key: "v".into(),
            elements: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    fn fetched(part: &str, digest: &str) -> Action {
        Action::Download {
            key: "v".into(),
            name: "a".into(),
            part: part.into(),
            digest: Some(digest.into()),
        }
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    #[test]
    fn the_same_bytes_pass() {
        let history = Builder::default()
            .ok(1, upload())
            .ok(2, listed(&["a"]))
            .ok(2, fetched(PLAY, "d"))
            .ok(2, fetched("cover", "c"))
            .ok(3, fetched("cover", "c"));
        assert_eq!(judge(history), Verdict::Valid);
    }

    #[test]
    fn lost_torn_dangling_and_changed_ones_are_found() {
        let base = || Builder::default().ok(1, upload()).ok(2, listed(&["a"]));
        assert!(judge(base().ok(2, listed(&[]))).is_invalid(), "lost");
        assert!(
            judge(base().ok(2, fetched(PLAY, ABSENT))).is_invalid(),
            "dangling"
        );
        assert!(
            judge(base().ok(2, fetched(PLAY, "x"))).is_invalid(),
            "changed"
        );
        let cover = base().ok(2, fetched("cover", "c"));
        assert!(
            judge(cover.ok(2, fetched("cover", "x"))).is_invalid(),
            "another cover"
        );
        let torn = Builder::default()
            .event(1, Kind::Invoke, upload())
            .event(1, Kind::Fail, upload())
            .ok(2, listed(&["a"]));
        assert!(judge(torn).is_invalid(), "broke off and is listed");
    }
}
