//! What is left of the log after kills, power cuts and full disks.
//!
//! A power cut is played by files: bytes of the last batch are missing or wrong, and the note of the
//! synced length is an older one, since it is never synced by itself.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use storage::log::{LogStore as _, OpenError, SegmentLog};

use crate::children;
use crate::tools::{append, copy_dir, create, entry, fill, open, owner, read_all, run, small};

const SEGMENT: u64 = 16 << 10;

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), 32 << 10).close().unwrap();
    let mut acknowledged = 0;
    let mut vote = 0;
    for round in 0..20_u64 {
        let mut child = children::start("append", dir.path());
        child.hear().expect("it begins");
        std::thread::sleep(Duration::from_millis(3 + round * 7 % 40));
        for said in child.kill() {
            let (what, number) = said.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            if what == "vote" {
                vote = number;
            } else {
                acknowledged = number;
            }
        }
        let log = open(dir.path(), 32 << 10);
        let held = log.held();
        let last = held.last.unwrap();
        assert!(
            last >= acknowledged,
            "round {round}: {last} of {acknowledged}"
        );
        if vote > 0 {
            let kept = String::from_utf8(held.vote.unwrap().to_vec()).unwrap();
            let kept: u64 = kept.strip_prefix("vote ").unwrap().parse().unwrap();
            assert!(kept >= vote, "round {round}: vote {kept} of {vote}");
        }
        for (index, bytes) in read_all(&log) {
            // One that is not acknowledged may be another that was about to be truncated.
            if index <= acknowledged {
                let size = 1 + usize::try_from(index * 37 % 900).unwrap();
                assert_eq!(bytes, entry(index, size), "round {round}, entry {index}");
            }
        }
    }
    assert!(
        acknowledged > 200,
        "only {acknowledged}: the test shows little"
    );
}

/// A log before and after its last batch, and where that batch lies.
struct LastBatch {
    _dir: tempfile::TempDir,
    before: PathBuf,
    after: PathBuf,
    segment: String,
    begin: usize,
    end: usize,
}

/// Batches of one entry, then one of several.
fn last_batch() -> LastBatch {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let log = create(&live, SEGMENT);
    fill(&log, 1..=4, 60);
    run(log.save_vote(Bytes::from_static(b"vote"))).unwrap();
    copy_dir(&live, &before);
    append(
        &log,
        (5..=8).map(|index| (index, entry(index, 70))).collect(),
    )
    .unwrap();
    drop(log);
    copy_dir(&live, &after);
    let segment = "00000000000000000001.segment".to_owned();
    let old = fs::read(before.join(&segment)).unwrap();
    let new = fs::read(after.join(&segment)).unwrap();
    let differ: Vec<usize> = (0..new.len()).filter(|at| old[*at] != new[*at]).collect();
    LastBatch {
        _dir: dir,
        before,
        after,
        segment,
        begin: differ[0] / 8 * 8,
        end: differ.last().unwrap() + 1,
    }
}

impl LastBatch {
    /// A directory with these bytes as its segment, and the note of before or after.
    fn with(&self, bytes: &[u8], is_note_old: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&self.after, dir.path());
        if is_note_old {
            fs::copy(self.before.join("synced"), dir.path().join("synced")).unwrap();
        }
        fs::write(dir.path().join(&self.segment), bytes).unwrap();
        dir
    }

    fn new_bytes(&self) -> Vec<u8> {
        fs::read(self.after.join(&self.segment)).unwrap()
    }
}

fn last_of(dir: &Path) -> u64 {
    let log = open(dir, SEGMENT);
    check(&log)
}

fn check(log: &SegmentLog) -> u64 {
    let entries = read_all(log);
    for (index, bytes) in &entries {
        let size = if *index <= 4 { 60 } else { 70 };
        assert_eq!(*bytes, entry(*index, size));
    }
    assert_eq!(log.held().vote.unwrap(), "vote");
    entries.len() as u64
}

