//! A process that commits is killed: what it leaves is what the state was after one of its commits,
//! and not before what was made durable. And what a snapshot carries to another node.
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use model::overlay::Changes;
use storage::state::{OpenError, Options, RocksState, StateStore as _};

use super::{Figures, Trouble, harness, owner};
use crate::model_runs::dice::Dice;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The argument that makes a process the child.
pub const ROLE: &str = "commit-for-ever";
const KILLS: u64 = 4;
const COMMITTED: &str = "committed ";
const DURABLE: &str = "durable ";

pub(super) fn options() -> Options {
    Options {
        block_cache_bytes: 1 << 20,
        // Little enough that entries are dropped.
        value_cache_bytes: 256 << 10,
        // The smallest there is: buffers are written while commits go on.
        write_buffer_bytes: 64 << 10,
        snapshot_file_bytes: 16 << 10,
        open_files_max: 64,
    }
}

pub(super) fn play(dice: &mut Dice, dir: &Path, me: &Path) -> Result<Figures, Trouble> {
    let live = dir.join("live");
    drop(RocksState::create(&live, &owner(1), options()).map_err(harness)?);
    let seed = dice.next();
    let mut figures = Figures::default();
    let mut said = Said::default();
    for _ in 0..KILLS {
        let wait = Duration::from_micros(dice.below(20_000));
        said.take_in(commit_until_killed(me, &live, seed, wait)?);
        let found = judge(&live, seed, &said)?;
        figures += Figures {
            state_kills: 1,
            commits_lost: said.committed.saturating_sub(found) as u64,
            ..Figures::default()
        };
        said.committed = found;
    }
    let state = open(&live)?;
    travel(
        &state,
        &dir.join("other"),
        &state_after(seed, said.committed),
    )?;
    figures.snapshots += 1;
    Ok(figures)
}

/// How far a child came, by its own words.
#[derive(Default)]
struct Said {
    committed: usize,
    durable: usize,
}

impl Said {
    fn take_in(&mut self, later: Said) {
        self.committed = self.committed.max(later.committed);
        self.durable = self.durable.max(later.durable);
    }
}

