//! The simulator in CI: fixed seeds, new seeds, and the same seed twice. `make sim` runs more.
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seeds that stay the same, so that a change of the product shows against yesterday's.
const FIXED: (u64, u64) = (1, 50);
/// Seeds that nobody ran before.
const NEW: u64 = 300;
/// So long new seeds are begun; a slow machine runs fewer.
const NEW_WITHIN: Duration = Duration::from_secs(180);
/// Fewer would be no test.
const NEW_MIN: u64 = 40;

/// Seeds that once showed a bug, and under which profile. See DESIGN.md, track record.
const FOUND: &[(u64, &str)] = &[(1_795_478_002_133, "mixed"), (1_795_493_289_043, "mixed")];

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments)
        .output()
        .expect("the simulator starts")
}

/// What it printed, once it passed.
#[track_caller]
fn passed(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{told}\n{errors}",
        output.status
    );
    told
}

fn traced(seed: u64, file: &Path) -> Vec<u8> {
    let file = file.to_str().expect("a temporary path is text");
    let seed = seed.to_string();
    passed(&sim(&["--seed", &seed, "--seconds", "10", "--trace", file]));
    std::fs::read(file).expect("the trace was written")
}

/// The same seed is the same run, to the byte; another seed is another.
#[test]
fn a_seed_repeats_bit_for_bit() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [first, again, other] = ["first", "again", "other"].map(|name| dir.path().join(name));
    for seed in [7, 42] {
        let trace = traced(seed, &first);
        assert!(trace.len() > 10_000, "{} bytes are no run", trace.len());
        assert!(
            trace == traced(seed, &again),
            "seed {seed} differs from itself"
        );
        assert!(
            trace != traced(seed + 1, &other),
            "seed {seed} is its neighbour"
        );
    }
}

#[test]
fn fixed_seeds_pass() {
    let (first, count) = FIXED;
    let told = passed(&sim(&[
        "--seed",
        &first.to_string(),
        "--count",
        &count.to_string(),
    ]));
    println!("{told}");
    for (seed, profile) in FOUND {
        passed(&sim(&["--seed", &seed.to_string(), "--profile", profile]));
    }
}

#[test]
fn new_seeds_pass() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let first = now.expect("after 1970").as_secs() * 1_000;
    let told = passed(&sim(&[
        "--seed",
        &first.to_string(),
        "--count",
        &NEW.to_string(),
        "--within",
        &NEW_WITHIN.as_secs().to_string(),
    ]));
    println!("{told}");
    let runs = told
        .lines()
        .filter(|line| line.starts_with("seed "))
        .count() as u64;
    assert!(runs >= NEW_MIN, "only {runs} seeds in {NEW_WITHIN:?}");
}

/// A check that cannot fail says nothing: here the history is altered before it is judged.
#[test]
fn the_canary_sings() {
    let output = sim(&["--seed", "7", "--seconds", "5", "--canary"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("again: sim --seed 7"), "{told}");
}
