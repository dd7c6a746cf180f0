//! Tables: what was judged, what was done, who could not be reached, what the nodes logged.
use std::collections::BTreeMap;

use checkers::verdict::Verdict;

use super::faults::{Fault, classes};
use super::outages::{Gap, Recovery, phase_at};
use super::text::{clip, duration, escape, message, moment, number, targets};
use super::verdict;
use super::view::View;
use crate::evidence::{Gate, LinkCount};

/// Rows of faults and gaps on the page; `nemesis.jsonl` has all.
const ROWS_MAX: usize = 1_000;
/// Characters of a sentence that somebody else wrote.
const WORDS_MAX: usize = 600;
/// Different messages to clients that are listed.
const ERRORS_MAX: usize = 15;
const LOG_LINES_MAX: usize = 300;
const LOG_LINE_MAX: usize = 1_000;

fn table(class: &str, heads: &[&str], rows: &str) -> String {
    let heads: String = heads
        .iter()
        .map(|head| format!("<th scope=\"col\">{}</th>", escape(head)))
        .collect();
    format!(
        "<div class=\"scroll\"><table class=\"{class}\"><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// A word with a sign, so that it does not hang on the colour.
pub(super) fn badge(verdict: &Verdict) -> String {
    let (class, text) = match verdict {
        Verdict::Valid => ("valid", "✓ no violation"),
        Verdict::Invalid { .. } => ("invalid", "✗ violation"),
        Verdict::Unknown { .. } => ("unknown", "? unknown"),
    };
    format!("<span class=\"badge {class}\">{text}</span>")
}

/// What every workload came to.
pub(super) fn workloads(view: &View<'_>) -> String {
    let rows: String = view
        .evidence
        .judgement
        .workloads
        .iter()
        .map(|judged| {
            let why = verdict::why(&judged.verdict).unwrap_or_default();
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"why\">{}</td></tr>\n",
                escape(&judged.workload),
                badge(&judged.verdict),
                number(judged.ok as u64),
                number(judged.failed as u64),
                number(judged.unknown as u64),
                escape(&clip(why, WORDS_MAX)),
            )
        })
        .collect();
    table(
        "judged workloads",
        &["workload", "", "ok", "failed", "unknown", "why"],
        &rows,
    )
}

/// What the harness checked beside the histories.
pub(super) fn cluster(view: &View<'_>) -> String {
    let found = &view.evidence.judgement.cluster;
    if found.is_empty() {
        return String::new();
    }
    let rows: String = found
        .iter()
        .map(|found| {
            let why = verdict::why(&found.verdict).unwrap_or_default();
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"why\">{}</td></tr>\n",
                escape(&found.check),
                badge(&found.verdict),
                escape(&clip(why, WORDS_MAX)),
            )
        })
        .collect();
    table("judged", &["cluster check", "", "why"], &rows)
}

/// What had to happen for the run to prove anything: red ones first.
pub(super) fn gates(view: &View<'_>) -> String {
    let mut gates: Vec<&Gate> = view.evidence.judgement.coverage.iter().collect();
    if gates.is_empty() {
        return "<p class=\"quiet\">This run had no coverage gates.</p>\n".into();
    }
    gates.sort_by_key(|gate| gate.is_green());
    let rows = gates.into_iter().map(|gate| {
        let (class, sign) = if gate.is_green() { ("valid", "✓") } else { ("unknown", "?") };
        format!(
            "<li><span class=\"badge {class}\">{sign}</span> {} <b>{}</b> <span class=\"quiet\">of {} wanted</span></li>\n",
            escape(&gate.name),
            number(gate.seen),
            number(gate.wanted),
        )
    });
    format!("<ul class=\"gates\">\n{}</ul>\n", rows.collect::<String>())
}

/// What every kind of fault cost.
pub(super) fn classes_table(view: &View<'_>) -> String {
    let rows: String = classes(&view.faults)
        .iter()
        .map(|class| {
            let toothless = if class.bitten < class.installed { " class=\"n warn\"" } else { " class=\"n\"" };
            format!(
                "<tr><th scope=\"row\"><i class=\"key {}\"></i>{}</th><td class=\"n\">{}</td><td{toothless}>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n{}\">{}</td><td class=\"n\">{}</td></tr>\n",
                class.family.class(),
                escape(class.name),
                class.installed,
                class.bitten,
                class.skipped,
                verdict::recovery(class.median),
                if class.worst == Some(Recovery::Never) { " warn" } else { "" },
                verdict::recovery(class.worst),
                gap_length(class.longest_gap_ns),
            )
        })
        .collect();
    let heads = [
        "kind of fault",
        "done",
        "seen to bite",
        "skipped",
        "to first ok write: median",
        "worst",
        "longest gap",
    ];
    table("classes", &heads, &rows)
}

