//! The real engines under the state machine, on a real directory: the segment log and RocksDB, torn,
//! flipped and killed as a seed has it.
//!
//! A simulation has both in memory; here stands what only the engines can get wrong. [`log`] damages
//! the log's files, [`state`] kills a process that commits, [`install`] one that takes in snapshots.
pub mod install;
mod log;
pub mod state;

use std::fmt;
use std::fs;
use std::ops::AddAssign;
use std::path::Path;

use storage::owner::Owner;

use crate::model_runs::dice::Dice;

/// Why a seed did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A law broke: its name, and what was seen.
    Violation(&'static str, String),
    /// The harness could not do its work.
    Harness(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(law, what) => write!(f, "violation of {law}: {what}"),
            Self::Harness(why) => write!(f, "the harness failed: {why}"),
        }
    }
}

/// The harness cannot go on.
pub(crate) fn harness(error: impl fmt::Display) -> Trouble {
    Trouble::Harness(error.to_string())
}

/// What happened: a run in which one of these never happened proves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Damaged logs that were refused, and damage that touched nothing that counts.
    pub refused: u64,
    pub untouched: u64,
    /// Processes killed while they committed, and how many commits went with them.
    pub state_kills: u64,
    pub commits_lost: u64,
    pub snapshots: u64,
    pub kills: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.refused += other.refused;
        self.untouched += other.untouched;
        self.state_kills += other.state_kills;
        self.commits_lost += other.commits_lost;
        self.snapshots += other.snapshots;
        self.kills += other.kills;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "logs damaged: {} refused, {} untouched; {} kills while committing with {} commits \
             lost; {} snapshots, {} kills while installing",
            self.refused,
            self.untouched,
            self.state_kills,
            self.commits_lost,
            self.snapshots,
            self.kills
        )
    }
}

impl Figures {
    /// Did everything happen at least once?
    #[must_use]
    pub fn is_telling(&self) -> bool {
        let all = [
            self.refused,
            self.untouched,
            self.state_kills,
            self.commits_lost,
            self.snapshots,
            self.kills,
        ];
        all.iter().all(|count| *count > 0)
    }
}

/// Plays one seed in an empty directory under `scratch`; `me` is the binary that becomes the children
/// that are killed.
///
/// # Errors
/// [`Trouble`].
pub fn run_seed(seed: u64, scratch: &Path, me: &Path) -> Result<Figures, Trouble> {
    let mut dice = Dice::new(seed);
    let mut figures = Figures::default();
    for _ in 0..4 {
        let dir = tempfile::tempdir_in(scratch).map_err(harness)?;
        figures += log::play(&mut dice, dir.path())?;
    }
    let dir = tempfile::tempdir_in(scratch).map_err(harness)?;
    figures += state::play(&mut dice, dir.path(), me)?;
    let dir = tempfile::tempdir_in(scratch).map_err(harness)?;
    figures += install::play(&mut dice, dir.path(), me)?;
    Ok(figures)
}

fn owner(node: u64) -> Owner {
    Owner {
        cluster_id: "00112233445566778899aabbccddeeff".to_owned(),
        node,
        incarnation: [7; 16],
    }
}

/// What a process that is killed now would leave: files as they are, also what is not synced.
fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
