//! What was done to the cluster and what was found on the way, as it happens.
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use crate::evidence::{Begun, FaultEvent, FaultStep};

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Journal {
    begun: Begun,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    events: Vec<FaultEvent>,
    file: File,
    troubles: Vec<Trouble>,
    failures: Vec<String>,
}

/// A broken promise that the harness itself saw.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// `liveness`, `exits`, …
    pub(crate) check: &'static str,
    pub(crate) why: String,
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
}

impl Journal {
    /// Keeps events in `nemesis.jsonl` as well, should this run be cut short.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn new(dir: &Path, begun: Begun) -> Result<Self> {
        let path = dir.join("nemesis.jsonl");
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self {
            begun,
            shared: Arc::new(Mutex::new(Shared {
                events: Vec::new(),
                file,
                troubles: Vec::new(),
                failures: Vec::new(),
            })),
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.begun.elapsed_ns()
    }

    pub(crate) fn note(&self, event: FaultEvent) {
        if event.step != FaultStep::Bit {
            println!(
                "{:7.1} s  {:9} {} {} {}",
                std::time::Duration::from_nanos(event.time_ns).as_secs_f64(),
                step_name(event.step),
                event.fault,
                event.targets.join(","),
                event.detail
            );
        }
        let mut shared = self.shared.lock().expect("no holder panics");
        let line = serde_json::to_string(&event).expect("an event is JSON");
        if let Err(error) = writeln!(shared.file, "{line}") {
            shared
                .failures
                .push(format!("writing nemesis.jsonl: {error}"));
        }
        shared.events.push(event);
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        println!("trouble    {}: {}", trouble.check, trouble.why);
        let mut shared = self.shared.lock().expect("no holder panics");
        shared.troubles.push(trouble);
    }

    /// The harness could not do what it should: that run is no proof.
    pub(crate) fn failure(&self, what: String) {
        println!("failed     {what}");
        let mut shared = self.shared.lock().expect("no holder panics");
        shared.failures.push(what);
    }

    /// In order of time.
    pub(crate) fn events(&self) -> Vec<FaultEvent> {
        let mut events = self.shared.lock().expect("no holder panics").events.clone();
        events.sort_by_key(|event| event.time_ns);
        events
    }

    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let shared = self.shared.lock().expect("no holder panics");
        shared.troubles.clone()
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        let shared = self.shared.lock().expect("no holder panics");
        shared.failures.clone()
    }
}

fn step_name(step: FaultStep) -> &'static str {
    match step {
        FaultStep::Installed => "installed",
        FaultStep::Bit => "bit",
        FaultStep::Healed => "healed",
        FaultStep::Skipped => "skipped",
    }
}
