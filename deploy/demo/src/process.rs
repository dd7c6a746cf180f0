//! Starting processes that outlive us, and ending exactly those.
//!
//! A process id alone says nothing: it may have been given to another program since. A record
//! holds the id, the executable and the start time; a signal goes through a pidfd that was opened
//! *before* the record was compared, so that it can't reach a successor.
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

/// SIGKILL needs no consent, only the end of a system call.
const KILLED_WITHIN: Duration = Duration::from_secs(30);

/// Who a process is, for as long as the machine is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pid: i32,
    /// Clock ticks from boot to its start (`/proc/<pid>/stat`, field 22).
    started_ticks: u64,
    executable: PathBuf,
}

/// A process of a record that was found alive and the same.
pub(crate) struct Running {
    pidfd: Arc<OwnedFd>,
    record: Record,
}

/// Starts `program` in a process group of its own, so that Ctrl-C in the terminal reaches us alone
/// and we stop the parts in order. Its output is appended to `log`; its record is left in
/// `pid_file`.
pub(crate) fn spawn(mut command: Command, log: &Path, pid_file: &Path) -> anyhow::Result<Child> {
    for path in [log, pid_file] {
        let folder = path
            .parent()
            .expect("log and pid file lie in folders of the layout");
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let output = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("opening {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
    let pid = child.id().context("it ended at once")?;
    let record = Record::of(i32::try_from(pid)?)?.context("it ended at once")?;
    fs::write(pid_file, serde_json::to_vec(&record)?)
        .with_context(|| format!("writing {}", pid_file.display()))?;
    Ok(child)
}

impl Record {
    /// Reads who has this id now; `None` if nobody, or only a zombie.
    fn of(pid: i32) -> anyhow::Result<Option<Self>> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let gone = |error: &std::io::Error| {
            // ESRCH: it ended between open and read.
            error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(3)
        };
        let stat = match fs::read_to_string(process.join("stat")) {
            Ok(stat) => stat,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error).context("reading /proc"),
        };
        let executable = match fs::read_link(process.join("exe")) {
            Ok(executable) => executable,
            Err(error) if gone(&error) || error.kind() == ErrorKind::PermissionDenied => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("reading /proc"),
        };
        let Some((state, started_ticks)) = parse_stat(&stat) else {
            bail!("/proc/{pid}/stat is not understood: {stat}");
        };
        if matches!(state, 'Z' | 'X') {
            return Ok(None);
        }
        let executable = without_deleted_mark(&executable);
        Ok(Some(Self {
            pid,
            started_ticks,
            executable,
        }))
    }

    /// The record left by [`spawn`]; `None` if there is none.
    fn load(pid_file: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(pid_file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged: delete it", pid_file.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", pid_file.display())),
        }
    }
}

impl Running {
    /// Finds the process that `pid_file` tells of. `None` if it ended, also if another process has
    /// its id now.
    pub(crate) fn find(pid_file: &Path) -> anyhow::Result<Option<Self>> {
        let Some(record) = Record::load(pid_file)? else {
            return Ok(None);
        };
        let pid = Pid::from_raw(record.pid).context("a record without a process id")?;
        let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error).context("opening a pidfd"),
        };
        if Record::of(record.pid)?.as_ref() != Some(&record) {
            return Ok(None);
        }
        Ok(Some(Self {
            pidfd: Arc::new(pidfd),
            record,
        }))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.record.pid
    }

    /// Waits until it has ended, at most for `patience`. True if it has.
    pub(crate) async fn ended_within(&self, patience: Duration) -> anyhow::Result<bool> {
        let pidfd = Arc::clone(&self.pidfd);
        // A pidfd becomes readable when its process ends. It is not our child, perhaps, so that
        // nothing asynchronous waits for it; the wait is short or the last thing we do.
        let wait = move || {
            let patience = Timespec::try_from(patience)?;
            let mut fds = [PollFd::new(&*pidfd, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&patience)).context("waiting on a pidfd")?;
            anyhow::Ok(ready > 0)
        };
        tokio::task::spawn_blocking(wait).await?
    }

    /// Asks it to stop and insists after `patience`. True if it stopped by itself.
    pub(crate) async fn stop(&self, patience: Duration) -> anyhow::Result<bool> {
        self.send(Signal::TERM)?;
        if self.ended_within(patience).await? {
            return Ok(true);
        }
        self.kill().await?;
        Ok(false)
    }

    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.send(Signal::KILL)?;
        let has_ended = self.ended_within(KILLED_WITHIN).await?;
        ensure!(
            has_ended,
            "process {} survives SIGKILL: a disk may hang",
            self.pid()
        );
        Ok(())
    }

    fn send(&self, signal: Signal) -> anyhow::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            // It ended by itself meanwhile.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signalling process {}", self.pid())),
        }
    }
}

