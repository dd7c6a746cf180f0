//! The state on disk and its twin in memory show the same views; and the twin's two tiers.
use std::collections::BTreeMap;

use bytes::Bytes;
use model::overlay::Changes;
use model::view::Pair;
use proptest::prelude::*;
use storage::state::memory::MemoryState;
use storage::state::{OpenError, Options, Reading, RocksState, StateStore};

use crate::tools::owner;

pub(crate) fn options() -> Options {
    Options {
        block_cache_bytes: 1 << 20,
        // Little enough that entries are dropped.
        value_cache_bytes: 256 << 10,
        // The smallest there is: files are written soon.
        write_buffer_bytes: 64 << 10,
        snapshot_file_bytes: 16 << 10,
        open_files_max: 64,
    }
}

/// Everything that a reading shows.
pub(crate) fn all(reading: &Reading) -> (Bytes, Vec<Pair>) {
    let pairs = reading.view.scan(&[], &[]);
    (reading.marker.clone(), pairs.map(Result::unwrap).collect())
}

/// Keys that share prefixes of all lengths around that of the filters.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![Just(1_u8), Just(2), Just(0xfe), Just(0xff)];
    (1..4_u8, prop::collection::vec(part, 0..13)).prop_map(|(tag, mut parts)| {
        let mut key = vec![if tag == 3 { 0xfe } else { tag }];
        key.append(&mut parts);
        key
    })
}

fn changes() -> impl Strategy<Value = Changes> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..400));
    prop::collection::btree_map(key(), value, 0..40)
}

#[derive(Clone, Debug)]
enum Call {
    Commit(Changes),
    /// Keeps the reading of now, to be compared at the end.
    Look,
    Get(Vec<Vec<u8>>),
    /// Prefix: so much of the key. From: the key itself, or the beginning.
    Scan(Vec<u8>, usize, bool, usize),
    Snapshot,
    Durable,
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => changes().prop_map(Call::Commit),
        1 => Just(Call::Look),
        2 => prop::collection::vec(key(), 0..8).prop_map(Call::Get),
        6 => (key(), 0..14_usize, any::<bool>(), 1..100_usize)
            .prop_map(|(key, length, is_from, take)| Call::Scan(key, length, is_from, take)),
        1 => Just(Call::Snapshot),
        1 => Just(Call::Durable),
        1 => Just(Call::Reopen),
    ]
}

fn make(state: &impl StateStore, call: &Call, number: usize) -> String {
    match call {
        Call::Commit(changes) => {
            let marker = Bytes::from(format!("{number}"));
            state.commit(changes.clone(), marker).unwrap();
            String::new()
        }
        Call::Get(keys) => {
            let view = state.read().unwrap().view;
            let many = view.get_many(keys).unwrap();
            for (key, value) in keys.iter().zip(&many) {
                assert_eq!(view.get(key).unwrap(), *value);
            }
            format!("{many:?}")
        }
        Call::Scan(key, length, is_from, take) => {
            let view = state.read().unwrap().view;
            let prefix = &key[..key.len().min(*length)];
            let from = if *is_from { key.as_slice() } else { &[] };
            let pairs: Vec<_> = view
                .scan(prefix, from)
                .take(*take)
                .map(Result::unwrap)
                .collect();
            format!("{pairs:?}")
        }
        Call::Snapshot => {
            // All comes back as files that are ingested.
            let built = state.build_snapshot().unwrap();
            state.install_snapshot(&built.id).unwrap();
            format!("{:?}", built.marker)
        }
        Call::Durable => format!("{:?}", state.make_durable().unwrap()),
        Call::Look | Call::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_show_the_same(calls in prop::collection::vec(call(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = RocksState::create(dir.path(), &owner(1), options()).unwrap();
        let mut memory = MemoryState::new();
        let mut looks = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            match call {
                Call::Look => looks.push((disk.read().unwrap(), memory.read().unwrap())),
                Call::Reopen => {
                    for (one, other) in looks.drain(..) {
                        prop_assert_eq!(all(&one), all(&other));
                    }
                    drop(disk);
                    disk = RocksState::open(dir.path(), &owner(1), options()).unwrap();
                    memory = memory.reopen();
                }
                _ => prop_assert_eq!(make(&disk, call, number), make(&memory, call, number)),
            }
        }
        for (one, other) in looks {
            prop_assert_eq!(all(&one), all(&other));
        }
        prop_assert_eq!(all(&disk.read().unwrap()), all(&memory.read().unwrap()));
    }
}

/// Filters know prefixes of nine bytes. Shorter ones must find all, with data in files and in memory.
#[test]
fn scans_find_all_whatever_the_length_of_the_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..6_u8 {
        let mut changes = Changes::new();
        for number in 0..400_u32 {
            let mut key = vec![5 + round % 2];
            key.extend_from_slice(&u64::from(number % 40).to_be_bytes());
            key.extend_from_slice(&[round]);
            key.extend_from_slice(&number.to_be_bytes());
            key.truncate(4 + (number as usize + usize::from(round)) % 11);
            changes.insert(key, Some(vec![round; 300]));
        }
        expected.extend(changes.clone());
        state.commit(changes, Bytes::new()).unwrap();
    }
    let view = state.read().unwrap().view;
    for key in expected.keys() {
        for length in 0..=key.len() {
            let prefix = &key[..length];
            let found: Vec<_> = view.scan(prefix, &[]).map(|pair| pair.unwrap().0).collect();
            let wanted = expected.keys().filter(|key| key.starts_with(prefix));
            assert!(found.iter().eq(wanted), "{prefix:02x?}");
        }
    }
}

#[test]
fn keys_of_the_store_are_refused_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    let memory = MemoryState::new();
    for state in [&disk as &dyn StateStore, &memory] {
        for key in [vec![], vec![0], vec![0, 1], vec![0xff], vec![0xff, 1]] {
            let changes = Changes::from([(key.clone(), Some(vec![1]))]);
            assert!(state.commit(changes, Bytes::new()).is_err(), "{key:?}");
            let view = state.read().unwrap().view;
            assert_eq!(view.get(&key).unwrap(), None);
            assert_eq!(view.get_many(&[key, vec![1]]).unwrap(), [None, None]);
        }
        assert_eq!(state.read().unwrap().view.scan(&[], &[]).count(), 0);
        assert!(state.read().unwrap().marker.is_empty());
    }
}

