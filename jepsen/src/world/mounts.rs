//! A mount namespace of our own, so that all that is mounted here vanishes with this process.
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

/// Says that this process is in its own namespace already.
const MARK: &str = "YIN_JEPSEN_MOUNTS";

/// Why nothing can be mounted here, if so.
pub(crate) fn is_possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".into());
    }
    for tool in ["unshare", "mount", "umount", "mkfs.ext4"] {
        super::tool(tool)?;
    }
    if !std::path::Path::new("/dev/loop-control").exists() {
        return Err("/dev/loop-control is missing".into());
    }
    Ok(())
}

/// Starts this program again in a mount namespace of its own, unless that was done. It keeps its
/// process id.
///
/// # Errors
/// When it cannot be started again.
pub(crate) fn enter() -> Result<()> {
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let itself = std::env::current_exe().context("finding this program")?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(itself)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    Err(error).context("starting again in a mount namespace (unshare)")
}
