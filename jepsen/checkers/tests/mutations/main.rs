//! Shows that the checkers see what is wrong and nothing else: thousands of clean histories from a
//! model store pass, every damage that makes a history impossible is found, and where small
//! histories can be tried by brute force the verdict is the same.
//!
//! Read [`store`] first (how clean histories come to be), then [`damage`].
#![allow(clippy::unwrap_used, reason = "in a test it is the assertion")]

mod clean;
mod damage;
mod models;
mod oracle;
mod small;
mod speed;
mod store;

use checkers::history::{Call, Event, calls};
use checkers::verdict::Verdict;
use checkers::{
    blob, counter, graph, members, ordered_log, pages, register, session, set_full, unique,
};

/// What is judged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Set,
    Members,
    Register,
    Log,
    Session,
    Graph,
    Unique,
    Pages,
    Blob,
}

pub(crate) const SUBJECTS: [Subject; 9] = [
    Subject::Set,
    Subject::Members,
    Subject::Register,
    Subject::Log,
    Subject::Session,
    Subject::Graph,
    Subject::Unique,
    Subject::Pages,
    Subject::Blob,
];

pub(crate) fn judge(subject: Subject, history: &[Event]) -> Verdict {
    let calls: Vec<Call> = calls(history).expect("the model store keeps the rules");
    match subject {
        Subject::Set => set_full::check(&calls).and(counter::check(&calls)),
        Subject::Members => members::check(&calls).and(counter::check(&calls)),
        Subject::Register => register::check(&calls, 0),
        Subject::Log => ordered_log::check(&calls),
        Subject::Session => session::check(&calls),
        Subject::Graph => graph::check(&calls),
        Subject::Unique => unique::check(&calls),
        Subject::Pages => pages::check(&calls),
        Subject::Blob => blob::check(&calls),
    }
}
