//! The log on disk and its twin in memory do the same; and the twin's two tiers.
use bytes::Bytes;
use proptest::prelude::*;
use storage::log::memory::{MemoryLog, Syncing};
use storage::log::{LogStore, SegmentLog};

use crate::tools::{append, create, entry, fill, open, read_all, run, waiter};

#[derive(Clone, Debug)]
enum Call {
    /// So many entries of such a size, or a gap before them.
    Append(u8, u16, bool),
    Vote(u8),
    Committed(u8),
    /// So far before the end.
    Truncate(u8),
    /// So far behind the beginning.
    Purge(u8),
    Read(u8, u8, u16),
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..8_u8, 0..2000_u16, prop::bool::weighted(0.05)).prop_map(|(count, bytes, gap)| {
            Call::Append(count, bytes, gap)
        }),
        1 => any::<u8>().prop_map(Call::Vote),
        2 => any::<u8>().prop_map(Call::Committed),
        2 => (0..12_u8).prop_map(Call::Truncate),
        2 => (0..40_u8).prop_map(Call::Purge),
        3 => (0..60_u8, 0..60_u8, 0..5000_u16).prop_map(|(from, count, bytes)| {
            Call::Read(from, count, bytes)
        }),
        1 => Just(Call::Reopen),
    ]
}

/// Makes a call; gives what it shows, errors by their kind.
fn make(log: &impl LogStore, call: &Call) -> String {
    let held = log.held();
    let last = held.last.unwrap_or(0);
    let first = held.first.unwrap_or(1);
    match call {
        Call::Append(count, bytes, gap) => {
            let next = last + 1 + u64::from(*gap);
            let entries = (next..next + u64::from(*count))
                .map(|index| (index, entry(index, usize::from(*bytes))))
                .collect();
            format!("{:?}", append(log, entries).map_err(|error| error.kind()))
        }
        Call::Vote(vote) => {
            run(log.save_vote(Bytes::copy_from_slice(&[*vote; 9]))).unwrap();
            String::new()
        }
        Call::Committed(committed) => {
            run(log.save_committed(Bytes::copy_from_slice(&[*committed; 5]))).unwrap();
            String::new()
        }
        Call::Truncate(back) => {
            let from = last.saturating_sub(u64::from(*back));
            let result = run(log.truncate_from(from));
            format!("{:?}", result.map_err(|error| error.kind()))
        }
        Call::Purge(ahead) => {
            let to = first + u64::from(*ahead);
            run(log.purge_to(to, Bytes::from(format!("purged {to}")))).unwrap();
            String::new()
        }
        Call::Read(from, count, bytes) => {
            let from = first + u64::from(*from);
            let range = from..from + u64::from(*count);
            format!("{:?}", log.read(range, usize::from(*bytes)).unwrap())
        }
        Call::Reopen => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_do_the_same(calls in prop::collection::vec(call(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = create(dir.path(), 8 << 10);
        let mut memory = MemoryLog::new(Syncing::AtOnce);
        for call in &calls {
            if matches!(call, Call::Reopen) {
                drop(disk);
                disk = open(dir.path(), 8 << 10);
                memory = memory.kill();
            }
            prop_assert_eq!(make(&disk, call), make(&memory, call), "{:?}", call);
            prop_assert_eq!(disk.held(), memory.held(), "{:?}", call);
        }
        prop_assert_eq!(read_all(&disk), read_all(&memory));
        drop(disk);
        let disk: SegmentLog = open(dir.path(), 8 << 10);
        prop_assert_eq!(disk.held(), memory.held());
        prop_assert_eq!(read_all(&disk), read_all(&memory));
    }
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let log = MemoryLog::new(Syncing::ByHand);
    let (done, synced) = waiter();
    run(log.append(vec![(1, entry(1, 5))], done)).unwrap();
    assert!(synced.try_recv().is_err());
    log.sync();
    synced.try_recv().unwrap().unwrap();
    let (done, lost) = waiter();
    run(log.append(vec![(2, entry(2, 5))], done)).unwrap();
    let killed = log.kill();
    assert!(lost.try_recv().unwrap().is_err(), "who waits is told");
    assert!(append(&log, vec![(3, entry(3, 5))]).is_err());
    assert_eq!(killed.held().last, Some(2), "a kill takes nothing");
    assert_eq!(log.power_cut_leaving(1).held().last, Some(2));
    assert_eq!(log.power_cut_leaving(0).held().last, Some(1));
    let cut = log.power_cut();
    assert_eq!(cut.held().last, Some(1));
}

#[test]
fn a_twin_that_syncs_at_once_answers_at_once() {
    let log = MemoryLog::new(Syncing::AtOnce);
    fill(&log, 1..=5, 10);
    run(log.save_vote(Bytes::from_static(b"v"))).unwrap();
    assert_eq!(log.power_cut().held().last, Some(5));
}
