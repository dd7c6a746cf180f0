//! The log's calls, one by one, on the disk.
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use storage::log::{Done, Held, LogStore as _, OpenError, SegmentLog};

use crate::tools::{
    PATIENCE, append, create, entry, fill, flip, open, owner, read_all, run, small, waiter,
};

#[test]
fn an_empty_log_holds_nothing_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    assert_eq!(log.held(), Held::default());
    assert!(log.read(0..10, 100).unwrap().is_empty());
    drop(log);
    assert_eq!(open(dir.path(), 16 << 10).held(), Held::default());
}

#[test]
fn entries_are_readable_at_once_and_synced_soon() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    let (release, done) = blocked(&log, 1);
    let (second, synced) = waiter();
    run(log.append(vec![(2, entry(2, 10)), (3, entry(3, 10))], second)).unwrap();
    assert_eq!(log.read(2..9, 1000).unwrap().len(), 2, "before the sync");
    assert_eq!(log.held().last, Some(3));
    assert!(synced.try_recv().is_err(), "the writer is held up");
    release.send(()).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    synced.recv_timeout(PATIENCE).unwrap().unwrap();
}

/// Appends `index` and holds up the writer in its callback, until the sender is used.
fn blocked(log: &SegmentLog, index: u64) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (reached, begun) = mpsc::channel();
    let (sender, done) = mpsc::channel();
    let block: Done = Box::new(move |result| {
        result.unwrap();
        reached.send(()).unwrap();
        held.recv().unwrap();
        sender.send(()).unwrap();
    });
    run(log.append(vec![(index, entry(index, 10))], block)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    (release, done)
}

#[test]
fn all_that_waits_is_one_sync_and_answers_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 1 << 20);
    let (release, _done) = blocked(&log, 1);
    let before = log.syncs();
    let (sender, order) = mpsc::channel();
    for index in 2..=501 {
        let sender = sender.clone();
        let done: Done = Box::new(move |result| {
            result.unwrap();
            sender.send(index).unwrap();
        });
        run(log.append(vec![(index, entry(index, 100))], done)).unwrap();
    }
    run(log.save_committed(Bytes::from_static(b"c"))).unwrap();
    release.send(()).unwrap();
    let order: Vec<u64> = (2..=501)
        .map(|_| order.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(log.syncs() - before, 1, "500 appends in one sync");
}

#[test]
fn committed_costs_no_sync_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    fill(&log, 1..=1, 10);
    let before = log.syncs();
    for number in 0..100 {
        run(log.save_committed(Bytes::from(format!("committed {number}")))).unwrap();
    }
    assert_eq!(log.held().committed.unwrap(), "committed 99");
    assert_eq!(log.syncs(), before, "it waits for company");
    fill(&log, 2..=2, 10);
    assert_eq!(log.syncs(), before + 1);
    run(log.save_committed(Bytes::from_static(b"at last"))).unwrap();
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), 16 << 10);
    assert_eq!(log.held().committed.unwrap(), "at last");
}

#[test]
fn reads_honour_the_limit_but_are_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    fill(&log, 5..=60, 100);
    let indexes = |range, bytes_max| -> Vec<u64> {
        let entries = log.read(range, bytes_max).unwrap();
        for (index, bytes) in &entries {
            assert_eq!(*bytes, entry(*index, 100));
        }
        entries.into_iter().map(|(index, _)| index).collect()
    };
    // The cache holds ten entries: the first ranges come from disk, the last ones from memory.
    assert_eq!(indexes(5..8, 1000), [5, 6, 7]);
    assert_eq!(indexes(5..60, 250), [5, 6]);
    assert_eq!(indexes(5..60, 0), [5], "at least one");
    assert_eq!(indexes(59..70, 1000), [59, 60], "what is not there ends it");
    assert_eq!(indexes(45..61, 10_000).len(), 16, "from both");
    assert_eq!(indexes(4..10, 1000), [0; 0], "the first one is not there");
    assert_eq!(indexes(61..70, 1000), [0; 0]);
    #[allow(clippy::reversed_empty_ranges, reason = "that is the case tested")]
    let reversed = indexes(30..20, 1000);
    assert_eq!(reversed, [0; 0]);
}