/// The same; and it goes on as if there had been nothing more.
fn last_of_and_on(dir: &Path) -> u64 {
    let log = open(dir, SEGMENT);
    let last = check(&log);
    append(&log, vec![(last + 1, entry(last + 1, 30))]).unwrap();
    drop(log);
    assert_eq!(open(dir, SEGMENT).held().last, Some(last + 1));
    last
}

#[test]
fn a_torn_tail_opens_wherever_it_is_torn() {
    let batch = last_batch();
    let whole = batch.new_bytes();
    assert_eq!(last_of(batch.with(&whole, true).path()), 8);
    for cut in batch.begin..batch.end {
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        assert_eq!(last_of(batch.with(&zeros, true).path()), 4, "cut at {cut}");
        if cut % 8 == 0 {
            let mut garbage = whole.clone();
            garbage[cut..].fill(0xa5);
            let garbage = batch.with(&garbage, true);
            assert_eq!(last_of_and_on(garbage.path()), 4, "garbage at {cut}");
            let short = batch.with(&whole[..cut], true);
            assert_eq!(last_of(short.path()), 4, "the file ends at {cut}");
        }
    }
}

#[test]
fn a_hole_in_the_last_batch_is_a_torn_tail_too() {
    let batch = last_batch();
    let whole = batch.new_bytes();
    for hole in (batch.begin..batch.end).step_by(5) {
        let mut bytes = whole.clone();
        bytes[hole] ^= 0x40;
        let dir = batch.with(&bytes, true);
        assert_eq!(
            last_of_and_on(dir.path()),
            4,
            "hole at {hole}: later frames do not return"
        );
    }
}

/// Two torn writes at the same place: the first frame of the second one must not find the rest of the
/// first one behind it.
#[test]
fn what_was_cut_off_never_completes_another_batch() {
    let batch = last_batch();
    let whole = batch.new_bytes();
    let mut torn = whole.clone();
    torn[batch.begin] ^= 1;
    let dir = batch.with(&torn, true);
    assert_eq!(last_of(dir.path()), 4);
    let segment = dir.path().join(&batch.segment);
    let mut bytes = fs::read(&segment).unwrap();
    let first_frame = batch.begin..batch.begin + 96;
    bytes[first_frame.clone()].copy_from_slice(&whole[first_frame]);
    fs::write(&segment, bytes).unwrap();
    assert_eq!(last_of(dir.path()), 4);
}

#[test]
fn what_the_note_says_was_synced_is_never_a_torn_tail() {
    let batch = last_batch();
    let whole = batch.new_bytes();
    for cut in batch.begin..batch.end {
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        let dir = batch.with(&zeros, false);
        let opened = SegmentLog::open(dir.path(), &owner(1), small(SEGMENT));
        assert!(
            matches!(opened.err(), Some(OpenError::Damaged { .. })),
            "cut at {cut}"
        );
    }
}

/// A log of several segments whose note is as old as can be.
fn rolled(dir: &Path) -> Vec<PathBuf> {
    let log = create(dir, 8 << 10);
    let note = fs::read(dir.join("synced")).unwrap();
    fill(&log, 1..=40, 500);
    let segments = log.segments();
    drop(log);
    fs::write(dir.join("synced"), note).unwrap();
    segments
}

fn opens_with(dir: &Path) -> Result<u64, OpenError> {
    SegmentLog::open(dir, &owner(1), small(8 << 10)).map(|log| log.held().last.unwrap_or(0))
}

