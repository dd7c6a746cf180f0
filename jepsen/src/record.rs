//! Records what clients invoke and what comes of it.
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use checkers::history::{Action, Event, Kind};

/// One history under way. Clones share it.
#[derive(Clone)]
pub(crate) struct Recorder {
    begun: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            events: Arc::default(),
        }
    }

    pub(crate) fn note(&self, process: u64, kind: Kind, action: Action, node: &str) {
        let time_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut events = self.events.lock().expect("no recorder panics");
        let index = events.len();
        events.push(Event {
            index,
            time_ns,
            process,
            kind,
            action,
            node: node.to_owned(),
        });
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no recorder panics").clone()
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