/// State letter and start time. The name in parentheses may hold spaces and parentheses itself, so
/// the fields are counted from the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 3 was the state; the start time is field 22.
    let started_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, started_ticks))
}

/// A rebuilt binary is a new file; the kernel then marks the old one's path.
fn without_deleted_mark(executable: &Path) -> PathBuf {
    let text = executable.to_string_lossy();
    PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(folder: &Path, program: &str, arguments: &[&str]) -> (Child, PathBuf) {
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        let pid_file = folder.join("pids").join("it");
        let child = spawn(command, &folder.join("logs").join("it.log"), &pid_file).unwrap();
        (child, pid_file)
    }

    #[test]
    fn fields_are_counted_after_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("17 (a) b) {rest}")), Some(('S', 4711)));
        assert_eq!(parse_stat("17 (a) S 1"), None);
        assert_eq!(parse_stat("nothing"), None);
    }

    #[tokio::test]
    async fn only_the_recorded_process_is_found_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, pid_file) = start(folder.path(), "sleep", &["1000"]);
        let running = Running::find(&pid_file).unwrap().expect("it runs");
        assert_eq!(u32::try_from(running.pid()).ok(), child.id());

        // The same id with another start time or program is somebody else: not found.
        let honest = Record::load(&pid_file).unwrap().unwrap();
        let younger = Record {
            started_ticks: honest.started_ticks + 1,
            ..honest.clone()
        };
        let other = Record {
            executable: PathBuf::from("/bin/other"),
            ..honest.clone()
        };
        for stranger in [younger, other] {
            fs::write(&pid_file, serde_json::to_vec(&stranger).unwrap()).unwrap();
            assert!(Running::find(&pid_file).unwrap().is_none(), "{stranger:?}");
        }
        assert!(child.try_wait().unwrap().is_none(), "nobody signalled it");

        assert!(
            running.stop(Duration::from_secs(60)).await.unwrap(),
            "SIGTERM was enough"
        );
        // A zombie until it is waited for, and no longer running.
        fs::write(&pid_file, serde_json::to_vec(&honest).unwrap()).unwrap();
        assert!(Running::find(&pid_file).unwrap().is_none());
        child.wait().await.unwrap();
        assert!(Running::find(&pid_file).unwrap().is_none());
    }

    #[tokio::test]
    async fn one_that_ignores_the_request_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("logs").join("it.log");
        // The log tells when the trap is set: a signal before that would end it.
        let stubborn = "trap '' TERM; echo ready; while :; do :; done";
        let (mut child, pid_file) = start(folder.path(), "/bin/sh", &["-c", stubborn]);
        let set = async {
            while fs::read_to_string(&log).unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), set)
            .await
            .unwrap();
        let running = Running::find(&pid_file).unwrap().expect("it runs");
        assert!(!running.stop(Duration::from_millis(50)).await.unwrap());
        assert!(!child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = spawn(
            Command::new(folder.path().join("no-such-program")),
            &folder.path().join("logs").join("it.log"),
            &folder.path().join("pids").join("it"),
        )
        .unwrap_err();
        assert!(error.to_string().contains("no-such-program"), "{error:#}");
    }
}
