//! Made-up results are judged as they should be.
use super::*;
use crate::case::LASTING;
use crate::depth::{Point, Round};
use crate::install::Installs;
use crate::report::sample_results;
use crate::scaling::{self, Scaling};
use crate::wires;

fn found<'a>(judged: &'a [Judged], number: &str) -> &'a Judged {
    judged
        .iter()
        .find(|judged| judged.number == number)
        .unwrap()
}

#[test]
fn ratios_are_taken_round_by_round_and_judged_by_their_median() {
    let results = sample_results(&[
        ("like", 64, [100.0, 900.0, 300.0]),
        ("etcd-put", 64, [10.0, 300.0, 100.0]),
        ("append", 64, [1_000.0, 9_000.0, 3_000.0]),
        (HIQLITE, 64, [10.0, 90.0, 100.0]),
    ]);
    let judged = judge(&results);
    let first = found(&judged, "1");
    let spread = first.measured.unwrap();
    assert_eq!((spread.median, spread.min, spread.max), (3.0, 3.0, 10.0));
    assert_eq!(
        (first.verdict.clone(), first.goal.as_str()),
        (Verdict::Met, "≥ 2.5")
    );
    assert_eq!(found(&judged, "3c").verdict, Verdict::Met);
    assert_eq!(found(&judged, "4a").verdict, Verdict::NotMet);
    // All take the same processor time here.
    assert_eq!(first.by_cpu.unwrap().median, 1.0);
    assert!(found(&judged, "5").by_cpu.is_none());
}

#[test]
fn what_is_not_measured_says_why() {
    let results = sample_results(&[("like", 64, [1.0, 1.0, 1.0])]);
    let judged = judge(&results);
    let why = |number: &str| match &found(&judged, number).verdict {
        Verdict::NotMeasured(why) => why.clone(),
        Verdict::Met | Verdict::NotMet => panic!("{number} is measured"),
    };
    assert_eq!(why("6"), "like-hot at 64 connections was not asked for");
    assert_eq!(why("1"), "etcd is not installed");
    assert_eq!(why("3c"), "HIQLITE=1 builds and measures it");
    assert_eq!(
        why("3b"),
        "mariadb-like-procedure at 64 connections was not asked for"
    );
    assert_eq!(
        why("15"),
        "like-lasting at 64 connections was not asked for"
    );
    assert_eq!(why("18a"), "nothing was measured");
    assert_eq!(why("23c"), "upload was not asked for, or failed");
}

#[test]
fn without_mariadb_or_redis_the_goals_say_how_to_get_them() {
    let mut results = sample_results(&[
        ("like", 64, [1.0, 1.0, 1.0]),
        ("feed-viewer", 64, [1.0, 1.0, 1.0]),
    ]);
    results.settings.stack_lacks = Some("MariaDB");
    let judged = judge(&results);
    for number in ["3a", "3b", "11b", "11c"] {
        assert_eq!(
            found(&judged, number).verdict,
            Verdict::NotMeasured(
                "MariaDB is not installed (apt-get install mariadb-server redis-server)".to_owned()
            ),
            "{number}"
        );
    }
}

#[test]
fn quic_is_compared_with_tcp_by_rates_and_by_processor_time() {
    let mut results = sample_results(&[
        (wires::QUIC, 64, [95.0, 99.0, 80.0]),
        (wires::TCP, 64, [100.0, 100.0, 100.0]),
    ]);
    for sample in &mut results.cases[1].samples {
        sample.server_cpu_us = 90.0;
    }
    let judged = judge(&results);
    let judged = found(&judged, "20");
    assert_eq!(judged.measured.unwrap().median, 0.95);
    assert_eq!(judged.by_cpu.unwrap().median, 0.9);
    assert_eq!(judged.verdict, Verdict::Met);
}

#[test]
fn without_another_yin_the_goal_says_why() {
    let mut results = sample_results(&[]);
    let why = |results: &Results| found(&judge(results), "20").verdict.clone();
    let not_asked = "like-quic at 64 connections was not asked for";
    assert_eq!(why(&results), Verdict::NotMeasured(not_asked.to_owned()));
    results.settings.tcp_lacks = Some("no such yin".to_owned());
    assert_eq!(
        why(&results),
        Verdict::NotMeasured("no such yin".to_owned())
    );
}

