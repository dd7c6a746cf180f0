//! Measuring works from end to end: `yin bench` against a running cluster, and a whole tiny run of
//! the bench.
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::cluster::{Cluster, words};
use tests::process::{run, yin};

/// All on one node: what is measured here means nothing, that it is measured does. One test, since
/// clusters take turns.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_measured_and_a_bench_runs_to_its_report() {
    let cluster = Cluster::start(1).await;
    measure_with_yin_bench(&cluster.nodes[0].url());
    cluster.verify().await;
    run_the_bench();
}

fn measure_with_yin_bench(url: &str) {
    let flags = "--users 4 --videos 2 --seconds 0.5 --connections 2 --output json \
                 --scenario like,feed,chat,read-linearizable";
    let mut arguments = words(&["bench", "--node", url]);
    arguments.extend(flags.split_whitespace().map(str::to_owned));
    let (status, output, errors) = run(&arguments);
    assert!(status.success(), "{errors}");
    assert!(errors.contains("This writes"), "{errors}");
    let all: Vec<Value> = serde_json::from_str(&output).expect("JSON");
    assert_eq!(all.len(), 4, "{output}");
    for figures in &all {
        assert!(figures["done"].as_u64() > Some(0), "{figures:#}");
        assert_eq!(figures["errors"], serde_json::json!({}), "{figures:#}");
    }
}

fn run_the_bench() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bench: PathBuf = yin().with_file_name("bench");
    assert!(
        bench.exists(),
        "{} is missing: run `cargo build -p bench`",
        bench.display()
    );
    let flags = "--nodes 1 --rounds 1 --seconds 0.5 --scale 0 --connections 4 \
                 --only like,feed,axum-hello,append,depth --depth 10000,20000";
    let output = Command::new(bench)
        .args(["run", "--yin"])
        .arg(yin())
        .arg("--dir")
        .arg(dir.path())
        .args(flags.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the bench can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let json = std::fs::read(dir.path().join("results.json")).expect("results");
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    let cases = json["results"]["cases"].as_array().expect("cases");
    let names: Vec<&str> = cases
        .iter()
        .filter_map(|case| case["name"].as_str())
        .collect();
    assert_eq!(names, ["axum-hello", "append", "like", "feed"]);
    for case in cases {
        let sample = &case["samples"][0];
        assert!(sample["figures"]["done"].as_u64() > Some(0), "{case:#}");
        assert_eq!(
            sample["figures"]["errors"],
            serde_json::json!({}),
            "{case:#}"
        );
    }
    check_depth(&json["results"]["depth"]);
    let goals = json["goals"].as_array().expect("goals");
    assert!(goals.len() > 23, "{}", goals.len());
    let cost = goals.iter().find(|goal| goal["number"] == "19a");
    let cost = cost.expect("the goal is listed");
    assert!(cost["measured"]["median"].as_f64() > Some(0.0), "{cost:#}");
    assert!(
        cost["verdict"]["NotMeasured"].is_string(),
        "too few objects"
    );
    assert!(dir.path().join("report.html").exists());
    assert!(!dir.path().join("run").exists(), "the data is removed");
}

/// Both nodes were filled from outside and asked; one recounted itself, the other was killed.
fn check_depth(depth: &Value) {
    assert_eq!(depth["missing"], Value::Null);
    let points = depth["points"].as_array().expect("points");
    assert_eq!(points.len(), 6, "three cases at two sizes: {depth:#}");
    for point in points {
        let round = &point["rounds"][0];
        assert!(round["done"].as_u64() > Some(0), "{point:#}");
        assert_eq!(round["errors"], 0, "{point:#}");
    }
    assert_eq!(depth["restarts"].as_array().map(Vec::len), Some(1));
}
