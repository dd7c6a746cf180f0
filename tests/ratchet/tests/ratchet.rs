//! What the hot paths allocate must not grow. Times are noise on a shared machine; this is not.
//!
//! `allowed.txt` holds the allocations per request that were measured when it was last set; more
//! than a twentieth above is a failure. `YIN_RATCHET=set` writes what is measured now.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the lint's own exception covers test functions only"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use allocation_counter::measure;
use model::command::{Command, Reply, RequestId};
use raft::clock::{Clock as _, SystemClock};
use raft::replica::Consistency;
use ratchet::{Kind, Scale, Served, observe};

const SCALE: Scale = Scale {
    users: 20,
    videos: 60,
    edges: 8,
};
const REQUESTS: usize = 200;
/// The lowest of several rounds is told: what grows once (a table, a buffer) is not the request's.
const ROUNDS: usize = 3;

type Counts = BTreeMap<String, u64>;

#[test]
fn hot_paths_allocate_no_more_than_they_did() {
    observe();
    let served = Served::start(SCALE, 64 << 20);
    let mut counts: Counts = Kind::ALL
        .iter()
        .map(|kind| {
            let mut round = 0;
            let ask = || {
                served.ask(*kind, round);
                round += 1;
            };
            (kind.name().to_owned(), lowest(ask))
        })
        .collect();
    counts.insert("apply_like".to_owned(), like(&served));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("allowed.txt");
    if std::env::var("YIN_RATCHET").is_ok_and(|word| word == "set") {
        std::fs::write(&path, write(&counts)).unwrap();
    }
    let allowed = parse(&std::fs::read_to_string(&path).unwrap());
    println!("{}", write(&counts));
    let trouble = exceeded(&counts, &allowed);
    assert!(trouble.is_empty(), "{trouble:#?}");
}

#[test]
fn a_twentieth_more_is_too_much_and_so_is_what_is_not_known() {
    let allowed = parse("feed 100\nuser 40\n");
    let counts = |text| exceeded(&parse(text), &allowed);
    assert!(counts("feed 105\nuser 12").is_empty());
    assert_eq!(counts("feed 106\nuser 40").len(), 1);
    assert_eq!(counts("feed 100\nuser 40\nnew 1").len(), 1);
    assert_eq!(counts("feed 100").len(), 1);
}

/// Allocations of this thread for one call, rounded.
fn lowest(mut call: impl FnMut()) -> u64 {
    // What is read for the first time is not what is looked at.
    (0..REQUESTS).for_each(|_| call());
    let rounds = (0..ROUNDS).map(|_| {
        let counted = measure(|| (0..REQUESTS).for_each(|_| call()));
        counted.count_total.div_ceil(REQUESTS as u64)
    });
    rounds.min().unwrap()
}

/// Of one like, as the state machine applies it; nothing is committed.
fn like(served: &Served) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let read = served
        .replica
        .read(Consistency::Local, Duration::from_secs(10));
    let view = runtime.block_on(read).unwrap().view;
    let now = SystemClock.now();
    let mut number = 0;
    lowest(|| {
        number += 1;
        let (token, operation) = served.like(number % SCALE.users, number % 7);
        let command = Command {
            request: RequestId([9; 16]),
            issued: now,
            stamp: now,
            actor: Some(token),
            operation,
        };
        let outcome = model::apply::apply(&view, command).unwrap();
        assert_eq!(outcome.reply, Reply::Done);
    })
}

fn exceeded(counts: &Counts, allowed: &Counts) -> Vec<String> {
    let mut trouble = Vec::new();
    for (name, count) in counts {
        match allowed.get(name) {
            Some(allowed) if count * 20 <= allowed * 21 => {}
            Some(allowed) => trouble.push(format!(
                "{name}: {count} allocations, {allowed} are allowed: find out which are new; if \
                 they have to be, run this with YIN_RATCHET=set and say why in the commit"
            )),
            None => trouble.push(format!("{name}: {count} allocations, none are known yet")),
        }
    }
    let gone = allowed.keys().filter(|name| !counts.contains_key(*name));
    trouble.extend(gone.map(|name| format!("{name} is not measured any more")));
    trouble
}

fn parse(text: &str) -> Counts {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
        .collect()
}

fn write(counts: &Counts) -> String {
    counts
        .iter()
        .fold(String::new(), |mut text, (name, count)| {
            writeln!(text, "{name} {count}").unwrap();
            text
        })
}
