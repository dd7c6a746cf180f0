//! The page as a reader would judge it: what must be there is there, whatever the run was, and
//! nothing that somebody else wrote gets out of its place.
use checkers::history::Kind;
use checkers::verdict::Verdict;

use super::synthetic::{Plan, spoil};
use super::{load, overall, save, summary, write};
use crate::evidence::{Evidence, FaultStep, Gate};

/// A directory that vanishes with its owner.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("jepsen-report-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The page and `verdict.json`, both checked for form.
fn draw(name: &str, evidence: &Evidence) -> (String, serde_json::Value) {
    let scratch = Scratch::new(name);
    write(&scratch.0, evidence).unwrap();
    let page = std::fs::read_to_string(scratch.0.join("report.html")).unwrap();
    let verdict = std::fs::read(scratch.0.join("verdict.json")).unwrap();
    // For looking at it with a browser.
    if let Ok(dir) = std::env::var("JEPSEN_REPORT_KEEP") {
        std::fs::write(
            std::path::Path::new(&dir).join(format!("{name}.html")),
            &page,
        )
        .unwrap();
    }
    well_formed(&page);
    assert!(!page.contains("http://") || page.contains("http://www.w3.org/2000/svg"));
    assert!(
        !page.contains("NaN") && !page.contains("inf\""),
        "a number went astray"
    );
    (page, serde_json::from_slice(&verdict).unwrap())
}