#[test]
fn only_what_follows_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    fill(&log, 10..=12, 10);
    for entries in [
        vec![(12, entry(12, 1))],
        vec![(14, entry(14, 1))],
        vec![(13, entry(13, 1)), (15, entry(15, 1))],
    ] {
        let (done, told) = waiter();
        let error = run(log.append(entries, done)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(told.recv_timeout(PATIENCE).unwrap().is_err());
    }
    run(log.purge_to(11, Bytes::from_static(b"p"))).unwrap();
    assert!(run(log.truncate_from(11)).is_err(), "it is purged");
    run(log.truncate_from(12)).unwrap();
    assert_eq!(log.held().last, None);
    assert!(append(&log, vec![(13, entry(13, 1))]).is_err());
    append(&log, vec![(12, entry(12, 1))]).unwrap();
    append(&log, Vec::new()).unwrap();
    assert_eq!(read_all(&log).len(), 1);
}

#[test]
fn vote_and_markers_outlive_the_segments_they_were_written_in() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 8 << 10);
    run(log.save_vote(Bytes::from_static(b"vote"))).unwrap();
    run(log.save_committed(Bytes::from_static(b"committed"))).unwrap();
    fill(&log, 1..=100, 500);
    run(log.purge_to(95, Bytes::from_static(b"purged"))).unwrap();
    fill(&log, 101..=101, 500);
    assert!(log.segments().len() <= 3, "{:?}", log.segments());
    let held = Held {
        first: Some(96),
        last: Some(101),
        purged: Some(Bytes::from_static(b"purged")),
        vote: Some(Bytes::from_static(b"vote")),
        committed: Some(Bytes::from_static(b"committed")),
    };
    assert_eq!(log.held(), held);
    drop(log);
    let log = open(dir.path(), 8 << 10);
    assert_eq!(log.held(), held);
    assert!(log.read(95..96, 1000).unwrap().is_empty());
    assert_eq!(read_all(&log).len(), 6);
}

#[test]
fn purging_gives_the_space_back_and_nothing_old_returns() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 8 << 10);
    let mut most = 0;
    for round in 0..30_u64 {
        fill(&log, round * 20 + 1..=round * 20 + 20, 700);
        let purge = round * 20 + 15;
        run(log.purge_to(purge, Bytes::from(format!("{purge}")))).unwrap();
        // Purging what is purged changes nothing.
        run(log.purge_to(purge - 1, Bytes::from_static(b"older"))).unwrap();
        assert_eq!(log.held().first, Some(purge + 1), "no more than was asked");
        append(&log, Vec::new()).unwrap();
        most = most.max(std::fs::read_dir(dir.path()).unwrap().count());
    }
    // 30 rounds need 60 segments; segments in use, the spare one, note and lock stay.
    assert!(most <= 8, "{most} files");
    let expected = read_all(&log);
    drop(log);
    let log = open(dir.path(), 8 << 10);
    assert_eq!(read_all(&log), expected);
    assert_eq!(log.held().purged.unwrap(), "595");
}

#[test]
fn a_purge_beyond_the_end_moves_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 8 << 10);
    fill(&log, 1..=30, 500);
    run(log.purge_to(1000, Bytes::from_static(b"snapshot"))).unwrap();
    assert_eq!(log.held().last, None);
    assert!(append(&log, vec![(31, entry(31, 1))]).is_err());
    drop(log);
    let log = open(dir.path(), 8 << 10);
    assert_eq!(log.held().purged.unwrap(), "snapshot");
    assert_eq!(log.held().first, None);
    fill(&log, 1001..=1040, 500);
    drop(log);
    assert_eq!(read_all(&open(dir.path(), 8 << 10)).len(), 40);
}

