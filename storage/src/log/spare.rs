//! The next segment, prepared ahead by a thread of its own, so that rolling does not stall.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::file::{self, ROLLING, SPARE};

/// A prepared file and where it lies.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// Keeps at most one file ready.
#[derive(Debug)]
pub(super) struct Spare {
    dir: PathBuf,
    bytes: u64,
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Debug)]
enum Stage {
    Empty,
    Wanted,
    Ready(File),
    Stopped,
}

impl Spare {
    /// Prepares files of `bytes` in `dir`.
    pub(super) fn new(dir: PathBuf, bytes: u64) -> Spare {
        Spare {
            dir,
            bytes,
            stage: Mutex::new(Stage::Empty),
            changed: Condvar::new(),
        }
    }

    /// Asks for a file to be prepared.
    pub(super) fn want(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Empty) {
            *stage = Stage::Wanted;
            self.changed.notify_all();
        }
    }

    /// Gives a file of at least `bytes_min`; waits for the one in preparation, else prepares it here.
    pub(super) fn take(&self, bytes_min: u64) -> io::Result<Prepared> {
        let path = self.dir.join(ROLLING);
        if bytes_min > self.bytes {
            let file = file::prepare(&path, bytes_min)?;
            return Ok(prepared(file, path, bytes_min));
        }
        let mut stage = self.stage();
        while matches!(*stage, Stage::Wanted) {
            stage = self
                .changed
                .wait(stage)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if matches!(*stage, Stage::Ready(_))
            && let Stage::Ready(file) = std::mem::replace(&mut *stage, Stage::Empty)
        {
            return Ok(prepared(file, self.dir.join(SPARE), self.bytes));
        }
        drop(stage);
        let file = file::prepare(&path, self.bytes)?;
        Ok(prepared(file, path, self.bytes))
    }

    /// Takes a segment that is no longer needed; what cannot serve again is removed.
    pub(super) fn recycle(&self, path: &Path, file: Option<File>) -> io::Result<()> {
        let mut stage = self.stage();
        if let Some(file) = file
            && matches!(*stage, Stage::Empty)
            && file.metadata()?.len() == self.bytes
        {
            fs::rename(path, self.dir.join(SPARE))?;
            *stage = Stage::Ready(file);
            return Ok(());
        }
        drop(stage);
        file::remove_if_present(path)
    }

    /// The thread's work: returns after [`Spare::stop`].
    pub(super) fn run(&self) {
        loop {
            let mut stage = self.stage();
            loop {
                match *stage {
                    Stage::Wanted => break,
                    Stage::Stopped => return,
                    Stage::Empty | Stage::Ready(_) => {}
                }
                stage = self
                    .changed
                    .wait(stage)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(stage);
            let path = self.dir.join(SPARE);
            let made = file::prepare(&path, self.bytes).or_else(|error| {
                // On a full disk what was made of it is worth more elsewhere.
                file::remove_if_present(&path)?;
                Err(error)
            });
            let mut stage = self.stage();
            if matches!(*stage, Stage::Wanted) {
                *stage = made.map_or_else(
                    |error| {
                        tracing::warn!(%error, "the next log segment cannot be prepared");
                        Stage::Empty
                    },
                    Stage::Ready,
                );
            }
            self.changed.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        *self.stage() = Stage::Stopped;
        self.changed.notify_all();
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepared(file: File, path: PathBuf, bytes: u64) -> Prepared {
    Prepared { file, path, bytes }
}
