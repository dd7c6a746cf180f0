//! What is left of the state after kills and damage.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use model::overlay::Changes;
use rocksdb::{DB, DBRecoveryMode, IteratorMode, WriteOptions};
use storage::state::{OpenError, RocksState, StateStore};

use crate::children;
use crate::tools::{copy_dir, flip, owner};

pub(crate) use crate::state_twin::options;

/// The commit with this number; the marker tells it.
pub(crate) fn nth_commit(number: u64) -> (Changes, Bytes) {
    let mut changes = Changes::new();
    let slot = u8::try_from(number % 50).unwrap();
    changes.insert(vec![1, slot], Some(number.to_be_bytes().to_vec()));
    changes.insert(numbered(number), Some(vec![9; 200]));
    if let Some(old) = number.checked_sub(30) {
        changes.insert(numbered(old), None);
    }
    (changes, Bytes::from(number.to_string()))
}

fn numbered(number: u64) -> Vec<u8> {
    [&[2], &number.to_be_bytes()[..]].concat()
}

/// How many commits a state holds. Fails unless it holds exactly these.
pub(crate) fn commits_in(state: &impl StateStore) -> u64 {
    let reading = state.read().unwrap();
    let marker = String::from_utf8(reading.marker.to_vec()).unwrap();
    let number: u64 = if marker.is_empty() {
        0
    } else {
        marker.parse().unwrap()
    };
    let mut expected = Changes::new();
    for number in number.saturating_sub(100) + 1..=number {
        expected.extend(nth_commit(number).0);
    }
    expected.retain(|_, value| value.is_some());
    let found: Changes = reading
        .view
        .scan(&[], &[])
        .map(|pair| pair.map(|(key, value)| (key, Some(value))).unwrap())
        .collect();
    assert_eq!(found, expected, "after {number} commits");
    number
}

#[test]
fn no_durable_commit_is_lost_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    drop(RocksState::create(dir.path(), &owner(1), options()).unwrap());
    let mut told = 0;
    for round in 0..10_u64 {
        let mut child = children::start("commit", dir.path());
        child.hear().expect("it begins");
        std::thread::sleep(Duration::from_millis(5 + round * 13 % 50));
        if let Some(last) = child.kill().last() {
            told = last.parse().unwrap();
        }
        let state = RocksState::open(dir.path(), &owner(1), options()).unwrap();
        assert!(commits_in(&state) >= told, "round {round}");
    }
    assert!(told > 500, "only {told}: the test shows little");
}

/// 100 commits that are durable, 50 more, 50 that need not be; then the process is gone.
pub(crate) fn commit_and_leave(dir: &Path) {
    let state = RocksState::create(dir, &owner(1), options_of_one_buffer()).unwrap();
    for number in 1..=200 {
        let (changes, marker) = nth_commit(number);
        state.commit(changes, marker).unwrap();
        if number == 100 || number == 150 {
            state.make_durable().unwrap();
            children::say(newest(dir, "MANIFEST").metadata().unwrap().len());
        }
    }
    std::process::abort();
}

/// Nothing is written that was not asked for.
fn options_of_one_buffer() -> storage::state::Options {
    storage::state::Options {
        write_buffer_bytes: 8 << 20,
        ..options()
    }
}

/// The file of RocksDB's with the highest number whose name has this in it.
fn newest(dir: &Path, name: &str) -> PathBuf {
    let files = fs::read_dir(dir.join("db")).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(name))
        .max()
        .unwrap()
}

