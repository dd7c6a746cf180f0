//! The page: the verdict first, then what was done and what it did, then everything else.
use serde_json::{Value, json};

use super::operations::Operation;
use super::scale::ms;
use super::text::{clip, count, duration, escape, minutes, number, targets};
use super::view::View;
use super::{curves, lanes, offence, plot, rates, scatter, tables, verdict};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Draws it.
pub(super) fn draw(view: &View<'_>) -> String {
    let judged = verdict::overall(view.evidence);
    let title = format!(
        "{} · seed {}",
        verdict::headline(&judged),
        view.evidence.run.seed
    );
    let body = [
        head(view),
        judgement(view),
        offences(view),
        charts(view),
        consequences(view),
        tables::errors(view),
        rest(view),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"run\">{}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(&title),
        data(view)
    )
}

/// What was found, in how much, and why.
fn head(view: &View<'_>) -> String {
    let evidence = view.evidence;
    let judged = verdict::overall(evidence);
    let sign = match verdict::word(&judged) {
        "valid" => "✓",
        "invalid" => "✗",
        _ => "?",
    };
    let reasons: String = verdict::reasons(evidence)
        .iter()
        .map(|(is_violation, reason)| {
            let (class, sign) = if *is_violation {
                ("invalid", "✗")
            } else {
                ("unknown", "?")
            };
            let reason = escape(&clip(reason, 600));
            format!("<li><span class=\"badge {class}\">{sign}</span> {reason}</li>\n")
        })
        .collect();
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!("<ul class=\"reasons\">\n{reasons}</ul>\n")
    };
    let run = &evidence.run;
    let plant = run.plant.as_ref().map_or_else(String::new, |plant| {
        format!(
            "<p class=\"plant\">A bug was planted on purpose: <b>{}</b></p>\n",
            escape(plant)
        )
    });
    format!(
        "<header class=\"{word}\"><h1><span class=\"sign\">{sign}</span>{headline}</h1>\n\
         <p class=\"ground\">{ground}</p>\n{plant}{reasons}{figures}\
         <p class=\"repeat\">Repeat it: <code id=\"command\">{command}</code> <button type=\"button\" id=\"copy\" hidden>copy</button></p>\n</header>\n<main>\n",
        word = verdict::word(&judged),
        headline = verdict::headline(&judged),
        ground = escape(&verdict::ground(view)),
        figures = figures(view),
        command = escape(&run.command),
    )
}

/// The run in a few figures.
fn figures(view: &View<'_>) -> String {
    let tally = view.tally;
    let share = tally.ok as f64 * 100.0 / tally.all().max(1) as f64;
    let bitten = view.installed().filter(|fault| fault.has_bitten()).count();
    let longest = view.gaps.iter().map(|gap| gap.length_ns()).max();
    let worst = view.installed().filter_map(|fault| fault.recovery).max();
    let timed = timed(view);
    let mut ok: Vec<u64> = scatter::pieces(&timed, view.end_ns).1.concat();
    ok.sort_unstable();
    let quantile = |percent| scatter::quantile(&ok, percent).map_or_else(|| "–".into(), duration);
    let run = &view.evidence.run;
    let figures = [
        (
            minutes(run.seconds),
            format!(
                "{}, profile {}",
                count(run.nodes.len() as u64, "node"),
                run.profile
            ),
        ),
        (
            number(tally.all()),
            format!(
                "operations: {share:.1} % ok, {} failed, {} unknown",
                number(tally.failed),
                number(tally.unknown)
            ),
        ),
        (
            view.installed().count().to_string(),
            format!("faults, {bitten} seen to bite"),
        ),
        (view.leader_changes().to_string(), "leader changes".into()),
        (
            quantile(50),
            format!("median latency of ok, p99 {}", quantile(99)),
        ),
        (
            longest.map_or_else(|| "none".into(), duration),
            format!("longest gap without a write, {} over 1 s", view.gaps.len()),
        ),
        (
            verdict::recovery(worst),
            "slowest first write after a fault's end".into(),
        ),
    ];
    let figures: String = figures
        .iter()
        .map(|(figure, what)| {
            format!(
                "<div><b>{}</b><span>{}</span></div>",
                escape(figure),
                escape(what)
            )
        })
        .collect();
    format!("<div class=\"figures\">{figures}</div>\n")
}

fn timed<'a>(view: &'a View<'_>) -> Vec<(&'a Operation<'a>, u64)> {
    let operations = view.operations.iter();
    operations
        .filter_map(|operation| Some((operation, operation.latency_ns()?)))
        .collect()
}

fn judgement(view: &View<'_>) -> String {
    let coverage = &view.evidence.judgement.coverage;
    let green = coverage.iter().filter(|gate| gate.is_green()).count();
    format!(
        "<section id=\"judgement\"><h2>Judgement</h2>\n<div class=\"columns\"><div>{}{}</div>\
         <div><h3>Coverage gates: {green} of {} green</h3><p class=\"quiet\">What had to happen for this run to prove anything.</p>{}</div></div></section>\n",
        tables::workloads(view),
        tables::cluster(view),
        coverage.len(),
        tables::gates(view)
    )
}

