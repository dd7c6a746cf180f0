//! A real ext4 in an image file: it can lose power, fill up, and be damaged.
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::power;

/// Room of one node's disk. The image is sparse, so only what is written takes memory.
const BYTES: u64 = 512 << 20;
/// How much of a full disk stays free: less than the node's reserve.
const LEFT_FREE: u64 = 8 << 20;

/// One node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes the image `image` and mounts it at `at`.
    ///
    /// # Errors
    /// When a tool fails.
    pub(crate) async fn make(image: PathBuf, at: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&at).with_context(|| format!("making {}", at.display()))?;
        let file = File::create(&image).with_context(|| format!("making {}", image.display()))?;
        file.set_len(BYTES).context("sizing the disk image")?;
        super::run("mkfs.ext4", &["-q", "-F", super::text(&image)]).await?;
        let disk = Self { image, at };
        disk.mount().await?;
        Ok(disk)
    }

    /// From now on nothing reaches the disk. Whether that really dropped something is told by
    /// [`Disk::was_canary_lost`] after [`Disk::power_up`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn cut_power(&self) -> Result<()> {
        std::fs::write(self.canary(), [7; 4_096]).context("writing the canary")?;
        power::cut(&self.at).context("cutting the power")
    }

    /// Mounts what is on the disk. Nothing may use the file system any more.
    ///
    /// # Errors
    /// When a tool fails.
    pub(crate) async fn power_up(&self) -> Result<()> {
        self.unmount().await?;
        self.mount().await
    }

    /// Did the last cut drop what was not synced? Takes the canary away.
    pub(crate) fn was_canary_lost(&self) -> bool {
        let kept = std::fs::read(self.canary()).unwrap_or_default();
        let is_gone = std::fs::remove_file(self.canary()).is_err();
        is_gone || kept.is_empty()
    }

    /// Writes until the disk is as good as full.
    ///
    /// # Errors
    /// When the disk refuses before.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast()).context("making the ballast")?;
        let block = vec![1; 1 << 20];
        for _ in 0..BYTES >> 20 {
            if self.free_bytes()? < LEFT_FREE {
                return Ok(());
            }
            file.write_all(&block).context("filling the disk")?;
        }
        bail!("the disk does not get full")
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn free(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()).context("removing the ballast")?;
        // Or a power cut that follows at once gives the ballast back.
        let at = File::open(&self.at).context("opening the disk")?;
        at.sync_all().context("syncing that the ballast is gone")
    }

    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let free = rustix::fs::statvfs(&self.at).context("asking how full the disk is")?;
        Ok(free.f_bavail * free.f_frsize)
    }

    fn canary(&self) -> PathBuf {
        self.at.join("canary")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    async fn mount(&self) -> Result<()> {
        let (image, at) = (super::text(&self.image), super::text(&self.at));
        super::run("mount", &["-o", "loop", image, at]).await
    }

    async fn unmount(&self) -> Result<()> {
        super::run("umount", &[super::text(&self.at)]).await
    }
}

/// Changes one bit of a file in place.
///
/// # Errors
/// When the file is shorter or cannot be written.
pub(crate) fn flip_bit(path: &Path, offset: u64, bit: u32) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = File::options().read(true).write(true).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .context("reading the byte to damage")?;
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, offset).context("damaging it")?;
    file.sync_all().context("syncing the damage")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_flipped_bit_is_one_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0, 0xff, 0]).unwrap();
        super::flip_bit(&path, 1, 4).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0, 0xef, 0]);
        assert!(super::flip_bit(&path, 3, 4).is_err());
    }
}
