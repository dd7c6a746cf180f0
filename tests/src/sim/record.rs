//! The history of a run, for the checkers. Every operation is a process of its own: one that ended
//! in *unknown* is never used again that way.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use checkers::history::{Action, Event, Kind};

use super::clock;
use super::invariants::Watch;
use super::trace::{Trace, note};

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Record {
    trace: Trace,
    watch: Watch,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    processes: u64,
}

/// An operation under way.
pub(crate) struct Begun {
    process: u64,
    action: Action,
    node: u64,
}

impl Record {
    pub(crate) fn new(trace: Trace, watch: Watch) -> Self {
        Self {
            trace,
            watch,
            inner: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, process: u64, kind: Kind, action: Action, node: u64) {
        note!(self.trace, "p{process} {kind:?} {action:?} at n{node}");
        let mut inner = self.lock();
        let index = inner.events.len();
        inner.events.push(Event {
            index,
            time_ns: clock::now_ms() * 1_000_000,
            process,
            kind,
            action,
            node: format!("n{node}"),
            error: None,
        });
    }

    pub(crate) fn begin(&self, node: u64, action: Action) -> Begun {
        let process = {
            let mut inner = self.lock();
            inner.processes += 1;
            inner.processes
        };
        self.push(process, Kind::Invoke, action.clone(), node);
        Begun {
            process,
            action,
            node,
        }
    }

    pub(crate) fn ok(&self, begun: Begun) {
        let action = begun.action.clone();
        self.ok_with(begun, action);
    }

    pub(crate) fn ok_with(&self, begun: Begun, action: Action) {
        self.watch.count(|it| it.ok_operations += 1);
        self.push(begun.process, Kind::Ok, action, begun.node);
    }

    pub(crate) fn fail(&self, begun: Begun) {
        self.watch.count(|it| it.failed_operations += 1);
        self.push(begun.process, Kind::Fail, begun.action, begun.node);
    }

    pub(crate) fn unknown(&self, begun: Begun) {
        self.watch.count(|it| it.unknown_operations += 1);
        self.push(begun.process, Kind::Info, begun.action, begun.node);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }
}