/// The length of a gap, or that there was none.
pub(super) fn gap_length(ns: u64) -> String {
    if ns == 0 { "–".into() } else { duration(ns) }
}

/// Every fault, in order.
pub(super) fn faults(view: &View<'_>) -> String {
    let rows: String = view
        .faults
        .iter()
        .take(ROWS_MAX)
        .map(|fault| fault_row(fault, view))
        .collect();
    let heads = [
        "at",
        "for",
        "fault",
        "targets",
        "what was done",
        "how it was seen to bite",
        "to first ok write",
        "longest gap",
    ];
    let left_out = view.faults.len().saturating_sub(ROWS_MAX);
    let note = if left_out > 0 {
        format!(
            "<p class=\"quiet\">and {} more in nemesis.jsonl</p>\n",
            number(left_out as u64)
        )
    } else {
        String::new()
    };
    table("faults", &heads, &rows) + &note
}

fn fault_row(fault: &Fault<'_>, view: &View<'_>) -> String {
    let bites: Vec<&str> = fault.bites.iter().map(|(_, how)| *how).collect();
    let bite = match (fault.is_installed, bites.is_empty()) {
        (false, _) => "<span class=\"quiet\">skipped</span>".to_owned(),
        (true, true) => "<span class=\"warn\">not seen to bite</span>".to_owned(),
        (true, false) => escape(&clip(&bites.join("; "), WORDS_MAX)),
    };
    let (length, recovery) = if !fault.is_installed {
        ("–".to_owned(), "–".to_owned())
    } else if fault.healed_ns.is_none() {
        ("to the end".to_owned(), "–".to_owned())
    } else {
        let length = fault.until_ns(view.end_ns) - fault.from_ns;
        (duration(length), verdict::recovery(fault.recovery))
    };
    let done = [fault.detail, fault.end_detail].map(|words| clip(words, WORDS_MAX));
    let done: Vec<String> = done
        .iter()
        .filter(|words| !words.is_empty())
        .map(|words| escape(words))
        .collect();
    format!(
        "<tr id=\"fault-{id}\" data-from=\"{from}\" data-until=\"{until}\"><td class=\"n\"><a href=\"#charts\" class=\"go\">{at}</a></td>\
         <td class=\"n\">{length}</td><th scope=\"row\"><i class=\"key {family}\"></i>{name}</th><td>{targets}</td>\
         <td>{done}</td><td>{bite}</td><td class=\"n\">{recovery}</td><td class=\"n\">{gap}</td></tr>\n",
        id = fault.id,
        from = super::scale::ms(fault.from_ns),
        until = super::scale::ms(fault.until_ns(view.end_ns)),
        at = moment(fault.from_ns),
        family = fault.family.class(),
        name = escape(fault.name),
        targets = escape(&targets(fault.targets)),
        done = done.join(" → "),
        gap = gap_length(fault.longest_gap_ns),
    )
}

/// Every time in which no write succeeded, longest first, with what was being done meanwhile.
pub(super) fn gaps(view: &View<'_>) -> String {
    if view.gaps.is_empty() {
        return "<p class=\"quiet\">Writes never paused for more than a second while clients tried.</p>\n".into();
    }
    let mut gaps = view.gaps.clone();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.length_ns()));
    let rows: String = gaps
        .iter()
        .take(ROWS_MAX)
        .map(|gap| gap_row(*gap, view))
        .collect();
    table(
        "gaps",
        &["from", "until", "length", "phase", "faults in effect"],
        &rows,
    )
}

fn gap_row(gap: Gap, view: &View<'_>) -> String {
    let active = view
        .installed()
        .filter(|fault| fault.from_ns < gap.until_ns && fault.until_ns(view.end_ns) > gap.from_ns);
    let names: Vec<String> = active
        .map(|fault| format!("{} {}", escape(fault.name), escape(&targets(fault.targets))))
        .collect();
    let names = if names.is_empty() {
        "<span class=\"warn\">none</span>".to_owned()
    } else {
        names.join(" · ")
    };
    let phase = phase_at(&view.evidence.phases, gap.from_ns);
    format!(
        "<tr data-from=\"{}\" data-until=\"{}\"><td class=\"n\"><a href=\"#charts\" class=\"go\">{}</a></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{names}</td></tr>\n",
        super::scale::ms(gap.from_ns),
        super::scale::ms(gap.until_ns),
        moment(gap.from_ns),
        moment(gap.until_ns),
        duration(gap.length_ns()),
        escape(phase.map_or("", |phase| &phase.name)),
    )
}

