//! Snapshots: whole or not at all, on the way, on the disk and in the state.
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::overlay::Changes;
use model::view::View as _;
use proptest::prelude::*;
use storage::state::memory::MemoryState;
use storage::state::{RocksState, StateStore};

use crate::children;
use crate::state_twin::{all, options};
use crate::tools::{flip, owner};

/// Fills a state with pairs that all carry this generation.
fn fill(state: &impl StateStore, generation: u8, pairs: u32) {
    let mut changes = Changes::new();
    for number in 0..pairs {
        let mut key = vec![1 + u8::try_from(number % 5).unwrap()];
        key.extend_from_slice(&(number * 7 + u32::from(generation)).to_be_bytes());
        changes.insert(key, Some(value(generation, number)));
    }
    let marker = Bytes::from(format!("generation {generation}"));
    state.commit(changes, marker).unwrap();
}

/// Its generation first, then what does not compress.
fn value(generation: u8, number: u32) -> Vec<u8> {
    let noise =
        (0..99_u32).map(|at| (number * 99 + at).wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    std::iter::once(generation).chain(noise).collect()
}

fn stream_of(state: &impl StateStore, id: &str) -> Vec<u8> {
    let chunks = state.snapshot_chunks(id).unwrap();
    chunks.fold(Vec::new(), |mut stream, chunk| {
        let chunk = chunk.unwrap();
        assert!(chunk.len() <= 1 << 20);
        stream.extend_from_slice(&chunk);
        stream
    })
}

/// Gives a stream to a state in such pieces.
fn receive(
    state: &impl StateStore,
    stream: &[u8],
    piece: usize,
) -> Result<storage::state::SnapshotInfo, model::error::Fault> {
    let mut sink = state.receive_snapshot()?;
    for piece in stream.chunks(piece) {
        sink.write(piece)?;
    }
    sink.finish()
}

fn round_trip(source: &impl StateStore, target: &impl StateStore, piece: usize) {
    fill(source, 1, 3000);
    fill(target, 2, 2000);
    let built = source.build_snapshot().unwrap();
    assert_eq!(built.marker, "generation 1");
    assert_eq!(source.snapshots().unwrap(), std::slice::from_ref(&built));
    fill(source, 3, 10);
    let stream = stream_of(source, &built.id);
    assert_eq!(stream.len() as u64, built.bytes);
    let received = receive(target, &stream, piece).unwrap();
    assert_eq!(received, built);
    assert_eq!(target.read().unwrap().marker, "generation 2", "not yet");
    let before = target.read().unwrap();
    target.install_snapshot(&received.id).unwrap();
    let (marker, pairs) = all(&target.read().unwrap());
    assert_eq!(
        (marker.as_ref(), pairs.len()),
        (b"generation 1".as_slice(), 3000)
    );
    assert!(pairs.iter().all(|(_, value)| value[0] == 1));
    let (marker, pairs) = all(&before);
    assert_eq!(
        (marker.as_ref(), pairs.len()),
        (b"generation 2".as_slice(), 2000)
    );
    assert_eq!(target.snapshots().unwrap(), std::slice::from_ref(&built));
    assert_eq!(stream_of(target, &built.id), stream, "it goes on to others");
    fill(target, 4, 1);
    assert_eq!(
        target.read().unwrap().view.get(&[1, 0, 0, 0, 4]).unwrap(),
        Some(value(4, 0))
    );
}

#[test]
fn a_snapshot_replaces_everything_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let create =
        |name: &str| RocksState::create(&dir.path().join(name), &owner(1), options()).unwrap();
    for (number, piece) in [1 << 20, 777, 16].into_iter().enumerate() {
        let (source, target) = (create(&format!("s{number}")), create(&format!("t{number}")));
        round_trip(&source, &target, piece);
        let shown = all(&target.read().unwrap());
        let held = target.snapshots().unwrap();
        drop(target);
        let target = dir.path().join(format!("t{number}"));
        let target = RocksState::open(&target, &owner(1), options()).unwrap();
        assert_eq!(all(&target.read().unwrap()), shown);
        assert_eq!(target.snapshots().unwrap(), held);
    }
}

#[test]
fn a_snapshot_replaces_everything_in_memory() {
    round_trip(&MemoryState::new(), &MemoryState::new(), 777);
}

