//! The state machine alone, in random histories: a bounded number of them with every test run. The
//! binary `model` plays more.
use std::time::SystemTime;

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
