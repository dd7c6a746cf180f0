//! Processes of our own that are killed: this binary, started again with one variable set.
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use bytes::Bytes;
use storage::log::{Done, LogStore as _, SegmentLog};
use storage::state::{RocksState, StateStore as _};

use crate::tools::{append, entry, open, owner, run, small};
use crate::{state_crash, state_snapshot};

const ROLE: &str = "YIN_STORAGE_TEST_CHILD";
const DIR: &str = "YIN_STORAGE_TEST_DIR";
/// What a child's own lines begin with: the test harness prints to the same place.
const SAYS: &str = "child: ";

/// A running child; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Running {
    /// The next thing that it says; `None` when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some((_, said)) = line.split_once(SAYS) {
                return Some(said.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Kills it; gives all that it still had said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

/// Starts a child in this role.
pub(crate) fn start(role: &str, dir: &Path) -> Running {
    start_as(Command::new(std::env::current_exe().unwrap()), role, dir)
}

/// Starts a child that may not write files beyond `blocks` of 512 bytes.
pub(crate) fn start_limited(role: &str, dir: &Path, blocks: u64) -> Running {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script);
    shell.arg(std::env::current_exe().unwrap());
    start_as(shell, role, dir)
}

fn start_as(mut command: Command, role: &str, dir: &Path) -> Running {
    let mut child = command
        .args([
            "children::child",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Running { child, lines }
}

pub(crate) fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{SAYS}{what}").unwrap();
    out.flush().unwrap();
}

/// The child's work; no test of its own.
#[test]
fn child() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) else {
        return;
    };
    let dir = PathBuf::from(dir);
    match role.as_str() {
        "append" => append_for_ever(&dir),
        "append until it fails" => append_until_it_fails(&dir),
        "commit" => commit_for_ever(&dir),
        "install" => state_snapshot::install_for_ever(&dir),
        "commit and leave" => state_crash::commit_and_leave(&dir),
        other => panic!("no such role: {other}"),
    }
}

/// Votes, appends, truncates and purges; says each index as it is acknowledged.
fn append_for_ever(dir: &Path) {
    let log = open(dir, 32 << 10);
    let mut first = log.held().last.map_or(1, |last| last + 1);
    let last = log.read(first - 1..first, 1 << 20).unwrap().pop();
    if last.is_some_and(|(index, bytes)| bytes == placeholder(index)) {
        first -= 1;
        run(log.truncate_from(first)).unwrap();
    }
    for index in first.. {
        let bytes = 1 + usize::try_from(index * 37 % 900).unwrap();
        // What is truncated at once is never acknowledged.
        let done: Done = Box::new(drop);
        run(log.append(vec![(index, placeholder(index))], done)).unwrap();
        run(log.truncate_from(index)).unwrap();
        let (sender, synced) = mpsc::channel();
        let done: Done = Box::new(move |result| {
            result.unwrap();
            say(format_args!("entry {index}"));
            // Only every tenth is waited for.
            let _unheard = sender.send(());
        });
        run(log.append(vec![(index, entry(index, bytes))], done)).unwrap();
        if index % 10 == 0 {
            synced.recv().unwrap();
            let vote = Bytes::from(format!("vote {index}"));
            run(log.save_vote(vote)).unwrap();
            say(format_args!("vote {index}"));
        }
        if index % 100 == 0 {
            let marker = Bytes::from(format!("purged {}", index - 50));
            run(log.purge_to(index - 50, marker)).unwrap();
        }
    }
}

/// What stands in an entry's place until it is truncated.
fn placeholder(index: u64) -> Bytes {
    entry(index + 1, 10)
}

fn append_until_it_fails(dir: &Path) {
    let log = SegmentLog::create(dir, &owner(1), small(16 << 10)).unwrap();
    for index in 1..=20 {
        append(&log, vec![(index, entry(index, 500))]).unwrap();
        say(format_args!("entry {index}"));
    }
    // This one needs a segment of its own, which is larger than any file may be.
    let failed = append(&log, vec![(21, entry(21, 200 << 10))]).unwrap_err();
    say(format_args!("failed {:?}", failed.kind()));
    let vote = run(log.save_vote(Bytes::from_static(b"late"))).unwrap_err();
    say(format_args!("vote {:?} {vote}", vote.kind()));
    let (done, synced) = crate::tools::waiter();
    let late = run(log.append(vec![(22, entry(22, 1))], done)).unwrap_err();
    let told = synced.recv().unwrap().unwrap_err();
    say(format_args!("late {:?} {:?}", late.kind(), told.kind()));
    say(format_args!("close {}", log.close().is_err()));
}

fn commit_for_ever(dir: &Path) {
    let state = RocksState::open(dir, &owner(1), state_crash::options()).unwrap();
    let done = state_crash::commits_in(&state);
    for number in done + 1.. {
        let (changes, marker) = state_crash::nth_commit(number);
        state.commit(changes, marker).unwrap();
        if number % 50 == 0 {
            state.make_durable().unwrap();
            say(number);
        }
    }
}