#[test]
fn an_empty_state_has_a_snapshot_too() {
    let dir = tempfile::tempdir().unwrap();
    let source = RocksState::create(&dir.path().join("s"), &owner(1), options()).unwrap();
    let target = RocksState::create(&dir.path().join("t"), &owner(2), options()).unwrap();
    fill(&target, 2, 500);
    let built = source.build_snapshot().unwrap();
    receive(&target, &stream_of(&source, &built.id), 99).unwrap();
    target.install_snapshot(&built.id).unwrap();
    assert_eq!(all(&target.read().unwrap()), (Bytes::new(), Vec::new()));
    assert!(target.install_snapshot("absent").is_err());
    assert!(target.snapshot_chunks("absent").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a stream, it is refused, and nothing is left of it.
    #[test]
    fn a_damaged_stream_is_refused(
        cut in prop::option::of(any::<prop::sample::Index>()),
        flipped in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        added in prop::bool::weighted(0.1),
        piece in 1..5000_usize,
    ) {
        let memory = MemoryState::new();
        fill(&memory, 1, 300);
        let disk_dir = tempfile::tempdir().unwrap();
        let disk = RocksState::create(disk_dir.path(), &owner(1), options()).unwrap();
        fill(&disk, 1, 300);
        refuses(&memory, cut, flipped, bit, added, piece);
        refuses(&disk, cut, flipped, bit, added, piece);
        let left = std::fs::read_dir(disk_dir.path().join("snapshots")).unwrap().count();
        prop_assert_eq!(left, 1, "the one that was built");
    }
}

fn refuses(
    state: &impl StateStore,
    cut: Option<prop::sample::Index>,
    flipped: prop::sample::Index,
    bit: u8,
    added: bool,
    piece: usize,
) {
    let built = state.build_snapshot().unwrap();
    let mut stream = stream_of(state, &built.id);
    if added {
        stream.push(0);
    } else if let Some(cut) = cut {
        stream.truncate(cut.index(stream.len()));
    } else {
        let at = flipped.index(stream.len());
        stream[at] ^= 1 << bit;
    }
    let before = all(&state.read().unwrap());
    assert!(receive(state, &stream, piece).is_err());
    assert_eq!(all(&state.read().unwrap()), before);
    assert_eq!(state.snapshots().unwrap(), [built]);
}

#[test]
fn a_snapshot_that_nobody_wants_any_more_is_broken_off_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    let memory = MemoryState::new();
    let states: [&dyn StateStore; 2] = [&disk, &memory];
    fill(&disk, 1, 1000);
    fill(&memory, 1, 1000);
    for state in states {
        let error = state.build_snapshot_while(&|| false).unwrap_err();
        assert!(error.to_string().contains("nobody wants"), "{error}");
    }
    // After it had begun to write.
    let asked = AtomicU64::new(0);
    let is_wanted = || asked.fetch_add(1, Ordering::Relaxed) < 3;
    disk.build_snapshot_while(&is_wanted).unwrap_err();
    assert_eq!(asked.load(Ordering::Relaxed), 4, "it goes on after a no");
    for state in states {
        assert_eq!(state.snapshots().unwrap(), []);
    }
    let left = std::fs::read_dir(dir.path().join("snapshots")).unwrap();
    assert_eq!(left.count(), 0);
    for state in states {
        let built = state.build_snapshot_while(&|| true).unwrap();
        assert_eq!(state.snapshots().unwrap(), [built]);
    }
}

#[test]
fn a_snapshot_that_went_bad_on_the_disk_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    fill(&state, 1, 1000);
    let built = state.build_snapshot().unwrap();
    let snapshots = std::fs::read_dir(dir.path().join("snapshots")).unwrap();
    let kept = snapshots.map(|entry| entry.unwrap().path()).next().unwrap();
    let files = std::fs::read_dir(&kept).unwrap().count();
    assert!(files > 4, "{files} files: not what this test is about");
    flip(&kept.join("000001.sst"), 500, 1);
    fill(&state, 2, 1000);
    let before = all(&state.read().unwrap());
    assert!(state.install_snapshot(&built.id).is_err());
    assert_eq!(all(&state.read().unwrap()), before);
}

