//! What servers have used up so far, as the kernel counts it.
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// The kernel's unit in `/proc/diskstats`, whatever the disk's is.
const SECTOR_BYTES: u64 = 512;

/// The disk that the servers write to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    major: u32,
    minor: u32,
}

impl Disk {
    /// Where `folder` lies.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let device = std::fs::metadata(folder)
            .with_context(|| format!("looking at {}", folder.display()))?
            .dev();
        Ok(Self {
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
        })
    }

    /// Written since the machine is up, by whomever: what the kernel counts per process counts
    /// whole folios, up to a hundred times what reaches the disk. 0 for what is no disk.
    fn written_bytes(self) -> u64 {
        let stats = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
        sectors(&stats, self.major, self.minor).unwrap_or_default() * SECTOR_BYTES
    }
}

/// What servers, and the disk, have done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system, all threads, and children that have ended.
    pub(crate) cpu: Duration,
    /// By the whole disk; on a machine with others it is more than the servers'.
    pub(crate) written_bytes: u64,
    /// Resident now.
    pub(crate) resident_bytes: u64,
}

impl Usage {
    /// Reads the counters; a process that is gone adds nothing.
    pub(crate) fn of(pids: &[u32], disk: Disk) -> Self {
        let cpu = pids.iter().filter_map(|&pid| load::cpu::of_family(pid));
        let resident = pids.iter().filter_map(|&pid| resident_bytes(pid));
        Self {
            cpu: cpu.sum(),
            written_bytes: disk.written_bytes(),
            resident_bytes: resident.sum(),
        }
    }

    /// What was used since `earlier`; memory as it is now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// `VmRSS`.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(number_behind(&text, "VmRSS:")? * 1_024)
}

/// `VmHWM`: the most that was resident since the process began, or since [`forget_peak`].
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(number_behind(&text, "VmHWM:")? * 1_024)
}

/// Lets the peak begin anew.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting a peak of memory")
}

fn number_behind(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Sectors written: the tenth column.
fn sectors(stats: &str, major: u32, minor: u32) -> Option<u64> {
    stats.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = columns.first()?.parse() == Ok(major) && columns.get(1)?.parse() == Ok(minor);
        is_it.then(|| columns.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name_and_device() {
        assert_eq!(number_behind("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number_behind("VmHWM: 1 kB\n", "VmRSS:"), None);
        let stats = " 254 0 vda 1 2 3 4 5 6 700 8 9\n 254 1 vda1 1 2 3 4 5 6 800 8 9\n";
        assert_eq!(sectors(stats, 254, 1), Some(800));
        assert_eq!(sectors(stats, 7, 0), None);
    }

    #[test]
    fn what_is_written_reaches_the_disk() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (pids, disk) = ([std::process::id()], Disk::of(folder.path()).unwrap());
        let before = Usage::of(&pids, disk);
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        let used = Usage::of(&pids, disk).since(before);
        // No disk of its own (overlay, tmpfs): nothing to count.
        let is_counted = disk.written_bytes() > 0;
        assert!(!is_counted || used.written_bytes >= 1 << 20, "{used:?}");
        assert!(used.resident_bytes > 1 << 20, "{used:?}");
    }
}
