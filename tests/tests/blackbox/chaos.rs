//! A minute of chaos: the built `jepsen` breaks a cluster of its own in every way it knows.
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::process::yin;

/// Longer than a minute of faults with start, healing and last reads on a busy machine.
const LIMIT_S: &str = "220";

/// Namespaces and mounts need root. Without it the test says so, and fails unless the operator
/// accepts that.
fn may_break_everything() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("YIN_WITHOUT_ROOT").is_some(),
        "chaos makes namespaces and mounts: run it as root, or set YIN_WITHOUT_ROOT=1 to leave it out"
    );
    eprintln!("left out: needs root");
    false
}

#[test]
fn a_minute_of_all_faults_breaks_no_promise() {
    if !may_break_everything() {
        return;
    }
    let out = tempfile::tempdir().expect("a directory");
    let jepsen = yin().with_file_name("jepsen");
    assert!(jepsen.exists(), "build it first: make build");
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clip1.mp4");
    let output = Command::new("timeout")
        .args(["--kill-after=10", LIMIT_S])
        .arg(jepsen)
        .args([
            "chaos",
            "--profile",
            "all",
            "--seconds",
            "75",
            "--rate",
            "150",
        ])
        .arg("--yin")
        .arg(yin())
        .arg("--clip")
        .arg(clip)
        .arg("--out")
        .arg(out.path())
        .stdin(Stdio::null())
        .output()
        .expect("jepsen can be started");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    // What a busy machine leaves unknown is no proof, and no broken promise either.
    match output.status.code() {
        Some(0) => {}
        Some(2) => eprintln!("unknown, so nothing is proven:\n{printed}"),
        code => panic!("{code:?}\n{printed}\n{errors}"),
    }
    let folder = std::fs::read_dir(out.path()).expect("readable").next();
    let folder = folder.expect("a run leaves a folder").expect("readable");
    let folder = folder.path();
    let page = std::fs::metadata(folder.join("report.html")).expect("a report");
    assert!(page.len() > 10_000, "the report is empty");
    let verdict = std::fs::read(folder.join("verdict.json")).expect("a verdict");
    let verdict: Value = serde_json::from_slice(&verdict).expect("JSON");
    assert_ne!(verdict["verdict"], "invalid", "{verdict:#}");
}