#[test]
fn a_roll_that_was_cut_short_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let segments = rolled(dir.path());
    let next = dir
        .path()
        .join(format!("{:020}.segment", segments.len() + 1));
    for left in [
        Vec::new(),
        vec![0; 100],
        vec![0; 8 << 10],
        vec![0xa5; 8 << 10],
    ] {
        fs::write(&next, left).unwrap();
        assert_eq!(opens_with(dir.path()).unwrap(), 40);
        assert!(!next.exists(), "it was never in use");
    }
    for leftover in ["spare", "rolling"] {
        fs::write(dir.path().join(leftover), vec![0xa5; 100]).unwrap();
    }
    assert_eq!(opens_with(dir.path()).unwrap(), 40);
    let log = open(dir.path(), 8 << 10);
    fill(&log, 41..=80, 500);
    drop(log);
    assert_eq!(opens_with(dir.path()).unwrap(), 80);
}

#[test]
fn a_lost_segment_is_damage_when_there_is_a_proof() {
    let dir = tempfile::tempdir().unwrap();
    let segments = rolled(dir.path());
    assert!(segments.len() >= 3);
    for (number, lost) in segments.iter().enumerate() {
        let bytes = fs::read(lost).unwrap();
        fs::remove_file(lost).unwrap();
        let is_last = number + 1 == segments.len();
        let opened = opens_with(dir.path());
        match opened {
            // With a note that old nothing tells that there was one more.
            Ok(last) => assert!(is_last && last < 40),
            Err(OpenError::Damaged { .. }) => assert!(!is_last),
            Err(other) => panic!("{other}"),
        }
        fs::write(lost, bytes).unwrap();
    }
    // After that open the note is exact again.
    let last = segments.last().unwrap();
    assert_eq!(opens_with(dir.path()).unwrap(), 40);
    fs::remove_file(last).unwrap();
    assert!(matches!(
        opens_with(dir.path()),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn segments_that_a_purge_left_behind_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 8 << 10);
    fill(&log, 1..=40, 500);
    let old: Vec<_> = log.segments().into_iter().take(2).collect();
    let bytes: Vec<_> = old.iter().map(|path| fs::read(path).unwrap()).collect();
    run(log.purge_to(38, Bytes::from_static(b"p"))).unwrap();
    log.close().unwrap();
    drop(log);
    assert!(!old[0].exists() && !old[1].exists());
    for (path, bytes) in old.iter().zip(&bytes) {
        // One alone makes a hole, both together do not.
        fs::write(path, bytes).unwrap();
        assert_eq!(opens_with(dir.path()).unwrap(), 40);
        assert!(!path.exists());
    }
    for (path, bytes) in old.iter().zip(&bytes) {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(opens_with(dir.path()).unwrap(), 40);
    assert!(!old[0].exists() && !old[1].exists());
}

#[test]
fn an_interrupted_creation_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rolling"), b"half").unwrap();
    fs::write(dir.path().join("synced"), b"half").unwrap();
    let log = create(dir.path(), 8 << 10);
    fill(&log, 1..=3, 10);
    drop(log);
    assert_eq!(opens_with(dir.path()).unwrap(), 3);
    // Where a log was there is no new one.
    fs::remove_file(dir.path().join("00000000000000000001.segment")).unwrap();
    let created = SegmentLog::create(dir.path(), &owner(1), small(8 << 10));
    assert!(matches!(created.err(), Some(OpenError::Damaged { .. })));
    assert!(matches!(
        opens_with(dir.path()),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_full_disk_ends_the_log_clearly_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = children::start_limited("append until it fails", dir.path(), 128);
    let said: Vec<String> = std::iter::from_fn(|| child.hear()).collect();
    let (entries, rest) = said.split_at(said.len().min(20));
    assert_eq!(entries.last().unwrap(), "entry 20", "{said:?}");
    assert_eq!(rest[0], "failed FileTooLarge");
    assert!(
        rest[1].starts_with("vote FileTooLarge the log cannot be written"),
        "{rest:?}"
    );
    assert_eq!(rest[2], "late FileTooLarge FileTooLarge");
    assert_eq!(rest[3], "close true");
    let log = open(dir.path(), 16 << 10);
    assert_eq!(log.held().last, Some(20));
    fill(&log, 21..=60, 500);
    assert_eq!(read_all(&log).len(), 60);
}
