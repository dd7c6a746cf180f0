//! One page with everything in it: no scripts, no pictures from elsewhere.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::plot::{Axis, Series, bars, escaped, lines};
use super::{Line, Results, table};
use crate::case::USUAL;
use crate::depth::Depth;
use crate::goals::{Judged, Verdict};
use crate::sample::Sample;
use crate::scaling::{LIKE_CORES, Point, READ_CORES};
use crate::spread::Spread;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; }
td.n, th.n { text-align: right; white-space: nowrap; }
.met { color: #1f8a4c; font-weight: 600; } .not { color: #c8371b; font-weight: 600; }
.un { opacity: .7; }
.plots { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: currentColor; }
svg .title { text-anchor: end; font-weight: 600; } svg .right { text-anchor: end; }
svg .mid { text-anchor: middle; } svg .grid { stroke: #8884; fill: none; }
svg .line { fill: none; stroke-width: 2; }
pre { white-space: pre-wrap; }
";

/// The whole page.
pub(super) fn html(results: &Results, judged: &[Judged]) -> String {
    let mut page = String::from("<!doctype html><html lang='en'><meta charset='utf-8'>");
    page.push_str("<meta name='viewport' content='width=device-width, initial-scale=1'>");
    page.push_str("<title>yin bench</title><style>");
    page.push_str(STYLE);
    page.push_str("</style><h1>yin bench</h1>");
    add(
        &mut page,
        &format!("<pre>{}</pre>", escaped(&table::notes(results))),
    );
    page.push_str("<h2>Goals</h2>");
    goals(&mut page, judged);
    page.push_str("<h2>All cases</h2><p>Medians over the rounds, smallest and largest in ");
    page.push_str("parentheses. Latencies of open loops count from the intended start.</p>");
    cases(&mut page, results);
    if let Some(depth) = &results.depth {
        much_data(&mut page, depth);
    }
    page.push_str("<h2>Throughput by connections</h2><div class='plots'>");
    throughput(&mut page, results);
    page.push_str("</div><h2>Processor time per operation</h2><div class='plots'>");
    processor(&mut page, results);
    if let Some(scaling) = &results.scaling {
        page.push_str("</div><h2>More nodes</h2><div class='plots'>");
        let reads = format!("reads/s, {READ_CORES} core a node");
        sizes(&mut page, &reads, &scaling.reads);
        let likes = format!("likes/s, {LIKE_CORES} core a node, beyond three learners");
        sizes(&mut page, &likes, &scaling.likes);
    }
    page.push_str("</div><h2>Latency over time</h2><p>The last round; one point is a twentieth ");
    page.push_str("of its window.</p><div class='plots'>");
    latency(&mut page, results);
    page.push_str("</div></html>\n");
    page
}

fn goals(page: &mut String, judged: &[Judged]) {
    page.push_str("<table><tr><th>#<th>goal<th class='n'>measured<th class='n'>by CPU<th class='n'>bound<th></tr>");
    for judged in judged {
        let class = match judged.verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "not",
            Verdict::NotMeasured(_) => "un",
        };
        add(
            page,
            &format!(
                "<tr><td>{}<td>{}<td class='n'>{}<td class='n'>{}<td class='n'>{}\
                 <td class='{class}'>{}</tr>",
                judged.number,
                escaped(judged.what),
                table::measured(judged),
                table::by_cpu(judged),
                judged.goal,
                escaped(&table::verdict(judged))
            ),
        );
    }
    page.push_str("</table>");
}

fn cases(page: &mut String, results: &Results) {
    page.push_str("<table><tr><th>case");
    for name in [
        "conn",
        "op/s",
        "p50 ms",
        "p99 ms",
        "p999 ms",
        "server µs/op",
        "client µs/op",
        "disk B/op",
        "errors",
    ] {
        add(page, &format!("<th class='n'>{name}"));
    }
    page.push_str("</tr>");
    for line in &results.cases {
        let range = |of: fn(&Sample) -> f64| {
            let spread = line.spread(of);
            spread.map_or_else(String::new, |spread| spread.text(0))
        };
        let median = |of: fn(&Sample) -> f64, digits: usize| {
            let spread = line.spread(of);
            spread.map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
        };
        let errors = line
            .samples
            .iter()
            .map(|sample| sample.figures.error_count());
        let errors: u64 = errors.sum();
        add(page, &format!("<tr><td>{}", escaped(&line.name)));
        for cell in [
            line.connections.to_string(),
            range(|sample| sample.figures.per_second),
            median(|sample| sample.figures.latency.p50_us / 1e3, 2),
            median(|sample| sample.figures.latency.p99_us / 1e3, 2),
            median(|sample| sample.figures.latency.p999_us / 1e3, 2),
            range(|sample| sample.server_cpu_us),
            median(|sample| sample.figures.client_cpu_us, 0),
            median(|sample| sample.written_bytes, 0),
            errors.to_string(),
        ] {
            add(page, &format!("<td class='n'>{cell}"));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn throughput(page: &mut String, results: &Results) {
    let closed: Vec<&Line> = results
        .cases
        .iter()
        .filter(|line| is_closed(line))
        .collect();
    let names: BTreeSet<&str> = closed.iter().map(|line| line.name.as_str()).collect();
    for name in names {
        let of_it = closed.iter().filter(|line| line.name == name);
        let points: Vec<(f64, f64)> = of_it
            .filter_map(|line| {
                let rate = line.spread(|sample| sample.figures.per_second)?;
                Some((line.connections as f64, rate.median))
            })
            .collect();
        if points.len() > 1 {
            let series = [Series {
                name: "median".to_owned(),
                points,
            }];
            page.push_str(&lines(
                name,
                "op/s by connections",
                Axis::Logarithmic,
                &series,
            ));
        }
    }
}

fn processor(page: &mut String, results: &Results) {
    let rows: Vec<(String, f64, f64)> = results
        .cases
        .iter()
        .filter(|line| is_closed(line) && line.connections == USUAL)
        .filter_map(|line| {
            let server = line.spread(|sample| sample.server_cpu_us)?.median;
            let client = line.spread(|sample| sample.figures.client_cpu_us)?.median;
            Some((line.name.clone(), server, client))
        })
        .collect();
    // Hashing passwords takes a thousand times as long as all others.
    let (long, short): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|(_, server, _)| *server > 3_000.0);
    for rows in [short, long] {
        if !rows.is_empty() {
            page.push_str(&bars("µs per operation", "servers + client", &rows));
        }
    }
}

fn latency(page: &mut String, results: &Results) {
    for line in results
        .cases
        .iter()
        .filter(|line| line.connections == USUAL)
    {
        let Some(sample) = line.samples.last() else {
            continue;
        };
        let series = |name: &str, of: fn(&load::figures::Slot) -> f64| Series {
            name: name.to_owned(),
            points: sample
                .figures
                .slots
                .iter()
                .map(|slot| (slot.at_s, of(slot) / 1e3))
                .collect(),
        };
        let both = [
            series("p50", |slot| slot.p50_us),
            series("p99", |slot| slot.p99_us),
        ];
        page.push_str(&lines(&line.name, "ms by second", Axis::Plain, &both));
    }
}

fn sizes(page: &mut String, title: &str, points: &[Point]) {
    let points: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|point| {
            let rates = point.samples.iter().map(|sample| sample.figures.per_second);
            Some((point.nodes as f64, Spread::of(rates)?.median))
        })
        .collect();
    if !points.is_empty() {
        let series = [Series {
            name: "median".to_owned(),
            points,
        }];
        page.push_str(&lines(title, "op/s by nodes", Axis::Plain, &series));
    }
}

fn much_data(page: &mut String, depth: &Depth) {
    page.push_str(
        "<h2>Much data</h2><p>One node with few objects, one with many, both up at once and ",
    );
    page.push_str("asked in turn.</p><table><tr>");
    for (place, name) in table::DEPTH.iter().enumerate() {
        let class = if place == 0 { "" } else { " class='n'" };
        add(page, &format!("<th{class}>{name}"));
    }
    page.push_str("</tr>");
    for row in table::depth_rows(depth) {
        page.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let class = if place == 0 { "" } else { " class='n'" };
            add(page, &format!("<td{class}>{}", escaped(cell)));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    if let Some(why) = &depth.missing {
        add(page, &format!("<p>Missing: {}</p>", escaped(why)));
    }
}

fn is_closed(line: &Line) -> bool {
    line.samples
        .iter()
        .all(|sample| sample.figures.rate.is_none())
}

fn add(page: &mut String, text: &str) {
    page.write_str(text).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::judge;
    use crate::report::sample_results;

    #[test]
    fn a_page_shows_every_case_and_goal_and_needs_nothing_else() {
        let mut results = sample_results(&[
            ("like", 64, [100.0, 90.0, 80.0]),
            ("like", 256, [100.0, 90.0, 80.0]),
            ("append", 64, [100.0, 90.0, 80.0]),
        ]);
        results.depth = Some(Depth {
            restarts: vec![0.5, 0.25, 1.0],
            missing: Some("a <reason>".to_owned()),
            ..Depth::default()
        });
        let judged = judge(&results);
        let page = html(&results, &judged);
        for judged in &judged {
            assert!(page.contains(&escaped(judged.what)), "{}", judged.what);
        }
        assert!(page.contains("class='met'>met") && page.contains("aria-label='append'"));
        assert!(page.contains("<td class='n'>0.50 (0.25–1.00) s"));
        assert!(page.contains("Missing: a &lt;reason&gt;"));
        // Throughput of like over two numbers of connections, one latency plot each, one of bars.
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(!page.contains("http://") && !page.contains("<script"));
    }
}