/// What clients were told when it did not go well, most often first.
pub(super) fn errors(view: &View<'_>) -> String {
    let mut counts: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for operation in &view.operations {
        if let Some(error) = operation.error {
            let outcome = super::scatter::class(operation.outcome);
            *counts.entry((outcome, message(error))).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return String::new();
    }
    let mut counts: Vec<((&str, String), u64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let left_out = counts.len().saturating_sub(ERRORS_MAX);
    let rows: String = counts
        .iter()
        .take(ERRORS_MAX)
        .map(|((outcome, error), count)| {
            format!(
                "<tr><td class=\"n\">{}</td><td><i class=\"key {outcome}\"></i>{outcome}</td><td class=\"why\">{}</td></tr>\n",
                number(*count),
                escape(&clip(error, WORDS_MAX)),
            )
        })
        .collect();
    let note = if left_out > 0 {
        format!("<p class=\"quiet\">and {left_out} rarer ones</p>\n")
    } else {
        String::new()
    };
    format!(
        "<section id=\"errors\"><h2>What clients were told when it did not go well</h2>\n{}{note}</section>\n",
        table(
            "judged errors",
            &["times", "so the operation", "what was said"],
            &rows
        )
    )
}

/// What became of packets from each (rows) to each (columns).
pub(super) fn links(view: &View<'_>) -> String {
    let links = &view.evidence.links;
    if links.is_empty() {
        return "<p class=\"quiet\">No packets were counted: the network was not ours.</p>\n"
            .into();
    }
    let mut names: Vec<&str> = Vec::new();
    for name in links.iter().flat_map(|link| [&link.from, &link.to]) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let cells: BTreeMap<(&str, &str), &LinkCount> = links
        .iter()
        .map(|link| ((link.from.as_str(), link.to.as_str()), link))
        .collect();
    let rows: String = names
        .iter()
        .map(|from| {
            let cells: String = names
                .iter()
                .map(|to| {
                    cells
                        .get(&(*from, *to))
                        .map_or_else(|| "<td></td>".into(), |link| link_cell(link))
                })
                .collect();
            format!(
                "<tr><th scope=\"row\">from {}</th>{cells}</tr>\n",
                escape(from)
            )
        })
        .collect();
    let heads: Vec<String> = names.iter().map(|name| format!("to {name}")).collect();
    let heads: Vec<&str> = std::iter::once("")
        .chain(heads.iter().map(String::as_str))
        .collect();
    table("links", &heads, &rows)
}

fn link_cell(link: &LinkCount) -> String {
    let gone = link.cut + link.lost;
    let share = gone as f64 * 100.0 / link.sent.max(1) as f64;
    let counts = [
        ("cut", link.cut),
        ("lost", link.lost),
        ("delayed", link.delayed),
        ("doubled", link.duplicated),
        ("reordered", link.reordered),
    ];
    let counts: String = counts
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(what, count)| format!("<br><small>{} {what}</small>", number(count)))
        .collect();
    format!(
        "<td class=\"n\" style=\"--gone:{share:.1}%\" title=\"{share:.1} % of packets cut or lost\"><b>{}</b> sent{counts}</td>",
        number(link.sent)
    )
}

/// The last lines of every node's log; lines of trouble first.
pub(super) fn logs(view: &View<'_>) -> String {
    let logs = view
        .evidence
        .logs
        .iter()
        .filter(|(_, lines)| !lines.is_empty());
    let logs: String = logs.map(|(node, lines)| log(node, lines)).collect();
    if logs.is_empty() {
        return "<p class=\"quiet\">No log lines were kept.</p>\n".into();
    }
    logs
}

fn log(node: &str, lines: &[String]) -> String {
    let shown = |line: &String| escape(&clip(line, LOG_LINE_MAX)) + "\n";
    let trouble: Vec<&String> = lines.iter().filter(|line| is_trouble(line)).collect();
    let first: String = trouble
        .iter()
        .take(LOG_LINES_MAX)
        .map(|line| shown(line))
        .collect();
    let first = if first.is_empty() {
        String::new()
    } else {
        format!("<pre class=\"trouble\">{first}</pre>")
    };
    let begin = lines.len().saturating_sub(LOG_LINES_MAX);
    let rest: String = lines[begin..].iter().map(shown).collect();
    let open = if trouble.is_empty() { "" } else { " open" };
    format!(
        "<details class=\"log\"{open}><summary><b>{}</b> <span class=\"quiet\">{} of trouble, last {} shown</span></summary>{first}<details><summary>last lines</summary><pre>{rest}</pre></details></details>\n",
        escape(node),
        super::text::count(trouble.len() as u64, "line"),
        super::text::count((lines.len() - begin) as u64, "line"),
    )
}

fn is_trouble(line: &str) -> bool {
    let line = line.to_lowercase();
    ["panic", "error", "invariant", "corrupt"]
        .iter()
        .any(|word| line.contains(word))
}
