//! The run in a few lines for the terminal.
use super::faults::classes;
use super::tables::gap_length;
use super::text::{clip, count, duration, number};
use super::verdict;
use super::view::View;

/// Reasons that are printed; the page has all.
const REASONS_MAX: usize = 8;
const WIDTH: usize = 150;

/// Draws the table.
pub(super) fn draw(view: &View<'_>) -> String {
    let evidence = view.evidence;
    let judged = verdict::overall(evidence);
    let mut text = format!(
        "{} {}\n",
        verdict::headline(&judged).to_uppercase(),
        line(&verdict::ground(view))
    );
    let reasons = verdict::reasons(evidence);
    for (is_violation, reason) in reasons.iter().take(REASONS_MAX) {
        let mark = if *is_violation {
            "violation"
        } else {
            "unknown"
        };
        text.push_str(&format!("  {mark:9}  {}\n", clip(&line(reason), WIDTH)));
    }
    if reasons.len() > REASONS_MAX {
        text.push_str(&format!("  and {} more\n", reasons.len() - REASONS_MAX));
    }
    text.push_str(&workloads(view));
    text.push_str(&faults(view));
    text.push_str(&cluster(view));
    if let Some(plant) = &evidence.run.plant {
        text.push_str(&format!("planted bug: {}\n", line(plant)));
    }
    for (fault, why) in &evidence.run.off {
        text.push_str(&format!(
            "off: {}: {}\n",
            line(fault),
            clip(&line(why), WIDTH)
        ));
    }
    text.push_str(&format!("repeat with: {}\n", line(&evidence.run.command)));
    text
}

/// One line of it, whatever it holds: a message of a server must not steer the terminal.
fn line(text: &str) -> String {
    let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(printable).collect()
}

fn workloads(view: &View<'_>) -> String {
    let mut text = format!(
        "\n{:14} {:>9} {:>9} {:>9}  verdict\n",
        "workload", "ok", "failed", "unknown"
    );
    for judged in &view.evidence.judgement.workloads {
        text.push_str(&format!(
            "{:14} {:>9} {:>9} {:>9}  {}\n",
            line(&judged.workload),
            number(judged.ok as u64),
            number(judged.failed as u64),
            number(judged.unknown as u64),
            verdict::word(&judged.verdict),
        ));
    }
    text
}

fn faults(view: &View<'_>) -> String {
    if view.faults.is_empty() {
        return "\nno fault was injected\n".into();
    }
    let mut text = format!(
        "\n{:26} {:>5} {:>5} {:>7}  {:>9} {:>9}  {:>11}\n",
        "fault", "done", "bit", "skipped", "recovered", "worst", "longest gap"
    );
    for class in classes(&view.faults) {
        text.push_str(&format!(
            "{:26} {:>5} {:>5} {:>7}  {:>9} {:>9}  {:>11}\n",
            line(class.name),
            class.installed,
            class.bitten,
            class.skipped,
            verdict::recovery(class.median),
            verdict::recovery(class.worst),
            gap_length(class.longest_gap_ns),
        ));
    }
    text
}

fn cluster(view: &View<'_>) -> String {
    let judgement = &view.evidence.judgement;
    let mut text = String::from("\n");
    for found in &judgement.cluster {
        let (check, word) = (line(&found.check), verdict::word(&found.verdict));
        text.push_str(&format!("{check:26} {word}\n"));
    }
    let green = judgement.coverage.iter().filter(|gate| gate.is_green());
    let longest = view.gaps.iter().map(|gap| gap.length_ns()).max();
    text.push_str(&format!(
        "coverage gates {} of {} green · {} · {} without a write for more than 1 s{}\n",
        green.count(),
        judgement.coverage.len(),
        count(view.leader_changes() as u64, "leader change"),
        count(view.gaps.len() as u64, "time"),
        longest.map_or_else(String::new, |ns| format!(", the longest {}", duration(ns))),
    ));
    text
}
