//! Entries appended to the log on disk until they are synced.
use std::cell::Cell;
use std::sync::mpsc;

use divan::Bencher;
use divan::counter::ItemsCount;
use storage::log::{LogStore as _, Options, SegmentLog};
use storage::owner::Owner;

use crate::stage::dir;

/// About what a like is in the log.
const ENTRY: [u8; 200] = [7; 200];

/// `together` callers with an entry each.
#[divan::bench(args = [1, 64], sample_count = 300)]
fn append(bencher: Bencher, together: u64) {
    let dir = dir();
    let owner = Owner {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node: 1,
        incarnation: [1; 16],
    };
    let log = SegmentLog::create(&dir.path().join("log"), &owner, Options::default())
        .expect("a new directory takes a log");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    let next = Cell::new(1);
    bencher.counter(ItemsCount::new(together)).bench_local(|| {
        let (done, synced) = mpsc::channel();
        let first = next.replace(next.get() + together);
        runtime.block_on(async {
            for index in first..first + together {
                let done = done.clone();
                let entry = (index, bytes::Bytes::from_static(&ENTRY));
                // Nobody listens any more only when the bench has failed already.
                let tell = Box::new(move |result| drop(done.send(result)));
                let appended = log.append(vec![entry], tell).await;
                appended.expect("the log takes entries");
            }
        });
        for _ in 0..together {
            let result = synced.recv().expect("every append is answered");
            result.expect("the disk syncs");
        }
    });
}
