//! What the tests share.
use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use storage::log::{Done, LogStore, Options, SegmentLog};
use storage::owner::Owner;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn owner(node: u64) -> Owner {
    Owner {
        cluster_id: "00112233445566778899aabbccddeeff".to_owned(),
        node,
        incarnation: [7; 16],
    }
}

/// Small segments, so that much happens with little data.
pub(crate) fn small(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        cache_bytes: 1024,
        unsynced_bytes_max: 1 << 20,
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// An entry whose bytes tell its index, and are never zero.
pub(crate) fn entry(index: u64, bytes: usize) -> Bytes {
    let pattern = format!("entry-{index}-");
    pattern.bytes().cycle().take(bytes).collect()
}

/// Appends and waits until it is synced.
pub(crate) fn append(log: &impl LogStore, entries: Vec<(u64, Bytes)>) -> io::Result<()> {
    let (done, synced) = waiter();
    run(log.append(entries, done))?;
    synced
        .recv_timeout(PATIENCE)
        .expect("the callback is called")
}

pub(crate) fn waiter() -> (Done, mpsc::Receiver<io::Result<()>>) {
    let (sender, receiver) = mpsc::channel();
    let done: Done = Box::new(move |result| sender.send(result).unwrap());
    (done, receiver)
}

/// Appends these indexes, one batch each.
pub(crate) fn fill(log: &impl LogStore, indexes: std::ops::RangeInclusive<u64>, bytes: usize) {
    for index in indexes {
        append(log, vec![(index, entry(index, bytes))]).unwrap();
    }
}

pub(crate) fn read_all(log: &impl LogStore) -> Vec<(u64, Bytes)> {
    let held = log.held();
    match held.first.zip(held.last) {
        Some((first, last)) => log.read(first..last + 1, usize::MAX).unwrap(),
        None => Vec::new(),
    }
}

pub(crate) fn open(dir: &Path, segment_bytes: u64) -> SegmentLog {
    SegmentLog::open(dir, &owner(1), small(segment_bytes)).unwrap()
}

pub(crate) fn create(dir: &Path, segment_bytes: u64) -> SegmentLog {
    SegmentLog::create(dir, &owner(1), small(segment_bytes)).unwrap()
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= mask;
    fs::write(path, bytes).unwrap();
}