#[test]
fn the_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let missing = RocksState::open(dir.path(), &owner(1), options());
    assert!(matches!(missing.err(), Some(OpenError::Missing { .. })));
    let state = RocksState::create(dir.path(), &owner(1), options()).unwrap();
    state
        .commit(
            Changes::from([(vec![1], Some(vec![2]))]),
            Bytes::from_static(b"m"),
        )
        .unwrap();
    let view = state.read().unwrap();
    drop(state);
    assert!(
        RocksState::open(dir.path(), &owner(1), options()).is_err(),
        "the view keeps it open"
    );
    assert_eq!(view.view.get(&[1]).unwrap(), Some(vec![2]));
    drop(view);
    let foreign = RocksState::open(dir.path(), &owner(2), options());
    assert!(matches!(foreign.err(), Some(OpenError::Foreign { .. })));
    assert!(RocksState::create(dir.path(), &owner(1), options()).is_err());
    let state = RocksState::open(dir.path(), &owner(1), options()).unwrap();
    assert_eq!(state.read().unwrap().marker, "m");
    state.report();
}

#[test]
fn a_checkpoint_is_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = RocksState::create(&dir.path().join("live"), &owner(1), options()).unwrap();
    let put = |value| Changes::from([(vec![1], Some(vec![value]))]);
    state.commit(put(1), Bytes::from_static(b"one")).unwrap();
    let copy = dir.path().join("copy");
    state.checkpoint(&copy).unwrap();
    state.commit(put(2), Bytes::from_static(b"two")).unwrap();
    let copy = RocksState::open(&copy, &owner(1), options()).unwrap();
    let reading = copy.read().unwrap();
    assert_eq!(reading.marker, "one");
    assert_eq!(reading.view.get(&[1]).unwrap(), Some(vec![1]));
    assert_eq!(state.read().unwrap().marker, "two");
}

#[test]
fn the_twin_has_two_tiers() {
    let state = MemoryState::new();
    let put = |value| Changes::from([(vec![1], Some(vec![value]))]);
    state.commit(put(1), Bytes::from_static(b"one")).unwrap();
    assert_eq!(state.make_durable().unwrap(), "one");
    for value in 2..10 {
        state
            .commit(put(value), Bytes::from(format!("{value}")))
            .unwrap();
    }
    let reopened = state.reopen();
    assert_eq!(reopened.read().unwrap().marker, "9");
    assert!(state.commit(put(3), Bytes::new()).is_err());
    for (commits, marker, value) in [(0, "one", 1), (1, "2", 2), (5, "6", 6), (99, "9", 9)] {
        let reading = state.crash_leaving(commits).read().unwrap();
        assert_eq!(reading.marker, marker);
        assert_eq!(reading.view.get(&[1]).unwrap(), Some(vec![value]));
    }
    let left = state.crash();
    let reading = left.read().unwrap();
    assert_eq!(reading.marker, "one");
    assert_eq!(reading.view.get(&[1]).unwrap(), Some(vec![1]));
}
