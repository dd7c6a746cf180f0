//! Making bytes survive a power cut; a seam, so that tests can count and break it.

use std::fs::File;
use std::io;
use std::path::Path;

/// Where an answer waits until what it promises is on the disk.
pub trait Disk: Send + Sync + 'static {
    /// Returns when a file's bytes, or the names in a directory, survive a power cut. Blocking.
    fn sync(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn sync(&self, path: &Path) -> io::Result<()> {
        // Linux syncs a directory through a descriptor opened for reading, as it does a file.
        File::open(path)?.sync_all()
    }
}