#[test]
fn a_join_is_compared_with_quinn_alone_and_with_the_time_before() {
    let tails = |before_us, during_us| Tails {
        before_us,
        during_us,
        done: 10_000,
        ..Tails::default()
    };
    let mut results = sample_results(&[]);
    let unasked = Verdict::NotMeasured("install was not asked for".to_owned());
    assert_eq!(found(&judge(&results), "21a").verdict, unasked);
    results.installs = Some(Installs {
        times: vec![Install {
            bytes: 100_000_000,
            install_s: 0.5,
            ready_s: 2.0,
            stream_s: 0.4,
            reads: tails(200.0, 300.0),
            likes: tails(1_000.0, 1_600.0),
        }],
        missing: None,
    });
    let judged = judge(&results);
    for (number, expected, verdict) in [
        ("21a", 0.8, Verdict::Met),
        ("21b", 1.5, Verdict::Met),
        ("21c", 1.6, Verdict::NotMet),
    ] {
        let judged = found(&judged, number);
        let median = judged.measured.unwrap().median;
        assert!((median - expected).abs() < 1e-9, "{number}: {median}");
        assert_eq!(judged.verdict, verdict, "{number}");
    }
    let installs = results.installs.as_mut().unwrap();
    installs.times[0].reads.errors = 11;
    installs.missing = Some("no snapshot".to_owned());
    let judged = judge(&results);
    let why = |number| match &found(&judged, number).verdict {
        Verdict::NotMeasured(why) => why.as_str(),
        Verdict::Met | Verdict::NotMet => panic!("{number} is measured"),
    };
    assert_eq!(why("21a"), "no snapshot");
    assert_eq!(
        why("21b"),
        "11 errors beside 10000 operations during the joins"
    );
    assert!(found(&judged, "21a").measured.is_some());
}

#[test]
fn bytes_count_when_they_were_counted_for_ten_minutes() {
    let mut results = sample_results(&[(LASTING, 64, [1.0, 1.0, 1.0])]);
    let judged = judge(&results);
    let short = found(&judged, "15");
    assert!(matches!(&short.verdict, Verdict::NotMeasured(why) if why.contains("LASTING")));
    assert_eq!(short.measured.unwrap().median, 1.0);
    results.settings.lasting = 600.0;
    assert_eq!(found(&judge(&results), "15").verdict, Verdict::Met);
}

#[test]
fn an_upload_is_judged_by_megabytes() {
    let mut results = sample_results(&[]);
    let verdict = |results: &Results| found(&judge(results), "23c").verdict.clone();
    for (bytes, expected) in [(64_000_000, Verdict::Met), (64_100_000, Verdict::NotMet)] {
        results.upload_bytes = Some(bytes);
        assert_eq!(verdict(&results), expected);
    }
}

#[test]
fn a_case_that_mostly_failed_is_no_figure() {
    let mut results = sample_results(&[
        ("like", 64, [9.0, 9.0, 9.0]),
        ("append", 64, [1.0, 1.0, 1.0]),
    ]);
    assert_eq!(found(&judge(&results), "4a").verdict, Verdict::Met);
    let errors = &mut results.cases[0].samples[1].figures.errors;
    errors.insert("HTTP 503".to_owned(), 1);
    let judged = judge(&results);
    assert!(matches!(&found(&judged, "4a").verdict,
        Verdict::NotMeasured(why) if why.contains("1 errors beside 27")));
}

