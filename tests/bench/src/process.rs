//! One server process of ours; it ends when it is dropped.
use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Starting, electing and joining take seconds even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what tells nothing by itself.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A stop hands leadership over and flushes.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; both its outputs go to `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = command
            // A backtrace would push the reason out of the few lines that are shown.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Logs grow by a line a request; nobody reads those of a run that went well.
    pub(crate) fn forget_log(&self) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.log);
        let cut = file.and_then(|file: File| file.set_len(0));
        cut.with_context(|| format!("cutting {}", self.log.display()))
    }

    /// What it has put out so far.
    pub(crate) fn log(&self) -> Result<String> {
        let log = &self.log;
        std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))
    }

    /// Looks until `is_there` gives something, the process ends, or the time is up.
    pub(crate) fn await_that<T>(
        &mut self,
        what: &str,
        mut is_there: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = is_there() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended ({status}) before {what}. {}",
                    self.name,
                    self.end_of_log()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{}: not {what} after {} s. {}",
                    self.name,
                    PATIENCE.as_secs(),
                    self.end_of_log()
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    pub(crate) fn await_port(&mut self, address: SocketAddr) -> Result<()> {
        self.await_that("listening", || TcpStream::connect(address).ok())
            .map(drop)
    }

    /// Asks it to end, waits, and insists.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a pid")?;
        let pid = Pid::from_raw(pid).context("a pid is positive")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("stopping {}", self.name))?;
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("{} does not stop. {}", self.name, self.end_of_log())
    }

    fn end_of_log(&self) -> String {
        const LINES: usize = 12;
        let bytes = match std::fs::read(&self.log) {
            Ok(bytes) => bytes,
            Err(error) => return format!("Its log {} can't be read: {error}", self.log.display()),
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        format!(
            "The end of {}:\n  {}",
            self.log.display(),
            last.join("\n  ")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        if self.child.kill().is_ok()
            && let Err(error) = self.child.wait()
        {
            eprintln!(
                "bench: awaiting {} ({}): {error}",
                self.name,
                self.child.id()
            );
        }
    }
}

/// Runs a short command to its end and gives what it printed.
pub(crate) fn run(mut command: Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {printed}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(printed)
}

/// Where logs go: to memory where there is such a place, so that they are no part of what the
/// servers write to the disk. What earlier runs left there, because they were killed, is removed.
pub(crate) fn log_folder(dir: &Path) -> Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        forget_the_dead(memory, Path::new("/proc"))?;
        memory.join(format!("{LOGS}{}", std::process::id()))
    } else {
        dir.join("logs")
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Name of a folder of logs, up to the process id of its owner.
const LOGS: &str = "yin-bench-";

fn forget_the_dead(memory: &Path, processes: &Path) -> Result<()> {
    for entry in std::fs::read_dir(memory).context("looking for old logs")? {
        let entry = entry?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(LOGS));
        let Some(owner) = owner.and_then(|owner| owner.parse::<u32>().ok()) else {
            continue;
        };
        if !processes.join(owner.to_string()).exists() {
            let path = entry.path();
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_of_dead_owners_are_removed() {
        let (memory, processes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["yin-bench-7", "yin-bench-8", "yin-bench-x", "other"] {
            std::fs::create_dir(memory.path().join(name)).unwrap();
        }
        std::fs::create_dir(processes.path().join("8")).unwrap();
        forget_the_dead(memory.path(), processes.path()).unwrap();
        let is_left = |name: &str| memory.path().join(name).exists();
        assert!(!is_left("yin-bench-7"));
        assert!(is_left("yin-bench-8") && is_left("yin-bench-x") && is_left("other"));
    }

    #[test]
    fn a_process_that_ends_early_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no luck, backtrace=$RUST_BACKTRACE; exit 3"]);
        let log = folder.path().join("log");
        let mut process = Process::start("it", command, log).unwrap();
        let error = process.await_that("ready", || None::<()>).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no luck, backtrace=0"),
            "{error}"
        );
    }
}
