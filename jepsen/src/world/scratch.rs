//! Where a run keeps its nodes' disks: gone afterwards, also what a killed run left.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const PREFIX: &str = "yin-jepsen-";
/// Room in memory below which images go to the temporary directory instead.
const MEMORY_WANTED: u64 = 4 << 30;

/// Directories of one run, removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Mount points, or the nodes' directories themselves. A short path: sockets lie in it.
    pub(crate) plain: PathBuf,
    /// Disk images: in memory where there is room.
    pub(crate) images: PathBuf,
}

impl Scratch {
    /// # Errors
    /// When a directory cannot be made.
    pub(crate) fn make() -> Result<Self> {
        let temporary = std::env::temp_dir();
        let memory = Path::new("/dev/shm");
        for place in [&*temporary, memory] {
            remove_leftovers(place);
        }
        let name = format!("{PREFIX}{}", std::process::id());
        let images = if has_room(memory) { memory } else { &temporary };
        let scratch = Self {
            plain: temporary.join(&name),
            images: images.join(format!("{name}-images")),
        };
        for dir in [&scratch.plain, &scratch.images] {
            std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Mounts below would keep the directories; lazily, since a dying node may still hold one.
        for entry in std::fs::read_dir(&self.plain)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() && is_mount_point(&path) {
                report("unmounting", &path, unmount(&path));
            }
        }
        for dir in [&self.plain, &self.images] {
            report("removing", dir, std::fs::remove_dir_all(dir));
        }
    }
}

fn report(what: &str, path: &Path, result: std::io::Result<()>) {
    if let Err(error) = result {
        eprintln!("{what} {}: {error}", path.display());
    }
}

fn unmount(path: &Path) -> std::io::Result<()> {
    let status = std::process::Command::new("umount")
        .arg("--lazy")
        .arg(path)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("umount: {status}")))
    }
}

/// Another device than its parent's.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
    path.parent().map(device) != Some(device(path))
}

fn has_room(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|free| free.f_bavail * free.f_frsize > MEMORY_WANTED)
}

/// Removes what runs left that were killed: their process is gone.
fn remove_leftovers(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let pid = rest.trim_end_matches("-images");
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            report(
                "removing",
                &entry.path(),
                std::fs::remove_dir_all(entry.path()),
            );
        }
    }
}