/// Starts a child that commits, kills it so long after its first commit, and hears it out.
fn commit_until_killed(me: &Path, dir: &Path, seed: u64, wait: Duration) -> Result<Said, Trouble> {
    let mut child = Command::new(me)
        .arg(ROLE)
        .arg(dir)
        .arg(seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(harness)?;
    let out = child.stdout.take().ok_or_else(|| harness("no output"))?;
    let mut out = BufReader::new(out);
    let mut words = String::new();
    let begun = out.read_line(&mut words);
    // The moment is the chance that this is about: no event of the child marks it.
    std::thread::sleep(wait);
    child.kill().map_err(harness)?;
    child.wait().map_err(harness)?;
    if begun.map_err(harness)? == 0 {
        return Err(harness("the child ended by itself"));
    }
    std::io::Read::read_to_string(&mut out, &mut words).map_err(harness)?;
    // A kill may tear the last line; what is told is told by whole ones.
    let whole = words.rfind('\n').map_or("", |end| &words[..end]);
    let last = |what: &str| {
        let numbers = whole
            .lines()
            .filter_map(|line| line.strip_prefix(what)?.parse().ok());
        numbers.max().unwrap_or_default()
    };
    Ok(Said {
        committed: last(COMMITTED),
        durable: last(DURABLE),
    })
}

/// Opens what is left; gives the commit at which it stands.
fn judge(dir: &Path, seed: u64, said: &Said) -> Result<usize, Trouble> {
    let (marker, found) = contents(&open(dir)?)?;
    if marker < said.durable {
        let what = format!("commit {marker} of {} durable ones", said.durable);
        return Err(Trouble::Violation("durable-is-kept", what));
    }
    if state_after(seed, marker) != found {
        let what = format!("it says that it stands at commit {marker}, and holds something else");
        return Err(Trouble::Violation("marker-and-changes-together", what));
    }
    Ok(marker)
}

/// Only commits that were never made durable are gone, so it has no reason to refuse.
fn open(dir: &Path) -> Result<RocksState, Trouble> {
    RocksState::open(dir, &owner(1), options()).map_err(|error| match error {
        OpenError::Behind { .. } | OpenError::Damaged { .. } => {
            Trouble::Violation("a-killed-state-opens", error.to_string())
        }
        error => harness(error),
    })
}

/// The child: commits until it is killed, makes some of it durable, and says both.
///
/// # Errors
/// When the disk fails.
pub fn for_ever(dir: &Path, seed: u64) -> Result<(), Trouble> {
    let state = RocksState::open(dir, &owner(1), options()).map_err(harness)?;
    let (done, _) = contents(&state)?;
    let mut out = std::io::stdout();
    let mut say = |what: &str, number: usize| {
        let said = out.write_all(format!("{what}{number}\n").as_bytes());
        said.and_then(|()| out.flush()).map_err(harness)
    };
    for number in done + 1.. {
        let mut dice = Dice::new(seed ^ number as u64);
        let marker = (number as u64).to_be_bytes();
        state
            .commit(changes(&mut dice), Bytes::copy_from_slice(&marker))
            .map_err(harness)?;
        say(COMMITTED, number)?;
        if dice.in_thousand(20) {
            state.make_durable().map_err(harness)?;
            say(DURABLE, number)?;
        }
    }
    Ok(())
}

/// What the state is after so many commits.
fn state_after(seed: u64, commits: usize) -> Pairs {
    let mut pairs = Pairs::new();
    for number in 1..=commits {
        apply(&mut pairs, changes(&mut Dice::new(seed ^ number as u64)));
    }
    pairs
}

/// A new node gets everything by snapshot.
fn travel(state: &RocksState, dir: &Path, known: &Pairs) -> Result<(), Trouble> {
    let other = RocksState::create(dir, &owner(2), options()).map_err(harness)?;
    let built = state.build_snapshot().map_err(harness)?;
    let mut sink = other.receive_snapshot().map_err(harness)?;
    for chunk in state.snapshot_chunks(&built.id).map_err(harness)? {
        sink.write(&chunk.map_err(harness)?).map_err(harness)?;
    }
    let received = sink.finish().map_err(harness)?;
    other.install_snapshot(&received.id).map_err(harness)?;
    let (_, found) = contents(&other)?;
    if found == *known {
        return Ok(());
    }
    let missing = known.keys().find(|key| !found.contains_key(*key));
    let what = format!(
        "{} of {} pairs; {missing:02x?} is missing",
        found.len(),
        known.len()
    );
    Err(Trouble::Violation("snapshots-are-whole", what))
}

/// Where a state says that it stands, and what it holds.
pub(super) fn contents(state: &RocksState) -> Result<(usize, Pairs), Trouble> {
    let reading = state.read().map_err(harness)?;
    let marker = <[u8; 8]>::try_from(&reading.marker[..]).map_or(0, u64::from_be_bytes);
    let pairs = reading.view.scan(&[], &[]);
    let pairs = pairs.collect::<Result<Pairs, _>>().map_err(harness)?;
    Ok((usize::try_from(marker).map_err(harness)?, pairs))
}

/// Puts and deletes under every tag, so that whatever a snapshot may leave out is there.
fn changes(dice: &mut Dice) -> Changes {
    let mut changes = Changes::new();
    for _ in 0..1 + dice.below(6) {
        let tag = 1 + u8::try_from(dice.below(0x5f)).unwrap_or(0);
        let key = vec![tag, u8::try_from(dice.below(4)).unwrap_or(0)];
        let value = (!dice.in_thousand(200)).then(|| vec![tag; 1 + dice.index(300)]);
        changes.insert(key, value);
    }
    changes
}

fn apply(pairs: &mut Pairs, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => pairs.insert(key, value),
            None => pairs.remove(&key),
        };
    }
}