fn offences(view: &View<'_>) -> String {
    let offences = offence::all(view);
    if offences.is_empty() {
        return String::new();
    }
    format!(
        "<section id=\"offences\"><h2>What contradicts the promise</h2>\n{offences}</section>\n"
    )
}

fn charts(view: &View<'_>) -> String {
    let plots = [
        scatter::latency(view),
        rates::by_outcome(view),
        rates::by_node(view),
    ];
    let plots: String = plots
        .into_iter()
        .chain(curves::all(view))
        .map(|plot| plot.draw(view.end_ns))
        .collect();
    format!(
        "<section id=\"charts\" style=\"--from:0;--span:{}\"><h2>What was done, and what it did</h2>\n\
         <p class=\"quiet hint\" hidden>Drag across a chart to look closer; double-click, or “whole run”, to go back. Times are m:ss since the run began.</p>\n\
         {}{}{}{}{plots}<div id=\"readout\" hidden></div></section>\n",
        ms(view.end_ns),
        plot::shared(view),
        plot::axis(view),
        lanes::faults(view),
        lanes::nodes(view),
    )
}

fn consequences(view: &View<'_>) -> String {
    if view.faults.is_empty() {
        return format!(
            "<section id=\"gaps\"><h2>Availability</h2>\n{}</section>\n",
            tables::gaps(view)
        );
    }
    format!(
        "<section id=\"classes\"><h2>What each kind of fault cost</h2>\n\
         <p class=\"quiet\">“To first ok write”: from the end of a fault until a write succeeded anywhere; another fault may have been under way. A gap is a time of more than 1 s in which clients tried to write and none succeeded.</p>\n{}</section>\n\
         <section id=\"gaps\"><h2>Availability gaps</h2>\n{}</section>\n\
         <section id=\"faults\"><h2>Every fault</h2>\n{}</section>\n",
        tables::classes_table(view),
        tables::gaps(view),
        tables::faults(view)
    )
}

fn rest(view: &View<'_>) -> String {
    let run = &view.evidence.run;
    let off: String = run
        .off
        .iter()
        .map(|(fault, why)| format!("<li><b>{}</b>: {}</li>\n", escape(fault), escape(why)))
        .collect();
    let off = if off.is_empty() {
        "<p class=\"quiet\">Nothing: this machine allows every fault of the profile.</p>\n".into()
    } else {
        format!("<ul>\n{off}</ul>\n")
    };
    let entries = [
        ("seed", run.seed.to_string()),
        ("profile", run.profile.clone()),
        ("version under test", run.version.clone()),
        ("nodes", run.nodes.join(" ")),
        (
            "planted bug",
            run.plant.clone().unwrap_or_else(|| "none".into()),
        ),
        ("length", minutes(run.seconds)),
        ("command", run.command.clone()),
    ];
    let entries: String = entries
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escape(value)))
        .collect();
    format!(
        "<section id=\"links\"><h2>Packets by link</h2>\n{}</section>\n\
         <section id=\"logs\"><h2>What the nodes logged</h2>\n{}</section>\n\
         <section id=\"off\"><h2>Faults that were off</h2>\n{off}</section>\n\
         <section id=\"setup\"><h2>The run</h2>\n<dl>\n{entries}</dl></section>\n</main>\n\
         <footer><p>A Jepsen-style test; it is not an analysis by Jepsen, LLC. “No violation found” speaks of these operations, faults, versions and this seed only. Beside this page: <code>verdict.json</code>, <code>evidence.json</code>, <code>nemesis.jsonl</code>, <code>histories/</code>.</p></footer>\n",
        tables::links(view),
        tables::logs(view),
    )
}

/// What the page's script needs to tell what was at a moment.
fn data(view: &View<'_>) -> String {
    let faults = view.installed().map(|fault| {
        let name = format!("{} {}", fault.name, clip(&targets(fault.targets), 60));
        json!([
            ms(fault.from_ns),
            ms(fault.until_ns(view.end_ns)),
            name,
            fault.id
        ])
    });
    let phases = view.evidence.phases.iter();
    let phases = phases.map(|phase| json!([ms(phase.from_ns), ms(phase.until_ns), phase.name]));
    let reigns = view.reigns.iter();
    let reigns = reigns.map(|reign| json!([ms(reign.time_ns), reign.node, reign.term]));
    let [ok, failed, unknown] = rates::outcomes(view);
    let timed = timed(view);
    let (piece_ns, pieces) = scatter::pieces(&timed, view.end_ns);
    let quantile = |percent| -> Vec<Option<u64>> {
        let of = |piece: &Vec<u64>| scatter::quantile(piece, percent).map(|ns| ns / 1_000);
        pieces.iter().map(of).collect()
    };
    let data = json!({
        "end": ms(view.end_ns),
        "faults": faults.collect::<Vec<Value>>(),
        "phases": phases.collect::<Vec<Value>>(),
        "reigns": reigns.collect::<Vec<Value>>(),
        "rate": { "step": ms(ok.length_ns), "ok": ok.counts, "failed": failed.counts, "unknown": unknown.counts },
        "latency_us": { "step": ms(piece_ns), "p50": quantile(50), "p99": quantile(99) },
    });
    // Nothing in it may end the element that it stands in.
    data.to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}
