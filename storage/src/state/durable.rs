//! What the state must at least hold when it is opened.
//!
//! The state's own log recovers to a point in time: after damage it opens with a shorter history and
//! says nothing. So each commit carries a count, and each time something is made durable the count is
//! noted in a file of its own. Counts only compare within one lineage: a snapshot begins a new one.
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::error::Fault;
use serde::{Deserialize, Serialize};

/// The history that a count counts in.
pub(super) type Lineage = [u8; 16];

const NAME: &str = "durable";
const FIXED_BYTES: usize = 24;

/// What was committed last; stored beside the data, in the same batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) lineage: Lineage,
    pub(super) commits: u64,
    pub(super) marker: Bytes,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.marker.len());
        bytes.extend_from_slice(&self.lineage);
        bytes.extend_from_slice(&self.commits.to_be_bytes());
        bytes.extend_from_slice(&self.marker);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Record, Fault> {
        let (fixed, marker) = bytes
            .split_first_chunk::<FIXED_BYTES>()
            .ok_or_else(|| Fault("the record of the last commit is too short".to_owned()))?;
        let (lineage, commits) = fixed.split_at(16);
        Ok(Record {
            lineage: lineage.try_into().expect("sixteen bytes were cut"),
            commits: u64::from_be_bytes(commits.try_into().expect("eight bytes were cut")),
            marker: Bytes::copy_from_slice(marker),
        })
    }

    pub(super) fn bound(&self) -> Bound {
        Bound {
            lineage: self.lineage,
            commits: self.commits,
        }
    }
}

/// So many commits of a lineage are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) lineage: Lineage,
    pub(super) commits: u64,
}

/// The note on disk. While a snapshot is being installed, there are two bounds: one of them holds.
#[derive(Debug)]
pub(super) struct DurableNote {
    path: PathBuf,
    bounds: Vec<Bound>,
}

impl DurableNote {
    pub(super) fn create(dir: &Path, bound: Bound) -> io::Result<DurableNote> {
        let mut note = DurableNote {
            path: dir.join(NAME),
            bounds: Vec::new(),
        };
        note.replace(vec![bound])?;
        Ok(note)
    }

    pub(super) fn is_in(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// Reads the note; `None` when it does not verify.
    pub(super) fn open(dir: &Path) -> io::Result<Option<DurableNote>> {
        let path = dir.join(NAME);
        let bytes = fs::read(&path)?;
        let bounds = bytes
            .split_last_chunk::<4>()
            .filter(|(body, sum)| crc32c::crc32c(body).to_le_bytes() == **sum)
            .and_then(|(body, _)| postcard::from_bytes(body).ok());
        Ok(bounds.map(|bounds| DurableNote { path, bounds }))
    }

    /// How many commits must be there, of the history that a record belongs to; `None` when that
    /// history is not the one that was durable.
    pub(super) fn commits_min(&self, record: &Record) -> Option<u64> {
        let mut bounds = self.bounds.iter();
        let bound = bounds.find(|bound| bound.lineage == record.lineage)?;
        Some(bound.commits)
    }

    /// Raises the bound of the only lineage.
    pub(super) fn raise(&mut self, bound: Bound) -> io::Result<()> {
        if self.bounds == [bound] {
            return Ok(());
        }
        self.replace(vec![bound])
    }

    /// From now on a state that begins with this bound is as good.
    pub(super) fn allow(&mut self, bound: Bound) -> io::Result<()> {
        let mut bounds = self.bounds.clone();
        bounds.retain(|other| other.lineage != bound.lineage);
        bounds.push(bound);
        self.replace(bounds)
    }

    fn replace(&mut self, bounds: Vec<Bound>) -> io::Result<()> {
        let mut bytes = postcard::to_stdvec(&bounds).map_err(io::Error::other)?;
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        write_durably(&self.path, &bytes)?;
        self.bounds = bounds;
        Ok(())
    }
}

/// Replaces a file by one with these contents: a crash leaves the old or the new one, whole.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
