//! The one call that the libraries at hand do not have: cutting an ext4 file system off its disk.
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `EXT4_IOC_SHUTDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is flushed.
const NO_LOG_FLUSH: u32 = 2;

/// From now on nothing reaches the disk under `mount_point` any more, not even what was written
/// before and not synced.
///
/// # Errors
/// When it is no ext4, or we are not root.
#[allow(
    unsafe_code,
    reason = "rustix offers no safe wrapper for this one request"
)]
pub(crate) fn cut(mount_point: &Path) -> io::Result<()> {
    let directory = File::open(mount_point)?;
    // SAFETY: the kernel's ext4 reads one u32 through the pointer of this request and keeps nothing
    // (fs/ext4/ioctl.c, `ext4_ioctl_shutdown`); on other file systems it is refused.
    unsafe { ioctl(&directory, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }.map_err(Into::into)
}
