//! The state machine alone and the engines alone, in random histories: a bounded number of them with
//! every test run. The binaries `model` and `disk` play more.
use std::path::Path;
use std::time::SystemTime;

use tests::disk_runs;
use tests::model_runs::{run_seed, run_seeds};

const STEPS: u64 = 300;

#[test]
fn fixed_seeds_break_no_law() {
    let figures = run_seeds(1, 300, STEPS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(figures.gaps().is_empty(), "{figures}");
}

/// Another part of the world with every run; what breaks says how to see it again.
#[test]
fn new_seeds_break_no_law() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let from = now.expect("it is later than 1970").as_secs() << 16;
    let seeds = if std::env::var_os("YIN_LONG").is_some() {
        20_000
    } else {
        500
    };
    let played = run_seeds(from, seeds, STEPS);
    played.unwrap_or_else(|violation| panic!("{violation}"));
}

/// Few histories are long, and some bugs need them.
#[test]
fn long_histories_break_no_law() {
    let played = run_seeds(1_000_000, 8, 4_000);
    played.unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_seed_is_a_history() {
    let once = run_seed(7, STEPS).unwrap_or_else(|violation| panic!("{violation}"));
    let again = run_seed(7, STEPS).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(once, again);
    let other = run_seed(8, STEPS).unwrap_or_else(|violation| panic!("{violation}"));
    assert_ne!(once, other);
}

/// The log and RocksDB on a real directory, damaged, cut and killed.
#[test]
fn engines_break_no_law() {
    let scratch = tempfile::tempdir().expect("a directory for the files");
    let me = Path::new(env!("CARGO_BIN_EXE_disk"));
    let mut figures = disk_runs::Figures::default();
    for seed in 1..=12 {
        let played = disk_runs::run_seed(seed, scratch.path(), me);
        figures += played.unwrap_or_else(|trouble| panic!("seed {seed}: {trouble}"));
    }
    assert!(figures.is_telling(), "{figures}");
}

/// A binary without the feature holds no planted bug, not even a way to ask for one.
#[test]
fn the_built_binary_holds_no_planted_bug() {
    let binary = std::fs::read(tests::process::yin()).expect("it was built before the tests");
    let holds = |what: &str| {
        let mut windows = binary.windows(what.len());
        windows.any(|window| window == what.as_bytes())
    };
    assert!(holds("YIN_"), "this is how its variables are found");
    assert!(!holds("YIN_PLANT"), "it was built with planted bugs");
}
