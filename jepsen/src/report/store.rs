//! Evidence on disk: `evidence.json` and `nemesis.jsonl`; the histories are files of their own
//! (`histories/NAME.jsonl`), which whoever recorded them writes.
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use checkers::history::Event;

use crate::evidence::Evidence;

const EVIDENCE: &str = "evidence.json";
const NEMESIS: &str = "nemesis.jsonl";
const HISTORIES: &str = "histories";

/// Writes all but the histories.
pub(crate) fn save(dir: &Path, evidence: &Evidence) -> Result<()> {
    let mut file = create(&dir.join(EVIDENCE))?;
    serde_json::to_writer(&mut file, evidence)?;
    file.flush()
        .with_context(|| format!("writing {EVIDENCE}"))?;
    let mut file = create(&dir.join(NEMESIS))?;
    for event in &evidence.faults {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush().with_context(|| format!("writing {NEMESIS}"))
}

/// Reads back what [`save`] wrote, and the histories that lie beside it.
pub(crate) fn load(dir: &Path) -> Result<Evidence> {
    let path = dir.join(EVIDENCE);
    let mut evidence: Evidence = serde_json::from_reader(open(&path)?)
        .with_context(|| format!("reading {}", path.display()))?;
    let folder = dir.join(HISTORIES);
    if !folder.is_dir() {
        return Ok(evidence);
    }
    for entry in std::fs::read_dir(&folder).context("listing the histories")? {
        let path = entry.context("listing the histories")?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy());
        let name = name.context("a history without a name")?.into_owned();
        evidence.histories.insert(name, history(&path)?);
    }
    Ok(evidence)
}

fn history(path: &Path) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for (number, line) in open(path)?.lines().enumerate() {
        let at = || format!("{} line {}", path.display(), number + 1);
        events.push(serde_json::from_str(&line.with_context(at)?).with_context(at)?);
    }
    Ok(events)
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(BufReader::new(file))
}