#[test]
fn a_received_snapshot_that_went_bad_on_the_disk_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let source = RocksState::create(&dir.path().join("s"), &owner(1), options()).unwrap();
    let path = dir.path().join("t");
    let target = RocksState::create(&path, &owner(2), options()).unwrap();
    fill(&source, 1, 1000);
    let built = source.build_snapshot().unwrap();
    receive(&target, &stream_of(&source, &built.id), 4096).unwrap();
    drop(target);
    let snapshots = std::fs::read_dir(path.join("snapshots")).unwrap();
    let kept = snapshots.map(|entry| entry.unwrap().path()).next().unwrap();
    flip(&kept.join("000001.sst"), 500, 1);
    let target = RocksState::open(&path, &owner(2), options()).unwrap();
    let refused = || {
        let error = target.install_snapshot(&built.id).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    };
    refused();
    assert!(all(&target.read().unwrap()).1.is_empty());
    // Nor is one that was good when it was installed for the first time.
    receive(&target, &stream_of(&source, &built.id), 4096).unwrap();
    target.install_snapshot(&built.id).unwrap();
    let snapshots = std::fs::read_dir(path.join("snapshots")).unwrap();
    let kept = snapshots.map(|entry| entry.unwrap().path()).next().unwrap();
    flip(&kept.join("000001.sst"), 500, 1);
    refused();
}

#[test]
fn readers_see_the_old_or_the_new_state_and_nothing_between() {
    let dir = tempfile::tempdir().unwrap();
    let source = RocksState::create(&dir.path().join("s"), &owner(1), options()).unwrap();
    let target = RocksState::create(&dir.path().join("t"), &owner(2), options()).unwrap();
    fill(&source, 1, 2500);
    let built = source.build_snapshot().unwrap();
    let stream = stream_of(&source, &built.id);
    fill(&target, 2, 1500);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (marker, pairs) = all(&target.read().unwrap());
                    let generation = pairs[0].1[0];
                    assert_eq!(marker, format!("generation {generation}"));
                    let count = [2500, 1500, 1000][usize::from(generation) - 1];
                    assert_eq!(pairs.len(), count);
                    assert!(pairs.iter().all(|(_, value)| value[0] == generation));
                }
            });
        }
        for _ in 0..10 {
            receive(&target, &stream, 4096).unwrap();
            target.install_snapshot(&built.id).unwrap();
            // One commit that replaces everything, as a contrast.
            let old = all(&target.read().unwrap()).1;
            let mut changes: Changes = old.into_iter().map(|(key, _)| (key, None)).collect();
            for number in 0..1000_u32 {
                let key = [&[9], &number.to_be_bytes()[..]].concat();
                changes.insert(key, Some(value(3, number)));
            }
            target
                .commit(changes, Bytes::from_static(b"generation 3"))
                .unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn snapshots_stay_until_they_are_dropped_and_nobody_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(&dir.path().join("s"), &owner(1), options()).unwrap();
    let other = RocksState::create(&dir.path().join("t"), &owner(2), options()).unwrap();
    let kept = || {
        std::fs::read_dir(dir.path().join("s/snapshots"))
            .unwrap()
            .count()
    };
    fill(&state, 1, 2000);
    let first = state.build_snapshot().unwrap();
    let whole = stream_of(&state, &first.id);
    let mut reading = state.snapshot_chunks(&first.id).unwrap();
    let mut read = reading.next().unwrap().unwrap().to_vec();
    fill(&state, 2, 10);
    let second = state.build_snapshot().unwrap();
    assert_eq!(state.snapshots().unwrap(), [first.clone(), second.clone()]);
    state.drop_snapshot(&first.id).unwrap();
    assert_eq!(state.snapshots().unwrap(), std::slice::from_ref(&second));
    assert_eq!(kept(), 2);
    assert!(
        state.snapshot_chunks(&first.id).is_err(),
        "nobody new gets it"
    );
    for chunk in reading {
        read.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(read, whole);
    assert_eq!(kept(), 1, "its reader was the last");
    // All that come in stay, also over a restart, until they are let go.
    fill(&other, 3, 10);
    let theirs = other.build_snapshot().unwrap();
    let stream = stream_of(&other, &theirs.id);
    receive(&state, &stream, 4096).unwrap();
    fill(&state, 4, 10);
    let third = state.build_snapshot().unwrap();
    let held = [second.clone(), theirs.clone(), third.clone()];
    assert_eq!(state.snapshots().unwrap(), held);
    drop(state);
    let state = RocksState::open(&dir.path().join("s"), &owner(1), options()).unwrap();
    assert_eq!(state.snapshots().unwrap(), held);
    state.install_snapshot(&theirs.id).unwrap();
    assert_eq!(state.snapshots().unwrap(), held);
    // The same again: it is there once, and begun last.
    receive(&state, &stream, 4096).unwrap();
    assert_eq!(state.snapshots().unwrap(), [second, third, theirs]);
    assert_eq!(kept(), 3);
    for snapshot in state.snapshots().unwrap() {
        state.drop_snapshot(&snapshot.id).unwrap();
    }
    state.drop_snapshot("none").unwrap();
    assert_eq!(kept(), 0);
}

#[test]
fn what_is_unfinished_is_removed_when_the_state_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    fill(&state, 1, 500);
    let built = state.build_snapshot().unwrap();
    drop(state);
    let snapshots = dir.path().join("snapshots");
    let whole = std::fs::read_dir(&snapshots)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for (left, what) in [
        ("tmp-7", "000000.sst"),
        ("tmp-install", "x"),
        ("00000000000000000009-ab", "x"),
    ] {
        std::fs::create_dir(snapshots.join(left)).unwrap();
        std::fs::write(snapshots.join(left).join(what), b"half").unwrap();
    }
    // Newer, but one of its files is too short.
    let torn = snapshots.join(format!("{:020}-{}", 8, built.id));
    crate::tools::copy_dir(&whole, &torn);
    std::fs::write(torn.join("000000.sst"), b"half").unwrap();
    let state = RocksState::open(dir.path(), &owner(1), options()).unwrap();
    assert_eq!(state.snapshots().unwrap(), [built]);
    assert_eq!(std::fs::read_dir(&snapshots).unwrap().count(), 1);
}

