//! How much room this disk has.
//!
//! A disk that fills stops the log for good: a failed write is never tried again. So the node has to
//! refuse before that, while there is a reserve left, and to take up work when space returns.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Room is low below the reserve, and stays low until there is this much more than it, in percent.
const RETURN_PERCENT: u64 = 110;

/// What a look at the disk showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Whether the node should refuse writes.
    pub is_low: bool,
}

/// Watches the file system of one directory.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    reserve_bytes: u64,
    was_low: AtomicBool,
}

impl Reserve {
    /// Watches the file system that holds `path`, of which `reserve_bytes` are to stay free.
    #[must_use]
    pub fn new(path: &Path, reserve_bytes: u64) -> Reserve {
        Reserve {
            path: path.to_owned(),
            reserve_bytes,
            was_low: AtomicBool::new(false),
        }
    }

    /// Looks at the disk. Room that became low is enough again only when there is clearly more, so
    /// that the node does not flutter at the edge.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn check(&self) -> io::Result<Room> {
        Ok(self.judge(free_bytes(&self.path)?))
    }

    fn judge(&self, free_bytes: u64) -> Room {
        let needed = if self.was_low.load(Ordering::Relaxed) {
            self.reserve_bytes.saturating_mul(RETURN_PERCENT) / 100
        } else {
            self.reserve_bytes
        };
        let is_low = free_bytes < needed;
        self.was_low.store(is_low, Ordering::Relaxed);
        Room { free_bytes, is_low }
    }
}

/// Bytes that this process may still write on the file system that holds `path`.
///
/// # Errors
/// When the file system does not answer.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_room_returns_only_with_a_margin() {
        let reserve = Reserve::new(Path::new("/"), 1000);
        let is_low = |free| reserve.judge(free).is_low;
        assert!(!is_low(1000));
        assert!(is_low(999));
        assert!(is_low(1050), "not yet clearly more");
        assert!(!is_low(1100));
        assert!(!is_low(1050), "it did not become low again");
    }

    #[test]
    fn the_disk_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(Reserve::new(dir.path(), u64::MAX).check().unwrap().is_low);
        assert!(free_bytes(&dir.path().join("absent")).is_err());
    }
}
