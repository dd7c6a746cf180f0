//! A log that is killed and then damaged: it holds everything that was acknowledged, or says that
//! it is damaged. There is no third way.
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use storage::log::{LogStore as _, OpenError, Options, SegmentLog};

use super::{Figures, Trouble, copy_dir, harness, owner};
use crate::model_runs::dice::Dice;

/// Longer than any sync takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What must be there.
#[derive(Default)]
struct Acknowledged {
    entries: BTreeMap<u64, Bytes>,
    vote: Option<Bytes>,
    next: u64,
}

pub(super) fn play(dice: &mut Dice, dir: &Path) -> Result<Figures, Trouble> {
    let (live, killed) = (dir.join("live"), dir.join("killed"));
    let options = Options {
        segment_bytes: 8 << (10 + dice.below(4)),
        cache_bytes: 1024,
        unsynced_bytes_max: 1 << 20,
    };
    let log = SegmentLog::create(&live, &owner(1), options.clone()).map_err(harness)?;
    let mut known = Acknowledged {
        next: 1,
        ..Acknowledged::default()
    };
    for _ in 0..20 + dice.below(60) {
        write(dice, &log, &mut known)?;
    }
    copy_dir(&live, &killed).map_err(harness)?;
    log.close().map_err(harness)?;
    drop(log);
    let damage = damage(dice, &killed)?;
    match SegmentLog::open(&killed, &owner(1), options) {
        Ok(log) => {
            compare(&log, &known).map_err(|what| {
                let what = format!("{damage}, and it opened all the same; {what}");
                Trouble::Violation("damage-is-never-silence", what)
            })?;
            Ok(Figures {
                untouched: 1,
                ..Figures::default()
            })
        }
        Err(OpenError::Damaged { .. } | OpenError::Missing { .. }) if damage != NONE => {
            Ok(Figures {
                refused: 1,
                ..Figures::default()
            })
        }
        Err(error) => Err(Trouble::Violation(
            "what-is-whole-opens",
            format!("{damage}: {error}"),
        )),
    }
}

/// Does one thing that a replica does with its log, and waits until it is acknowledged.
fn write(dice: &mut Dice, log: &SegmentLog, known: &mut Acknowledged) -> Result<(), Trouble> {
    match dice.below(20) {
        0 | 1 => {
            let vote = Bytes::from(format!("vote {}", dice.next()));
            run(log.save_vote(vote.clone()))?.map_err(harness)?;
            known.vote = Some(vote);
        }
        2 => {
            let committed = Bytes::from(format!("committed {}", known.next));
            run(log.save_committed(committed))?.map_err(harness)?;
        }
        3 => truncate(dice, log, known)?,
        4 => purge(dice, log, known)?,
        _ => {
            let mut entries = Vec::new();
            for _ in 0..1 + dice.below(4) {
                entries.push((known.next, entry(dice, known.next)));
                known.next += 1;
            }
            append(log, entries.clone())?;
            known.entries.extend(entries);
        }
    }
    Ok(())
}

fn append(log: &SegmentLog, entries: Vec<(u64, Bytes)>) -> Result<(), Trouble> {
    let (sender, synced) = mpsc::channel();
    let done = Box::new(move |result| {
        // Nobody waits any more after the patience below, which is a failure of its own.
        let _unheard = sender.send(result);
    });
    run(log.append(entries, done))?.map_err(harness)?;
    synced
        .recv_timeout(PATIENCE)
        .map_err(harness)?
        .map_err(harness)
}

/// Takes back an end of the log. Its record is synced with the next append, which follows at once.
fn truncate(dice: &mut Dice, log: &SegmentLog, known: &mut Acknowledged) -> Result<(), Trouble> {
    let Some((&last, _)) = known.entries.last_key_value() else {
        return Ok(());
    };
    let count = (known.entries.len() as u64).min(1 + dice.below(3));
    let from = last + 1 - count;
    run(log.truncate_from(from))?.map_err(harness)?;
    known.entries.split_off(&from);
    let again = entry(dice, from);
    known.next = from + 1;
    append(log, vec![(from, again.clone())])?;
    known.entries.insert(from, again);
    Ok(())
}