#[test]
fn an_entry_may_be_larger_than_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 8 << 10);
    fill(&log, 1..=3, 100);
    append(&log, vec![(4, entry(4, 100_000)), (5, entry(5, 20))]).unwrap();
    fill(&log, 6..=8, 5000);
    let expected = read_all(&log);
    assert_eq!(expected.len(), 8);
    drop(log);
    assert_eq!(read_all(&open(dir.path(), 8 << 10)), expected);
}

#[test]
fn appends_wait_while_too_much_is_unsynced() {
    let dir = tempfile::tempdir().unwrap();
    let options = storage::log::Options {
        unsynced_bytes_max: 64 << 10,
        ..small(1 << 20)
    };
    let log = SegmentLog::create(dir.path(), &owner(1), options).unwrap();
    let (release, _done) = blocked(&log, 1);
    let (done, synced) = waiter();
    run(log.append(vec![(2, entry(2, 60 << 10))], done)).unwrap();
    let (done, later) = waiter();
    run(async {
        let append = log.append(vec![(3, entry(3, 60 << 10))], done);
        tokio::pin!(append);
        let waited = tokio::time::timeout(Duration::from_millis(100), &mut append).await;
        assert!(waited.is_err(), "there is no room");
        assert_eq!(log.held().last, Some(2));
        release.send(()).unwrap();
        tokio::time::timeout(PATIENCE, append)
            .await
            .unwrap()
            .unwrap();
    });
    synced.recv_timeout(PATIENCE).unwrap().unwrap();
    later.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn the_directory_has_one_owner_and_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    assert!(
        SegmentLog::open(dir.path(), &owner(1), small(16 << 10)).is_err(),
        "it is in use"
    );
    drop(log);
    let created = SegmentLog::create(dir.path(), &owner(1), small(16 << 10));
    assert!(matches!(created.err(), Some(OpenError::Io(error))
        if error.kind() == io::ErrorKind::AlreadyExists));
    let foreign = SegmentLog::open(dir.path(), &owner(2), small(16 << 10));
    let told = foreign.err().unwrap().to_string();
    assert!(told.contains("node 1") && told.contains("node 2"), "{told}");
}

#[test]
fn a_log_that_is_not_there_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("absent")] {
        let opened = SegmentLog::open(&path, &owner(1), small(16 << 10));
        assert!(matches!(opened.err(), Some(OpenError::Missing { .. })));
    }
    assert!(!dir.path().join("absent").exists(), "looking makes nothing");
}

#[test]
fn damage_that_is_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 64 << 10);
    fill(&log, 1..=20, 500);
    let segment = log.segments().remove(0);
    flip(&segment, 4096 + 2000, 1);
    let error = log.read(1..20, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("segment 1"), "{error}");
    assert_eq!(log.read(20..21, 1000).unwrap().len(), 1, "others are whole");
}

#[test]
fn a_closed_log_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    let clone = log.clone();
    fill(&log, 1..=3, 10);
    log.close().unwrap();
    assert!(append(&clone, vec![(4, entry(4, 1))]).is_err());
    assert!(run(clone.save_vote(Bytes::from_static(b"v"))).is_err());
    clone.close().unwrap();
}

#[test]
fn the_last_handle_may_go_in_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let log = create(dir.path(), 16 << 10);
    let (reached, begun) = mpsc::channel();
    let (go, held) = mpsc::channel::<()>();
    let (sender, gone) = mpsc::channel();
    let clone = log.clone();
    let done: Done = Box::new(move |_| {
        reached.send(()).unwrap();
        held.recv().unwrap();
        drop(clone);
        sender.send(()).unwrap();
    });
    run(log.append(vec![(1, entry(1, 10))], done)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    drop(log);
    go.send(()).unwrap();
    gone.recv_timeout(PATIENCE).unwrap();
}