/// What goes on in the background does not keep a state open that was let go.
#[test]
fn a_state_opens_again_right_after_installations() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    fill(&state, 1, 5000);
    for _ in 0..10 {
        let built = state.build_snapshot().unwrap();
        for _ in 0..3 {
            state.install_snapshot(&built.id).unwrap();
        }
        drop(state);
        state = RocksState::open(dir.path(), &owner(1), options()).unwrap();
    }
    assert_eq!(all(&state.read().unwrap()).1.len(), 5000);
}

/// The child of the next test: installs two snapshots in turn and commits between.
pub(crate) fn install_for_ever(dir: &Path) {
    let source = RocksState::create(&dir.join("source"), &owner(2), options()).unwrap();
    let target = RocksState::open(&dir.join("target"), &owner(1), options()).unwrap();
    let mut streams = Vec::new();
    for generation in [1, 2] {
        let old = all(&source.read().unwrap()).1;
        let changes = old.into_iter().map(|(key, _)| (key, None)).collect();
        source.commit(changes, Bytes::new()).unwrap();
        fill(&source, generation, 1000);
        let built = source.build_snapshot().unwrap();
        streams.push((built.id.clone(), stream_of(&source, &built.id)));
    }
    loop {
        for (id, stream) in &streams {
            receive(&target, stream, 4096).unwrap();
            target.install_snapshot(id).unwrap();
            let (marker, _) = all(&target.read().unwrap());
            target.commit(Changes::new(), marker.clone()).unwrap();
            if marker == "generation 2" {
                target.make_durable().unwrap();
            }
            children::say(String::from_utf8(marker.to_vec()).unwrap());
        }
    }
}

#[test]
fn a_kill_during_installation_leaves_the_old_or_the_new_state() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    drop(RocksState::create(&target, &owner(1), options()).unwrap());
    let mut seen = [0; 3];
    for round in 0..12_u32 {
        if dir.path().join("source").exists() {
            std::fs::remove_dir_all(dir.path().join("source")).unwrap();
        }
        let mut child = children::start("install", dir.path());
        // Both generations were installed; every other time the first one once more.
        let mut took = Duration::ZERO;
        for _ in 0..2 + round % 2 {
            let begin = Instant::now();
            child.hear().expect("it goes on");
            took = begin.elapsed();
        }
        // At another moment of the next installation each time, however fast the disk is.
        std::thread::sleep(took * (round / 2) / 6);
        child.kill();
        let state = RocksState::open(&target, &owner(1), options()).unwrap();
        let (marker, pairs) = all(&state.read().unwrap());
        let generation = pairs[0].1[0];
        assert_eq!(marker, format!("generation {generation}"));
        assert_eq!(pairs.len(), 1000);
        assert!(pairs.iter().all(|(_, value)| value[0] == generation));
        seen[usize::from(generation)] += 1;
    }
    assert!(
        seen[1] > 0 && seen[2] > 0,
        "{seen:?}: the test shows little"
    );
}