/// Every element that begins ends, in order.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(begin) = rest.find('<') {
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let tag = &rest[begin + 1..end];
        rest = &rest[end + 1..];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if tag.starts_with('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "before {}",
                &rest[..rest.len().min(80)]
            );
        } else if !tag.ends_with('/') && !tag.starts_with('!') && name != "br" {
            assert!(
                tag.matches('"').count().is_multiple_of(2),
                "quotes of <{tag}>"
            );
            open.push(name);
            if matches!(name, "script" | "style") {
                rest = &rest[rest.find(&format!("</{name}>")).expect("it ends")..];
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn a_clean_run_claims_no_more_than_it_may() {
    let evidence = Plan::default().clean();
    let (page, verdict) = draw("clean", &evidence);
    assert_eq!(
        (&verdict["verdict"], &verdict["exit_code"]),
        (&"valid".into(), &0.into())
    );
    for wanted in [
        "No violation found",
        "seed 17",
        "yin 0.1.0 (1ca5f66)",
        "not an analysis by Jepsen, LLC",
        "jepsen chaos --seed 17",
        "blkio cgroup is not writable",
        "id=\"latency\"",
        "id=\"rate\"",
        "id=\"nodes-rate\"",
        "id=\"applied\"",
        "id=\"behind\"",
        "id=\"nodes-lanes\"",
        "id=\"faults-lanes\"",
        "class=\"reign\"",
        "class=\"gap\"",
        "not seen to bite",
        "from clients",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    assert!(!page.contains("id=\"offences\""));
    assert!(
        verdict["gaps"]
            .as_array()
            .is_some_and(|gaps| !gaps.is_empty())
    );
    for fault in evidence
        .faults
        .iter()
        .filter(|event| event.step == FaultStep::Installed)
    {
        let row = format!("id=\"fault-{}\"", fault.id);
        let band = format!("id=\"band-{}\"", fault.id);
        assert!(page.contains(&row) && page.contains(&band), "{fault:?}");
    }
}

#[test]
fn a_violation_is_shown_with_its_operations() {
    let mut evidence = Plan::default().clean();
    spoil(&mut evidence);
    let (page, verdict) = draw("violation", &evidence);
    assert_eq!(verdict["exit_code"], 1);
    assert!(page.contains("<header class=\"invalid\">"));
    assert!(page.contains("Violation found"));
    assert!(page.contains("2-40 was acknowledged and is missing"));
    assert_eq!(page.matches("<article class=\"offence\">").count(), 2);
    for judged in &evidence.judgement.workloads {
        let Verdict::Invalid { operations, .. } = &judged.verdict else {
            continue;
        };
        for operation in operations {
            let process = evidence.histories[&judged.workload][*operation].process;
            assert!(page.contains(&format!("#{operation} process {process} ")));
        }
    }
    assert!(summary(&evidence).starts_with("VIOLATION FOUND"));
}

#[test]
fn operations_that_the_history_does_not_have_are_no_harm() {
    let mut evidence = Plan::default().clean();
    evidence.judgement.workloads[0].verdict = Verdict::Invalid {
        why: "elsewhere".into(),
        operations: vec![usize::MAX],
    };
    let (page, _) = draw("elsewhere", &evidence);
    assert!(page.contains("names no single operations"));
}

#[test]
fn a_red_gate_is_no_pass() {
    let mut evidence = Plan::default().clean();
    evidence.judgement.coverage.push(Gate {
        name: "membership changes".into(),
        wanted: 2,
        seen: 0,
    });
    let (page, verdict) = draw("unknown", &evidence);
    assert_eq!(verdict["exit_code"], 2);
    assert!(page.contains("<header class=\"unknown\">"));
    assert!(page.contains("membership changes was seen 0 times, wanted at least 2"));
    assert!(matches!(overall(&evidence), Verdict::Unknown { .. }));
}

#[test]
fn a_run_of_which_nothing_is_known_is_still_a_page() {
    let mut evidence = Plan::default().clean();
    evidence.histories.clear();
    evidence.samples.clear();
    evidence.faults.clear();
    evidence.links.clear();
    evidence.logs.clear();
    evidence.phases.clear();
    let (page, verdict) = draw("empty", &evidence);
    assert_eq!(verdict["verdict"], "unknown");
    assert!(page.contains("no operation succeeded"));
    assert!(page.contains("No fault was injected"));
}

#[test]
fn one_node_is_enough() {
    let plan = Plan {
        nodes: 1,
        seconds: 40,
        ..Plan::default()
    };
    let (page, _) = draw("one-node", &plan.clean());
    assert!(page.contains("1 node, profile all"));
}

#[test]
fn nobody_writes_into_the_page() {
    const HOSTILE: &str = "\"'><script>alert(1)</script>&\u{0}\u{1b}[31m</script>";
    let mut evidence = Plan::default().clean();
    spoil(&mut evidence);
    let text = || HOSTILE.to_owned();
    evidence.run.command = text();
    evidence.run.version = text();
    evidence.run.plant = Some(text());
    evidence.run.profile = text();
    evidence.run.off.insert(text(), text());
    evidence.run.nodes[0] = text();
    evidence.phases[1].name = text();
    for event in &mut evidence.faults {
        (event.fault, event.detail, event.targets) = (text(), text(), vec![text()]);
    }
    for sample in evidence.samples.iter_mut().step_by(3) {
        sample.node = text();
    }
    evidence.links[0].from = text();
    evidence
        .logs
        .insert(text(), vec![text(), "panicked ".to_owned() + HOSTILE]);
    let mut judgement = evidence.judgement.clone();
    for judged in &mut judgement.workloads {
        if let Verdict::Invalid { why, .. } = &mut judged.verdict {
            *why = text();
        }
    }
    judgement.cluster[0].check = text();
    judgement.coverage[0].name = text();
    evidence.judgement = judgement;
    for event in evidence.histories.values_mut().flatten() {
        event.node = text();
        if let checkers::history::Action::Add { key, element } = &mut event.action {
            (*key, *element) = (text(), text());
        }
    }
    let (page, _) = draw("hostile", &evidence);
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains('\u{1b}') && !page.contains('\u{0}'));
    assert!(!summary(&evidence).contains('\u{1b}'));
}

#[test]
fn a_long_run_is_still_a_small_page() {
    let plan = Plan {
        nodes: 5,
        seconds: 600,
        clients: 8,
        pause_ms: 170,
        ..Plan::default()
    };
    let evidence = plan.clean();
    let operations = evidence.histories.values().flatten();
    let operations = operations
        .filter(|event| event.kind == Kind::Invoke)
        .count();
    assert!(operations > 80_000, "{operations}");
    let (page, _) = draw("long", &evidence);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let dots = page.split("class=\"dot ").skip(1);
    let dots: usize = dots
        .map(|path| path.split("/>").next().unwrap().matches("h0").count())
        .sum();
    assert!((1_000..6_500).contains(&dots), "{dots} dots");
}

#[test]
fn evidence_is_read_back_as_it_was() {
    let evidence = Plan::default().clean();
    let scratch = Scratch::new("store");
    save(&scratch.0, &evidence).unwrap();
    let folder = scratch.0.join("histories");
    std::fs::create_dir(&folder).unwrap();
    for (name, events) in &evidence.histories {
        let lines = events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap() + "\n");
        std::fs::write(
            folder.join(format!("{name}.jsonl")),
            lines.collect::<String>(),
        )
        .unwrap();
    }
    let again = load(&scratch.0).unwrap();
    assert_eq!(format!("{again:?}"), format!("{evidence:?}"));
    let nemesis = std::fs::read_to_string(scratch.0.join("nemesis.jsonl")).unwrap();
    assert_eq!(nemesis.lines().count(), evidence.faults.len());
}

#[test]
fn the_summary_says_what_matters() {
    let text = summary(&Plan::default().clean());
    for wanted in [
        "NO VIOLATION FOUND",
        "comments",
        "gates 5 of 5 green",
        "repeat with: jepsen chaos --seed 17",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
}
