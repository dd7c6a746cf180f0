//! One wrong bit anywhere in what was synced, and the log does not open.
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use storage::log::{LogStore as _, OpenError, SegmentLog};

use crate::tools::{copy_dir, create, entry, fill, flip, open, owner, read_all, run, small};

const SEGMENT: u64 = 8 << 10;

/// A log with every kind of record in three segments, none of which may be missing.
fn log_of_everything(dir: &Path) -> Vec<PathBuf> {
    let log = create(dir, SEGMENT);
    run(log.save_vote(Bytes::from_static(b"vote"))).unwrap();
    fill(&log, 1..=3, 300);
    run(log.purge_to(1, Bytes::from_static(b"purged"))).unwrap();
    run(log.save_committed(Bytes::from_static(b"committed"))).unwrap();
    run(log.truncate_from(3)).unwrap();
    fill(&log, 3..=22, 400);
    let segments = log.segments();
    assert_eq!(segments.len(), 3);
    drop(log);
    segments
}

/// Where the frames of a segment end: payloads are not zero, so it is where the zeros begin.
fn used(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (last + 1).next_multiple_of(8)
}

fn is_damaged(dir: &Path) -> bool {
    let opened = SegmentLog::open(dir, &owner(1), small(SEGMENT));
    matches!(opened.err(), Some(OpenError::Damaged { .. }))
}

#[test]
fn one_flipped_bit_in_what_was_synced_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    for segment in log_of_everything(dir.path()) {
        let whole = fs::read(&segment).unwrap();
        for at in (0..used(&whole)).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&segment, bytes).unwrap();
            assert!(is_damaged(dir.path()), "{} at {at}", segment.display());
        }
        fs::write(&segment, whole).unwrap();
    }
    assert_eq!(read_all(&open(dir.path(), SEGMENT)).len(), 21);
}

#[test]
fn later_batches_prove_damage_when_the_note_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let note = {
        let fresh = tempfile::tempdir().unwrap();
        drop(create(fresh.path(), SEGMENT));
        fs::read(fresh.path().join("synced")).unwrap()
    };
    let segments = log_of_everything(dir.path());
    let last_frame = 24 + 400;
    for (number, segment) in segments.iter().enumerate() {
        let whole = fs::read(segment).unwrap();
        let used = used(&whole);
        let torn_from = if number == 2 { used - last_frame } else { used };
        for at in (0..used).step_by(11) {
            fs::write(dir.path().join("synced"), &note).unwrap();
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(segment, bytes).unwrap();
            if at < torn_from {
                assert!(is_damaged(dir.path()), "{} at {at}", segment.display());
            } else {
                let copy = tempfile::tempdir().unwrap();
                copy_dir(dir.path(), copy.path());
                let log = open(copy.path(), SEGMENT);
                assert_eq!(log.held().last, Some(21), "only the last batch, at {at}");
            }
        }
        fs::write(segment, whole).unwrap();
    }
}

#[test]
fn a_note_that_does_not_verify_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    log_of_everything(dir.path());
    let note = dir.path().join("synced");
    let whole = fs::read(&note).unwrap();
    // One of the two slots may be torn, …
    for slot in [0, 4096] {
        flip(&note, slot + 3, 1);
        assert_eq!(read_all(&open(dir.path(), SEGMENT)).len(), 21);
        fs::write(&note, &whole).unwrap();
    }
    // … not both, and it may not be gone.
    flip(&note, 3, 1);
    flip(&note, 4096 + 3, 1);
    assert!(is_damaged(dir.path()));
    fs::remove_file(&note).unwrap();
    assert!(is_damaged(dir.path()));
}

#[test]
fn segments_that_were_swapped_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let segments = log_of_everything(dir.path());
    let (one, two) = (
        fs::read(&segments[0]).unwrap(),
        fs::read(&segments[1]).unwrap(),
    );
    fs::write(&segments[0], two).unwrap();
    fs::write(&segments[1], one).unwrap();
    assert!(is_damaged(dir.path()));
}

#[test]
fn frames_in_a_wrong_place_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let segment = log_of_everything(dir.path()).remove(1);
    let mut bytes = fs::read(&segment).unwrap();
    let end = used(&bytes);
    // The last two frames of the segment have the same size.
    let frame = (24_usize + 400).next_multiple_of(8);
    bytes.copy_within(end - frame..end, end - 2 * frame);
    fs::write(&segment, bytes).unwrap();
    assert!(is_damaged(dir.path()));
}

#[test]
fn an_older_copy_of_a_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 64 << 10);
    fill(&log, 1..=10, 300);
    let segment = log.segments().remove(0);
    let old = fs::read(&segment).unwrap();
    fill(&log, 11..=12, 300);
    drop(log);
    fs::write(&segment, old).unwrap();
    assert!(is_damaged(dir.path()));
}

#[test]
fn what_recycled_files_held_never_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), SEGMENT);
    for round in 0..12_u64 {
        let first = round * 12 + 1;
        fill(&log, first..=first + 11, 600);
        run(log.purge_to(first + 10, Bytes::from(format!("{first}")))).unwrap();
    }
    drop(log);
    // Whatever the last segment holds behind its end is of an older life.
    let log = open(dir.path(), SEGMENT);
    assert_eq!(log.held().first, Some(144));
    assert_eq!(read_all(&log), [(144, entry(144, 600))]);
    drop(log);
    let log = open(dir.path(), SEGMENT);
    append_two_and_check(&log);
}

fn append_two_and_check(log: &SegmentLog) {
    fill(log, 145..=146, 50);
    assert_eq!(read_all(log).len(), 3);
}
