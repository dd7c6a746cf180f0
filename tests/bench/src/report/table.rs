//! Tables for the terminal.
use std::fmt::Write as _;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::{Line, Results};
use crate::depth::{Depth, Point, Round};
use crate::goals::{Judged, Verdict};
use crate::install::{Install, Tails};
use crate::sample::Sample;
use crate::spread::Spread;

/// One line a case, then the errors.
pub(super) fn cases(results: &Results) -> String {
    let mut table = table(&[
        "case",
        "conn",
        "op/s (min–max)",
        "p50 ms",
        "p99 ms",
        "p999 ms",
        "server µs/op (min–max)",
        "client µs/op",
        "disk B/op",
        "MB",
        "errors",
    ]);
    for line in &results.cases {
        let median = |of: fn(&Sample) -> f64, digits: usize| {
            let spread = line.spread(of);
            spread.map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
        };
        let range = |of: fn(&Sample) -> f64| {
            let spread = line.spread(of);
            spread.map_or_else(String::new, |spread: Spread| spread.text(0))
        };
        table.add_row([
            line.name.clone(),
            line.connections.to_string(),
            range(|sample| sample.figures.per_second),
            median(|sample| sample.figures.latency.p50_us / 1e3, 2),
            median(|sample| sample.figures.latency.p99_us / 1e3, 2),
            median(|sample| sample.figures.latency.p999_us / 1e3, 2),
            range(|sample| sample.server_cpu_us),
            median(|sample| sample.figures.client_cpu_us, 0),
            median(|sample| sample.written_bytes, 0),
            median(|sample| sample.resident_bytes as f64 / 1e6, 0),
            errors(line)
                .iter()
                .map(|(_, count)| count)
                .sum::<u64>()
                .to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    for line in &results.cases {
        for (what, count) in errors(line) {
            let (name, connections) = (&line.name, line.connections);
            write!(text, "\n{name} at {connections}: {count} × {what}")
                .expect("a string takes everything");
        }
    }
    text
}

/// Names of the columns of [`depth_rows`].
pub(super) const DEPTH: [&str; 5] = [
    "with much data",
    "objects",
    "op/s (min–max)",
    "server µs/op (min–max)",
    "errors",
];

/// One line a case and size, then the restarts.
pub(super) fn depth_rows(depth: &Depth) -> Vec<[String; 5]> {
    let range = |point: &Point, of: fn(&Round) -> f64, digits: usize| {
        let spread = Spread::of(point.rounds.iter().map(of));
        spread.map_or_else(String::new, |spread| spread.text(digits))
    };
    let mut rows: Vec<[String; 5]> = depth
        .points
        .iter()
        .map(|point| {
            let errors: u64 = point.rounds.iter().map(|round| round.errors).sum();
            [
                point.case.to_owned(),
                point.objects.to_string(),
                range(point, |round| round.per_second, 0),
                range(point, |round| round.server_cpu_us, 1),
                errors.to_string(),
            ]
        })
        .collect();
    if let Some(spread) = Spread::of(depth.restarts.iter().copied()) {
        rows.push([
            "kill -9 to first right answer".to_owned(),
            depth.objects[1].to_string(),
            format!("{} s", spread.text(2)),
            String::new(),
            String::new(),
        ]);
    }
    rows
}

/// [`depth_rows`] for the terminal.
pub(super) fn depth(depth: &Depth) -> String {
    let mut table = table(&DEPTH);
    table.add_rows(depth_rows(depth));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The table of goals.
pub(super) fn goals(judged: &[Judged]) -> String {
    let mut table = table(&[
        "#",
        "goal",
        "measured: median (min–max)",
        "by CPU",
        "bound",
        "",
    ]);
    for judged in judged {
        table.add_row([
            judged.number.to_owned(),
            judged.what.to_owned(),
            measured(judged),
            by_cpu(judged),
            judged.goal.clone(),
            verdict(judged),
        ]);
    }
    table.to_string()
}

pub(super) fn measured(judged: &Judged) -> String {
    judged.measured.map_or_else(
        || "–".to_owned(),
        |spread| spread.text(if spread.median < 20.0 { 2 } else { 0 }),
    )
}

pub(super) fn by_cpu(judged: &Judged) -> String {
    let by_cpu = judged.by_cpu;
    by_cpu.map_or_else(String::new, |spread| format!("{:.2}", spread.median))
}

pub(super) fn verdict(judged: &Judged) -> String {
    match &judged.verdict {
        Verdict::Met => "met".to_owned(),
        Verdict::NotMet => "NOT MET".to_owned(),
        Verdict::NotMeasured(why) => format!("not measured: {why}"),
    }
}

/// What one has to know to read the tables.
pub(super) fn notes(results: &Results) -> String {
    let settings = &results.settings;
    let syncs = |of: fn(&crate::yardstick::disk::Sync) -> f64| {
        let spread = Spread::of(results.syncs.iter().map(of));
        spread.map_or_else(String::new, |spread| spread.text(0))
    };
    let shared = if results.machine.is_shared() {
        "OTHERS WERE BUSY on this machine before the run: rates and latencies say little, by CPU \
         says more\n"
    } else {
        ""
    };
    format!(
        "{shared}by CPU: the ratio of processor time per operation, servers' and clients'\n\
         {} nodes, {} rounds of {} s, SCALE={}; raised: {}\n\
         {} processors shared by servers and clients; load average before {}, after {}\n\
         one synced append of 4 KiB: {} µs to a growing file, {} µs to a preallocated one\n\
         start on an empty directory {:.0} ms, of all nodes with the data {:.0} ms; \
         largest idle node {:.0} MB{}",
        settings.nodes,
        settings.rounds,
        settings.seconds,
        settings.scale,
        settings.raised,
        results.machine.processors,
        results.machine.load_before,
        results.machine.load_after,
        syncs(|sync| sync.growing_us),
        syncs(|sync| sync.preallocated_us),
        results.starts.empty_ms,
        results.starts.full_ms,
        results.starts.idle_bytes as f64 / 1e6,
        installs(results),
    )
}

/// What the ratios of a join are made of; empty when none was measured.
fn installs(results: &Results) -> String {
    let times = results.installs.as_ref().map(|all| all.times.as_slice());
    let times = times.unwrap_or_default();
    let Some(last) = times.last() else {
        return String::new();
    };
    let spread = |of: fn(&Install) -> f64, digits: usize| {
        let spread = Spread::of(times.iter().map(of));
        spread.map_or_else(String::new, |spread| spread.text(digits))
    };
    let tails = |of: fn(&Install) -> &Tails| {
        let median = |value: fn(&Tails) -> Option<f64>| {
            let spread = Spread::of(times.iter().filter_map(|one| value(of(one))));
            spread.map_or("–".to_owned(), |us| format!("{:.2}", us.median / 1e3))
        };
        format!(
            "{:.0}/s: {}, {} and {}",
            of(last).rate,
            median(|tails| Some(tails.before_us)),
            median(|tails| Some(tails.during_us)),
            median(|tails| tails.stream_us),
        )
    };
    format!(
        "\na joining node's snapshot of {:.0} MB: {} s until installed, {} s over quinn alone; ready \
         after {} s\np99 in ms before the join, during it and while quinn alone moves the bytes: \
         reads at {}; likes at {}",
        last.bytes as f64 / 1e6,
        spread(|one| one.install_s, 2),
        spread(|one| one.stream_s, 2),
        spread(|one| one.ready_s, 2),
        tails(|one| &one.reads),
        tails(|one| &one.likes),
    )
}

/// Over all rounds, by what they say.
fn errors(line: &Line) -> Vec<(String, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for sample in &line.samples {
        for (what, count) in &sample.figures.errors {
            *sums.entry(what.clone()).or_default() += count;
        }
    }
    sums.into_iter().collect()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header(header);
    table
}
