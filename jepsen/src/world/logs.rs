//! What nodes printed: the last lines for the report, and lines that must never be there.
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Lines of each log that are kept.
const TAIL: usize = 40;
/// Lines that matter are kept up to this many per node.
const TELLING_MAX: usize = 50;

/// What one node's log tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) tail: Vec<String>,
    /// Panics and broken invariants.
    pub(crate) panics: Vec<String>,
    /// Lines of level ERROR.
    pub(crate) errors: Vec<String>,
    /// Snapshots that were installed here.
    pub(crate) snapshots_installed: u64,
}

/// Makes the folder that nodes log to, without what an earlier run of the same seed left there: its
/// panics are not this run's.
///
/// # Errors
/// When it cannot be emptied or made.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    std::fs::create_dir_all(path)
}

/// Reads the log at `path`; one that is not there is empty.
pub(crate) fn read(path: &Path) -> Log {
    let bytes = std::fs::read(path).unwrap_or_default();
    understand(&String::from_utf8_lossy(&bytes))
}

fn understand(text: &str) -> Log {
    let mut log = Log::default();
    for line in text.lines() {
        if is_panic(line) {
            push(&mut log.panics, line);
        } else if level(line).as_deref() == Some("ERROR") {
            push(&mut log.errors, line);
        }
        if line.contains("\"snapshot installed\"") {
            log.snapshots_installed += 1;
        }
    }
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].iter();
    log.tail = tail.map(|line| (*line).to_owned()).collect();
    log
}

fn push(lines: &mut Vec<String>, line: &str) {
    if lines.len() < TELLING_MAX {
        lines.push(line.to_owned());
    }
}

fn is_panic(line: &str) -> bool {
    (line.contains("panicked at") || line.contains("invariant") || line.contains("memory allocation"))
        // Their words, said on purpose by a message of lower rank.
        && !matches!(level(line).as_deref(), Some("INFO" | "DEBUG" | "WARN"))
}

fn level(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["level"].as_str().map(str::to_owned)
}

/// For the report: the tail of each log, with panics and errors before it.
pub(crate) fn for_report(logs: &BTreeMap<String, Log>) -> BTreeMap<String, Vec<String>> {
    logs.iter()
        .map(|(node, log)| {
            let lines = log.panics.iter().chain(&log.errors).chain(&log.tail);
            (node.clone(), lines.cloned().collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{make_folder, read, understand};

    #[test]
    fn what_an_earlier_run_logged_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        make_folder(&logs).unwrap();
        let log = logs.join("n1.log");
        std::fs::write(&log, "thread 'main' panicked at raft/src/x.rs:1:1:\n").unwrap();
        assert_eq!(read(&log).panics.len(), 1);
        make_folder(&logs).unwrap();
        assert!(read(&log).tail.is_empty());
    }

    #[test]
    fn panics_and_errors_are_found_and_words_alone_are_not() {
        let log = understand(
            "{\"level\":\"INFO\",\"message\":\"invariant kept\"}\n\
             {\"level\":\"ERROR\",\"message\":\"the disk refuses\"}\n\
             thread 'main' panicked at raft/src/x.rs:1:1:\n\
             {\"level\":\"ERROR\",\"message\":\"invariant broken\"}\n\
             {\"level\":\"INFO\",\"message\":\"snapshot installed\"}\n",
        );
        assert_eq!(log.snapshots_installed, 1);
        assert_eq!(log.panics.len(), 2, "{log:?}");
        assert_eq!(log.errors.len(), 1, "{log:?}");
        assert_eq!(log.tail.len(), 5);
    }
}
