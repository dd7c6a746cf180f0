//! A process that takes in one snapshot after the other is killed: what it leaves is the one state
//! or the other, never something in between.
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use model::overlay::Changes;
use storage::state::{RocksState, StateStore as _};

use super::state::{contents, options};
use super::{Figures, Trouble, harness, owner};
use crate::model_runs::dice::Dice;

/// The argument that makes a process the child.
pub const ROLE: &str = "install-for-ever";
const PAIRS: usize = 600;
const KILLS: u64 = 3;

pub(super) fn play(dice: &mut Dice, dir: &Path, me: &Path) -> Result<Figures, Trouble> {
    let target = dir.join("target");
    drop(RocksState::create(&target, &owner(1), options()).map_err(harness)?);
    for round in 0..KILLS {
        let mut child = Command::new(me)
            .arg(ROLE)
            .arg(&target)
            .arg(dir.join(format!("source {round}")))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(harness)?;
        let said = child.stdout.take().ok_or_else(|| harness("no output"))?;
        let begun = BufReader::new(said).read_line(&mut String::new());
        // The moment is the chance that this is about: no event of the child marks it.
        std::thread::sleep(Duration::from_micros(dice.below(30_000)));
        child.kill().map_err(harness)?;
        child.wait().map_err(harness)?;
        if begun.map_err(harness)? == 0 {
            return Err(harness("the child ended by itself"));
        }
        let state = RocksState::open(&target, &owner(1), options()).map_err(|error| {
            Trouble::Violation("a-killed-installation-opens", error.to_string())
        })?;
        let (marker, pairs) = contents(&state)?;
        let is_whole =
            pairs.len() == PAIRS && pairs.values().all(|it| usize::from(it[0]) == marker);
        if !is_whole {
            let what = format!(
                "it says that it is snapshot {marker} and has {} pairs",
                pairs.len()
            );
            return Err(Trouble::Violation("installing-is-atomic", what));
        }
    }
    Ok(Figures {
        kills: KILLS,
        ..Figures::default()
    })
}

/// The child: installs two snapshots in turn until it is killed.
///
/// # Errors
/// When a disk fails.
pub fn for_ever(target: &Path, source: &Path) -> Result<(), Trouble> {
    let source = RocksState::create(source, &owner(2), options()).map_err(harness)?;
    let target = RocksState::open(target, &owner(1), options()).map_err(harness)?;
    let mut streams = Vec::new();
    for generation in [1_u8, 2] {
        let key = |number: usize| [vec![0x20 + generation], number.to_be_bytes().to_vec()].concat();
        let mut changes = Changes::new();
        for (old, _) in contents(&source)?.1 {
            changes.insert(old, None);
        }
        changes.extend((0..PAIRS).map(|number| (key(number), Some(vec![generation; 100]))));
        let marker = u64::from(generation).to_be_bytes();
        source
            .commit(changes, Bytes::copy_from_slice(&marker))
            .map_err(harness)?;
        let built = source.build_snapshot().map_err(harness)?;
        let chunks = source.snapshot_chunks(&built.id).map_err(harness)?;
        streams.push(chunks.collect::<Result<Vec<_>, _>>().map_err(harness)?);
    }
    let mut is_begun = false;
    // Until it is killed.
    for chunks in streams.iter().cycle() {
        let mut sink = target.receive_snapshot().map_err(harness)?;
        for chunk in chunks {
            sink.write(chunk).map_err(harness)?;
        }
        let received = sink.finish().map_err(harness)?;
        target.install_snapshot(&received.id).map_err(harness)?;
        if !std::mem::replace(&mut is_begun, true) {
            let mut out = std::io::stdout();
            writeln!(out, "installed")
                .and_then(|()| out.flush())
                .map_err(harness)?;
        }
    }
    Ok(())
}
