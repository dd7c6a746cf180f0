//! A share of a processor for one process: control groups of version 2 or 1, whichever is there.
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The kernel counts quotas over this long.
const PERIOD_US: u64 = 100_000;

/// A group of our own; it is removed when it is dropped.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a group that gets `cores` processors at most.
    ///
    /// # Errors
    /// When there is no cpu controller that may be used: it takes root.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of some processors in microseconds"
    )]
    pub(crate) fn new(name: &str, cores: f64) -> Result<Self> {
        let quota_us = (cores * PERIOD_US as f64) as u64;
        let root = Path::new("/sys/fs/cgroup");
        let has_cpu = |file: &str| {
            let words = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            words.split_whitespace().any(|word| word == "cpu")
        };
        let is_second = has_cpu("cgroup.subtree_control");
        let parent = if is_second {
            root.to_owned()
        } else {
            root.join("cpu")
        };
        let path = parent.join(format!("yin-bench-{}-{name}", std::process::id()));
        std::fs::create_dir(&path)
            .with_context(|| format!("making {} (needs root)", path.display()))?;
        let group = Self(path);
        if is_second {
            group.set("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        } else {
            group.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            group.set("cpu.cfs_quota_us", &quota_us.to_string())?;
        }
        Ok(group)
    }

    /// Moves a process in, with all its threads.
    pub(crate) fn take_in(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        std::fs::write(&path, value).with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel refuses while a process is in it; whoever was in it has been awaited.
        match std::fs::remove_dir(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("bench: removing {}: {error}", self.0.display());
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// Where groups cannot be made there is nothing to show.
    #[test]
    fn a_group_holds_its_process_back() {
        let Ok(group) = Cgroup::new("test", 0.1) else {
            return;
        };
        let mut child = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        group.take_in(child.id()).unwrap();
        let (began, before) = (Instant::now(), load::cpu::of_family(child.id()).unwrap());
        while began.elapsed() < Duration::from_millis(1_000) {
            std::thread::yield_now();
        }
        let used = load::cpu::of_family(child.id()).unwrap() - before;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(used < Duration::from_millis(250), "{used:?}");
    }
}
