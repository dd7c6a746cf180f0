//! One node: where it is, and its process while it runs.
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use router::Member;
use rustix::process::{Pid, Signal, kill_process};

use super::admin::{self, Status};
use super::clock::Clock;
use super::disk::Disk;
use super::s3::keys;
use super::{World, text, wait};

/// How long a node may take to answer what is cheap.
const ANSWER: Duration = Duration::from_millis(700);
/// What a node logs.
const USUAL: &str = "info,access=warn,openraft=warn,chitchat=warn,s3s=warn";
/// Enough to fill a pipe within seconds.
const TALKATIVE: &str = "debug";
/// The smallest pipe that the kernel makes.
const PIPE_BYTES: usize = 4_096;
/// No line fits into what is left.
const FULL_FROM: u64 = 4_000;
/// `kill -9` and a stop are over within this, or something is wrong with the machine.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// One node of the cluster under test.
pub(crate) struct Node {
    /// `n1`, `n2`, …
    pub(crate) name: String,
    pub(crate) member: Member,
    pub(crate) http: SocketAddr,
    pub(crate) cluster: SocketAddr,
    /// Its data directory, on its disk.
    pub(crate) data: PathBuf,
    pub(crate) disk: Option<Disk>,
    pub(crate) clock: Option<Clock>,
    /// What it printed, over all its lives.
    pub(crate) log: PathBuf,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    child: Option<Child>,
    /// Reading end of a standard error that nobody reads.
    unread: Option<std::io::PipeReader>,
    /// A join token of its own, for a node that comes new.
    token: Option<String>,
}

impl Node {
    pub(crate) fn new(
        name: String,
        member: Member,
        (http, cluster): (SocketAddr, SocketAddr),
        at: PathBuf,
        disk: Option<Disk>,
        clock: Option<Clock>,
        log: PathBuf,
    ) -> Self {
        Self {
            name,
            member,
            http,
            cluster,
            data: at.join("data"),
            disk,
            clock,
            log,
            life: Mutex::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The process, while it runs. One that has ended has no id any more: it may be another's.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let mut life = self.life.lock().expect("no holder panics");
        let child = life.child.as_mut()?;
        if !matches!(child.try_wait(), Ok(None)) {
            return None;
        }
        Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"))
    }

    /// A token to join with, instead of the cluster's first one.
    pub(crate) fn give_token(&self, token: String) {
        self.life.lock().expect("no holder panics").token = Some(token);
    }

    /// Starts the process, without waiting until it serves.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub(crate) fn start(&self, world: &World) -> Result<()> {
        let log = self.open_log()?;
        self.start_with(world, Stdio::from(log), USUAL)
    }

    /// Starts it with a standard error that nobody reads: a full pipe must not stop it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub(crate) fn start_unread(&self, world: &World) -> Result<()> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES).context("making a pipe small")?;
        self.start_with(world, Stdio::from(writer), TALKATIVE)?;
        self.life.lock().expect("no holder panics").unread = Some(reader);
        Ok(())
    }

    /// Bytes that wait in a standard error that nobody reads.
    pub(crate) fn unread_bytes(&self) -> Option<u64> {
        let life = self.life.lock().expect("no holder panics");
        rustix::io::ioctl_fionread(life.unread.as_ref()?).ok()
    }

    /// Does a line wait for room in that pipe, or is there none left for any?
    pub(crate) fn is_error_stuck(&self) -> bool {
        let is_full = self
            .unread_bytes()
            .is_some_and(|waiting| waiting >= FULL_FROM);
        is_full || self.is_a_thread_writing_to_a_pipe()
    }

    fn is_a_thread_writing_to_a_pipe(&self) -> bool {
        let Some(pid) = self.pid() else {
            return false;
        };
        let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
        let mut tasks = tasks.into_iter().flatten().flatten();
        tasks.any(|task| {
            let waits_in = std::fs::read_to_string(task.path().join("wchan"));
            waits_in.is_ok_and(|waits_in| waits_in.contains("pipe_write"))
        })
    }

    fn start_with(&self, world: &World, errors: Stdio, says: &str) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.name);
        }
        let mut life = self.life.lock().expect("no holder panics");
        life.unread = None;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(clock) = &self.clock {
            // Through `env`, so that only the node is shown it.
            command
                .arg("env")
                .arg(format!("LD_PRELOAD={}", text(&clock.library)))
                .arg(format!("JEPSEN_CLOCK={}", text(&clock.setting)));
        }
        command
            .arg(&world.options.yin)
            .args(["serve", "--data", text(&self.data)])
            .args(["--http-listen", &self.http.to_string()])
            .args(["--cluster-listen", &self.cluster.to_string()])
            .args(world.serve_flags(self, life.token.as_deref()))
            .envs(keys())
            .env("YIN_LOG", says)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::from(self.open_log()?))
            .stderr(errors);
        let child = world.net.spawn(self.member, command);
        life.child = Some(child.with_context(|| format!("starting {}", self.name))?);
        Ok(())
    }

    fn open_log(&self) -> Result<File> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.with_context(|| format!("opening {}", self.log.display()))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self
            .pid()
            .with_context(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it did not run, or had ended by itself.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let status = self.gone(GONE_WITHIN).await?;
        if status.signal() != Some(9) {
            bail!("{} had ended by itself: {status}", self.name);
        }
        Ok(())
    }

    /// SIGTERM, and waits until it has stopped; one that does not is killed.
    ///
    /// # Errors
    /// When it did not run, or does not stop in time.
    pub(crate) async fn terminate(&self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match self.gone(within).await {
            Ok(status) => Ok(status),
            Err(error) => {
                self.kill().await?;
                Err(error)
            }
        }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it does not, in time.
    pub(crate) async fn gone(&self, within: Duration) -> Result<ExitStatus> {
        let ended = wait::until(within, || async { self.ended() }).await;
        ended.with_context(|| format!("{} still runs after {within:?}", self.name))
    }

    /// How its last life ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut life = self.life.lock().expect("no holder panics");
        life.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Is there a process, and has it not ended?
    pub(crate) fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// How it stands, by its own word.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub(crate) async fn status(&self) -> Result<Status> {
        let status = admin::ask(&self.data, "status", ANSWER).await?;
        serde_json::from_value(status).context("reading the status")
    }

    /// Is it ready, by its own word? Else why not.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) async fn is_ready(&self) -> Result<()> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .context("making a client")?;
        let answer = client.get(format!("{}/readyz", self.url())).send().await?;
        if !answer.status().is_success() {
            bail!("{}: {}", self.name, answer.text().await.unwrap_or_default());
        }
        Ok(())
    }

    /// Waits until it says it is ready.
    ///
    /// # Errors
    /// When it does not, or ends.
    pub(crate) async fn ready(&self, within: Duration) -> Result<()> {
        let ready = wait::until(within, || async {
            match self.is_ready().await {
                Ok(()) => Some(Ok(())),
                Err(_) => self.ended().map(Err),
            }
        });
        match ready.await {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => bail!("{} ended: {status}; see {}", self.name, self.log.display()),
            None => bail!("{} is not ready after {within:?}", self.name),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let life = self.life.get_mut().expect("no holder panics");
        if let Some(child) = &mut life.child
            && child.kill().is_ok()
            && let Err(error) = child.wait()
        {
            eprintln!("awaiting {}: {error}", self.name);
        }
    }
}
