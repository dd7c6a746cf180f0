//! A state whose own log is cut somewhere, as a power cut may: it is what it was after one of its
//! commits, and not before what was made durable. And what a snapshot carries to another node.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::overlay::Changes;
use storage::state::{OpenError, Options, RocksState, StateStore as _};

use super::{Figures, Trouble, copy_dir, harness, owner};
use crate::model_runs::dice::Dice;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

const CUTS: u64 = 6;

pub(super) fn options() -> Options {
    Options {
        block_cache_bytes: 1 << 20,
        // Little enough that entries are dropped.
        value_cache_bytes: 256 << 10,
        write_buffer_bytes: 1 << 20,
        snapshot_file_bytes: 16 << 10,
        open_files_max: 64,
    }
}

pub(super) fn play(dice: &mut Dice, dir: &Path) -> Result<Figures, Trouble> {
    let live = dir.join("live");
    let state = RocksState::create(&live, &owner(1), options()).map_err(harness)?;
    let mut figures = Figures::default();
    // What the state was after each commit, and how much of it is durable.
    let mut versions = vec![Pairs::new()];
    let mut durable = Durable::default();
    for _ in 0..30 + dice.below(60) {
        let changes = changes(dice);
        let mut next = versions.last().cloned().unwrap_or_default();
        apply(&mut next, &changes);
        versions.push(next);
        let marker = (versions.len() as u64 - 1).to_be_bytes();
        state
            .commit(changes, Bytes::copy_from_slice(&marker))
            .map_err(harness)?;
        if dice.in_thousand(50) {
            state.make_durable().map_err(harness)?;
            durable = Durable::now(&live, versions.len() - 1)?;
        }
    }
    for number in 0..CUTS {
        let cut = dir.join(format!("cut {number}"));
        copy_dir(&live, &cut).map_err(harness)?;
        figures += judge_cut(dice, &cut, &versions, &durable)?;
    }
    let last = versions.last().cloned().unwrap_or_default();
    travel(&state, &dir.join("other"), &last)?;
    figures.snapshots += 1;
    Ok(figures)
}

/// What no power cut may take.
#[derive(Default)]
struct Durable {
    commits: usize,
    /// The end of the state's own log then.
    log: Option<(PathBuf, usize)>,
}

impl Durable {
    fn now(live: &Path, commits: usize) -> Result<Self, Trouble> {
        let (name, bytes) = newest_log(live)?;
        let log = Some((name, bytes.len()));
        Ok(Self { commits, log })
    }
}

/// The newest file of the state's own log: its name under the directory, and its bytes.
fn newest_log(dir: &Path) -> Result<(PathBuf, Vec<u8>), Trouble> {
    let mut logs = Vec::new();
    for file in fs::read_dir(dir.join("db")).map_err(harness)? {
        let path = file.map_err(harness)?.path();
        if path.extension().is_some_and(|it| it == "log") {
            logs.push(path);
        }
    }
    let newest = logs.into_iter().max().ok_or_else(|| harness("no log"))?;
    let bytes = fs::read(&newest).map_err(harness)?;
    let name = newest.strip_prefix(dir).map_err(harness)?.to_owned();
    Ok((name, bytes))
}

/// Cuts the log off somewhere behind what is durable, and opens what is left.
fn judge_cut(
    dice: &mut Dice,
    dir: &Path,
    versions: &[Pairs],
    durable: &Durable,
) -> Result<Figures, Trouble> {
    let (name, mut bytes) = newest_log(dir)?;
    let kept = match &durable.log {
        Some((log, length)) if *log == name => *length,
        _ => 0,
    };
    let end = kept + dice.index(bytes.len() + 1 - kept);
    bytes.truncate(end);
    fs::write(dir.join(name), &bytes).map_err(harness)?;
    let state = match RocksState::open(dir, &owner(1), options()) {
        Ok(state) => state,
        // Only commits that were never made durable are gone, so it has no reason to refuse.
        Err(error @ (OpenError::Behind { .. } | OpenError::Damaged { .. })) => {
            return Err(Trouble::Violation("a-cut-end-opens", error.to_string()));
        }
        Err(error) => return Err(harness(error)),
    };
    let (marker, found) = contents(&state)?;
    let lost = versions.len() - 1 - marker;
    if marker < durable.commits {
        let what = format!("commit {marker} of {} durable ones", durable.commits);
        return Err(Trouble::Violation("durable-is-kept", what));
    }
    if versions.get(marker) != Some(&found) {
        let what = format!("it says that it stands at commit {marker}, and holds something else");
        return Err(Trouble::Violation("marker-and-changes-together", what));
    }
    Ok(Figures {
        cuts: 1,
        commits_lost: lost as u64,
        ..Figures::default()
    })
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

fn apply(pairs: &mut Pairs, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => pairs.insert(key.clone(), value.clone()),
            None => pairs.remove(key),
        };
    }
}
