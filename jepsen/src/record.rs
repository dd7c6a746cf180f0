//! Records what clients invoke and what comes of it.
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use checkers::history::{Action, Event, Kind};

use crate::evidence::Begun;

/// What went well so far, over all workloads of a run. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Counts>);

#[derive(Default)]
struct Counts {
    ok: AtomicU64,
    last_read_ns: AtomicU64,
    last_write_ns: AtomicU64,
}

impl Progress {
    pub(crate) fn ok_count(&self) -> u64 {
        self.0.ok.load(Ordering::Relaxed)
    }

    /// When the last read (write) went well; 0: none has yet.
    pub(crate) fn last_ok_ns(&self, is_write: bool) -> u64 {
        self.last(is_write).load(Ordering::Relaxed)
    }

    fn last(&self, is_write: bool) -> &AtomicU64 {
        if is_write {
            &self.0.last_write_ns
        } else {
            &self.0.last_read_ns
        }
    }

    fn went_well(&self, time_ns: u64, is_write: bool) {
        self.0.ok.fetch_add(1, Ordering::Relaxed);
        self.last(is_write).fetch_max(time_ns, Ordering::Relaxed);
    }
}

/// One history under way. Clones share it.
#[derive(Clone)]
pub(crate) struct Recorder {
    begun: Begun,
    progress: Progress,
    events: Arc<Mutex<Vec<Event>>>,
    processes: Arc<AtomicU64>,
}

impl Recorder {
    pub(crate) fn new(begun: Begun, progress: Progress) -> Self {
        Self {
            begun,
            progress,
            events: Arc::default(),
            processes: Arc::default(),
        }
    }

    /// A process number that no other client of this history has or had.
    pub(crate) fn new_process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note(
        &self,
        process: u64,
        kind: Kind,
        action: Action,
        node: &str,
        error: Option<String>,
    ) {
        let is_write = !action.is_read();
        let mut events = self.events.lock().expect("no recorder panics");
        // Under the lock, so that times never run against indexes.
        let time_ns = self.begun.elapsed_ns();
        let index = events.len();
        events.push(Event {
            index,
            time_ns,
            process,
            kind,
            action,
            node: node.to_owned(),
            error,
        });
        if kind == Kind::Ok {
            self.progress.went_well(time_ns, is_write);
        }
    }

    /// Takes the history out; what is noted later begins a new one.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().expect("no recorder panics"))
    }
}

/// Writes a history as JSON lines.
pub(crate) fn write(path: &Path, events: &[Event]) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for event in events {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush().context("writing the history")
}