#[test]
fn more_nodes_are_compared_with_fewer() {
    let mut results = sample_results(&[]);
    let point = |nodes, rate: f64, server_cpu_us: f64| {
        let mut sample = sample_results(&[("like", 64, [rate; 3])])
            .cases
            .remove(0)
            .samples;
        sample[0].server_cpu_us = server_cpu_us;
        scaling::Point {
            nodes,
            samples: sample[..1].to_vec(),
        }
    };
    results.scaling = Some(Scaling {
        reads: vec![point(1, 100.0, 1.0), point(3, 270.0, 1.0)],
        missing: None,
        likes: vec![
            point(3, 100.0, 20.0),
            point(4, 80.0, 1.0),
            point(5, 1.0, 30.0),
        ],
    });
    let judged = judge(&results);
    for (number, expected, verdict) in [
        ("16", 0.9, Verdict::Met),
        ("17a", 1.5, Verdict::Met),
        ("17b", 1.25, Verdict::NotMet),
    ] {
        let judged = found(&judged, number);
        let median = judged.measured.unwrap().median;
        assert!((median - expected).abs() < 1e-9, "{number}: {median}");
        assert_eq!(judged.verdict, verdict, "{number}");
    }
    results.scaling = Some(Scaling {
        missing: Some("no group".to_owned()),
        ..Scaling::default()
    });
    let judged = judge(&results);
    assert_eq!(
        found(&judged, "16").verdict,
        Verdict::NotMeasured("no group".to_owned())
    );
}

#[test]
fn many_objects_are_compared_with_few() {
    let mut results = sample_results(&[]);
    let point = |case, objects, costs: [f64; 3]| Point {
        case,
        objects,
        rounds: costs.map(round).to_vec(),
    };
    let mut depth = Depth {
        points: vec![
            point("like", 10_000, [50.0, 40.0, 10.0]),
            point("like", 10_000_000, [60.0, 60.0, 60.0]),
            point("read", 10_000, [10.0; 3]),
            point("read", 10_000_000, [14.0; 3]),
        ],
        restarts: vec![0.5, 5.1, 0.7],
        ..Depth::default()
    };
    results.depth = Some(depth.clone());
    let judged = judge(&results);
    for (number, expected, verdict) in [
        ("19a", 1.5, Verdict::NotMet),
        ("19b", 1.4, Verdict::Met),
        ("23a", 0.7, Verdict::Met),
    ] {
        let judged = found(&judged, number);
        let median = judged.measured.unwrap().median;
        assert!((median - expected).abs() < 1e-9, "{number}: {median}");
        assert_eq!(judged.verdict, verdict, "{number}");
    }
    let why = |results: &Results, number| match found(&judge(results), number) {
        Judged {
            verdict: Verdict::NotMeasured(why),
            measured,
            ..
        } => (why.clone(), measured.is_some()),
        judged => panic!("{number} is {:?}", judged.verdict),
    };
    assert_eq!(why(&results, "19c").0, "this was not measured");
    // The figure is shown, but it is not the goal's.
    depth.objects[1] = 200_000;
    depth.points[1].objects = 200_000;
    results.depth = Some(depth.clone());
    let said = "DEPTH is 10000,200000: the goal names 10000,10000000".to_owned();
    assert_eq!(why(&results, "19a"), (said.clone(), true));
    assert_eq!(why(&results, "23a"), (said, true));
    depth.points[0].rounds[0].errors = 1;
    results.depth = Some(depth);
    let said = "like: 1 errors beside 27 operations".to_owned();
    assert_eq!(why(&results, "19a"), (said, false));
}

fn round(server_cpu_us: f64) -> Round {
    Round {
        done: 9,
        server_cpu_us,
        ..Round::default()
    }
}

#[test]
fn bounds_hold_at_their_edge() {
    assert!(Bound::AtLeast(2.5).holds(2.5) && !Bound::AtLeast(2.5).holds(2.49));
    assert!(Bound::AtMost(9.0).holds(9.0) && !Bound::AtMost(9.0).holds(9.01));
}

#[test]
fn every_goal_has_a_number_of_its_own() {
    let numbers: std::collections::BTreeSet<&str> =
        list::goals().iter().map(|goal| goal.number).collect();
    assert_eq!(numbers.len(), list::goals().len());
    // 1 to 23, none left out.
    for number in 1..=23 {
        let number = number.to_string();
        let is_of = |known: &&str| known.trim_end_matches(char::is_alphabetic) == number;
        assert!(numbers.iter().any(is_of), "{number}");
    }
}