#[test]
fn a_state_that_lost_something_durable_is_told_from_one_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let mut child = children::start("commit and leave", &source);
    let mut length = || -> usize { child.hear().unwrap().parse().unwrap() };
    let (first, second) = (length(), length());
    assert_eq!(child.hear(), None, "it is gone");
    let mut case = 0;
    let mut open_after = |harm: &dyn Fn(&Path)| {
        case += 1;
        let copy = dir.path().join(format!("case {case}"));
        copy_dir(&source, &copy);
        harm(&copy);
        // A state that is refused stays so.
        let opened = [(); 2].map(|()| {
            let opened = RocksState::open(&copy, &owner(1), options_of_one_buffer());
            opened.map(|state| commits_in(&state))
        });
        let [once, again] = opened;
        assert_eq!(once.is_ok(), again.is_ok(), "{again:?}");
        once
    };
    // What was not made durable goes with the process.
    assert_eq!(open_after(&|_: &Path| {}).unwrap(), 150);
    // What was durable may not. RocksDB opens all the same.
    for length in [first, first + 1, (first + second) / 2] {
        let opened = open_after(&|copy: &Path| {
            let manifest = newest(copy, "MANIFEST");
            let manifest = fs::File::options().write(true).open(manifest).unwrap();
            manifest.set_len(length as u64).unwrap();
        });
        let Err(OpenError::Behind { found, durable, .. }) = opened else {
            panic!("{length}: {opened:?}");
        };
        assert_eq!((found, durable), (100, 150));
    }
    // RocksDB goes past some records that it does not know: those that change nothing.
    let places: Vec<_> = (0..second).step_by(7).collect();
    let mut refused = 0;
    for &at in &places {
        match open_after(&|copy: &Path| flip(&newest(copy, "MANIFEST"), at, 1)) {
            Ok(found) => assert_eq!(found, 150, "{at}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > places.len() * 9 / 10, "{refused} of {places:?}");
    let opened = open_after(&|copy: &Path| fs::remove_file(newest(copy, ".sst")).unwrap());
    assert!(opened.is_err(), "{opened:?}");
}

#[test]
fn damage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    for number in 1..=2000 {
        let (changes, marker) = nth_commit(number);
        state.commit(changes, marker).unwrap();
    }
    let built = state.build_snapshot().unwrap();
    let durable = dir.path().join("durable");
    let before = fs::read(&durable).unwrap();
    state.install_snapshot(&built.id).unwrap();
    drop(state);
    // The state of another time than the note.
    let after = fs::read(&durable).unwrap();
    fs::write(&durable, before).unwrap();
    let opened = RocksState::open(dir.path(), &owner(1), options());
    assert!(matches!(opened.err(), Some(OpenError::Damaged { .. })));
    fs::write(&durable, after).unwrap();
    let whole = fs::read(&durable).unwrap();
    for at in 0..whole.len() {
        flip(&durable, at, 4);
        let opened = RocksState::open(dir.path(), &owner(1), options());
        assert!(matches!(opened.err(), Some(OpenError::Damaged { .. })));
        fs::write(&durable, &whole).unwrap();
    }
    fs::remove_file(&durable).unwrap();
    let opened = RocksState::open(dir.path(), &owner(1), options());
    assert!(matches!(opened.err(), Some(OpenError::Damaged { .. })));
    fs::write(&durable, &whole).unwrap();
    // A flipped bit in a table is a fault of this machine, never a wrong answer.
    for file in fs::read_dir(dir.path().join("db")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let middle = fs::read(&path).unwrap().len() / 4;
            flip(&path, middle, 1);
        }
    }
    let shown = RocksState::open(dir.path(), &owner(1), options()).map(|state| {
        let reading = state.read()?;
        let pairs = reading.view.scan(&[], &[]);
        pairs.collect::<Result<Vec<_>, _>>()
    });
    assert!(!matches!(shown, Ok(Ok(_))), "{shown:?}");
}

#[test]
fn an_interrupted_creation_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    drop(RocksState::create(dir.path(), &owner(1), options()).unwrap());
    fs::remove_file(dir.path().join("durable")).unwrap();
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    assert_eq!(commits_in(&state), 0);
}

/// What the bundled RocksDB does with a damaged log, mode by mode: the reason for a log of our own.
#[test]
fn recovery_modes_of_rocksdb_are_as_we_think() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, source.join("db")).unwrap();
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    for number in 0..300_u32 {
        db.put_opt(number.to_be_bytes(), [7; 100], &synced).unwrap();
    }
    // A copy of the open files is what a killed process leaves.
    let killed = dir.path().join("killed");
    copy_dir(&source, &killed);
    drop(db);
    let length = fs::read(newest(&killed, ".log")).unwrap().len();
    let mut case = 0;
    let mut count_after = |mode, at| -> Option<usize> {
        case += 1;
        let copy = dir.path().join(format!("case {case}"));
        copy_dir(&killed, &copy);
        flip(&newest(&copy, ".log"), at, 0x10);
        let mut options = rocksdb::Options::default();
        options.set_wal_recovery_mode(mode);
        let db = DB::open(&options, copy.join("db")).ok()?;
        Some(
            db.iterator(IteratorMode::Start)
                .filter_map(Result::ok)
                .count(),
        )
    };
    let middle = length / 2;
    let last = length - 20;
    let point_in_time = count_after(DBRecoveryMode::PointInTime, middle).unwrap();
    assert!(
        (100..200).contains(&point_in_time),
        "half of it is silently gone"
    );
    assert_eq!(count_after(DBRecoveryMode::PointInTime, last), Some(299));
    let tolerate = DBRecoveryMode::TolerateCorruptedTailRecords;
    assert_eq!(count_after(tolerate, middle), None);
    let absolute = DBRecoveryMode::AbsoluteConsistency;
    assert_eq!(count_after(absolute, middle), None);
    assert_eq!(
        count_after(absolute, last),
        None,
        "a power cut would stop the node"
    );
}