/// Lets a beginning of the log go; synced with the next append, which follows at once.
fn purge(dice: &mut Dice, log: &SegmentLog, known: &mut Acknowledged) -> Result<(), Trouble> {
    let (Some((&first, _)), Some((&last, _))) = (
        known.entries.first_key_value(),
        known.entries.last_key_value(),
    ) else {
        return Ok(());
    };
    let index = first + dice.below(last - first + 1);
    run(log.purge_to(index, Bytes::from(format!("purged {index}"))))?.map_err(harness)?;
    known.entries = known.entries.split_off(&(index + 1));
    let next = (known.next, entry(dice, known.next));
    known.next += 1;
    append(log, vec![next.clone()])?;
    known.entries.extend([next]);
    Ok(())
}

fn entry(dice: &mut Dice, index: u64) -> Bytes {
    let pattern = format!("{index} {} ", dice.next());
    let bytes = 1 + dice.index(900);
    pattern.bytes().cycle().take(bytes).collect()
}

fn run<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime.map_err(harness)?.block_on(work))
}

const NONE: &str = "nothing was damaged";

/// Damages a file of the log, or none; tells what was done.
fn damage(dice: &mut Dice, dir: &Path) -> Result<String, Trouble> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir).map_err(harness)? {
        let path = file.map_err(harness)?.path();
        if path.extension().is_some_and(|it| it == "segment") {
            files.push(path);
        }
    }
    files.sort();
    let last = files
        .len()
        .checked_sub(1)
        .ok_or_else(|| harness("no log"))?;
    // The newest segment is where a torn tail might be suspected.
    let place = if dice.in_thousand(600) {
        last
    } else {
        dice.index(files.len())
    };
    let path = &files[place];
    let name = format!("segment {} of {}", place + 1, files.len());
    let mut bytes = fs::read(path).map_err(harness)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    match dice.below(10) {
        0 => return Ok(NONE.to_owned()),
        1 => {
            fs::remove_file(path).map_err(harness)?;
            return Ok(format!("{name} was removed"));
        }
        2 | 3 => {
            let end = dice.index(used);
            bytes.truncate(end);
            fs::write(path, bytes).map_err(harness)?;
            return Ok(format!("{name} was cut at {end} of {used}"));
        }
        4 => {
            let from = dice.index(used);
            let until = used.min(from + 1 + dice.index(512));
            bytes[from..until].fill(0);
            fs::write(path, bytes).map_err(harness)?;
            return Ok(format!(
                "{name} was zeroed from {from} to {until} of {used}"
            ));
        }
        _ => {}
    }
    let at = dice.index(used);
    bytes[at] ^= 1 << dice.below(8);
    fs::write(path, bytes).map_err(harness)?;
    Ok(format!("{name} had a bit flipped at {at} of {used}"))
}

/// All that was acknowledged is there, and nothing else in its place.
fn compare(log: &SegmentLog, known: &Acknowledged) -> Result<(), String> {
    let held = log.held();
    if held.vote != known.vote {
        return Err(format!("the vote is {:?}, not {:?}", held.vote, known.vote));
    }
    let found = match held.first.zip(held.last) {
        Some((first, last)) => log.read(first..last + 1, usize::MAX),
        None => Ok(Vec::new()),
    };
    let found: BTreeMap<_, _> = found
        .map_err(|error| error.to_string())?
        .into_iter()
        .collect();
    for (index, entry) in &known.entries {
        match found.get(index) {
            Some(there) if there == entry => {}
            Some(_) => return Err(format!("entry {index} is another")),
            None => {
                let (ends, last) = (held.last, known.next - 1);
                return Err(format!(
                    "entry {index} is missing: it ends at {ends:?} of {last}"
                ));
            }
        }
    }
    Ok(())
}
