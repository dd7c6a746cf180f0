//! One process of the built binary.
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait;

/// The built `yin`.
///
/// # Panics
/// When it is not built.
pub fn yin() -> PathBuf {
    let here = std::env::current_exe().expect("this test has a path");
    let path = here
        .parent()
        .and_then(Path::parent)
        .expect("test binaries lie in target/<profile>/deps")
        .join("yin");
    assert!(
        path.exists(),
        "{} is missing: run `cargo build -p node` (or `make test`) first",
        path.display()
    );
    path
}

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `yin` with these arguments; both its outputs are appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[String], environment: &[(String, String)], log: &Path) -> Self {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log can be opened");
        let errors = output.try_clone().expect("the log can be shared");
        let child = Command::new(yin())
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("yin can be started");
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be awaited");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).expect("a pid fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid is positive");
        rustix::process::kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end `within` the time.
    pub async fn terminate(mut self, within: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended(within).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end `within` the time.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = std::cell::RefCell::new(&mut self.child);
        wait::until("the process to end", within, || {
            let ended = child
                .borrow_mut()
                .try_wait()
                .expect("our own child can be asked");
            async move { ended }
        })
        .await
    }

    /// Has it ended?
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn is_gone(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("our own child can be asked")
            .is_some()
    }

    /// All that it printed so far.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is fine; a test that failed leaves nothing running.
        if self.child.kill().is_ok()
            && let Err(error) = self.child.wait()
        {
            eprintln!("awaiting pid {}: {error}", self.child.id());
        }
    }
}

/// Runs `yin` to its end; gives status, standard output and standard error.
///
/// # Panics
/// When it cannot be started.
pub fn run(arguments: &[String]) -> (ExitStatus, String, String) {
    let output = Command::new(yin())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("yin can be started");
    (
        output.status,
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Changes one bit of a file in place.
///
/// # Panics
/// When the file is shorter or the disk refuses.
pub fn flip_bit(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt as _;
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the file can be opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .expect("within the file");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, offset).expect("written back");
    file.sync_all().expect("synced");
}
