//! Every operation as a dot: when it was invoked, how long it took, what came of it; and lines of
//! how long most of them took.
use std::collections::BTreeMap;

use checkers::history::Outcome;

use super::operations::Operation;
use super::plot::Plot;
use super::scale::{Log, ms, whole};
use super::text::{count, duration, escape, moment, number};
use super::view::View;

const HEIGHT: u32 = 240;
/// Dots on the page, at most (a little more, as the last pass keeps one a cell).
const DOTS_MAX: usize = 6_000;
/// The slowest ones tell on hovering what they are.
const TITLES_MAX: usize = 120;
/// Pieces of time that the lines are worked out for, at most.
const PIECES: u64 = 150;

/// Draws the chart.
pub(super) fn latency(view: &View<'_>) -> Plot {
    let timed: Vec<(&Operation<'_>, u64)> = view
        .operations
        .iter()
        .filter_map(|operation| Some((operation, operation.latency_ns()?)))
        .collect();
    let least = timed.iter().map(|&(_, ns)| ns).min().unwrap_or(1_000_000);
    let greatest = timed
        .iter()
        .map(|&(_, ns)| ns)
        .max()
        .unwrap_or(1_000_000_000);
    // A tick below ten microseconds tells nothing about a network service.
    let scale = Log::new(least.max(10_000), greatest, HEIGHT);
    let kept = thin(&timed, &scale, view.end_ns);
    let marks = [Outcome::Ok, Outcome::Fail, Outcome::Unknown]
        .map(|outcome| dots(&kept, outcome, &scale))
        .concat();
    let note = if kept.len() < timed.len() {
        format!(
            "log scale; {} of {} drawn, the slowest of each spot kept",
            number(kept.len() as u64),
            count(timed.len() as u64, "operation")
        )
    } else {
        format!("log scale; {}", count(timed.len() as u64, "operation"))
    };
    Plot {
        id: "latency",
        title: "Latency",
        note,
        height: HEIGHT,
        legend: keys(&[
            ("ok", "ok"),
            ("fail", "failed"),
            ("unknown", "outcome unknown"),
            ("line p50", "p50"),
            ("line p95", "p95"),
            ("line p99", "p99"),
            ("line worst", "max of ok"),
        ]),
        ticks: scale
            .ticks()
            .into_iter()
            .map(|tick| (scale.y(tick), short(tick)))
            .collect(),
        marks: marks + &lines(&timed, &scale, view.end_ns) + &titles(&timed, &scale),
    }
}

fn keys(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(class, name): &(&str, &str)| (class.to_owned(), name.to_owned());
    entries.iter().map(owned).collect()
}

/// A power of ten without decimals.
fn short(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

/// Keeps one dot of every outcome in every cell of a grid, the slowest, and coarsens the grid until
/// few enough are left.
fn thin<'a>(
    timed: &[(&'a Operation<'a>, u64)],
    scale: &Log,
    end_ns: u64,
) -> Vec<(&'a Operation<'a>, u64)> {
    if timed.len() <= DOTS_MAX {
        return timed.to_vec();
    }
    let mut kept = Vec::new();
    // A cell is a pixel or two of a wide screen at first.
    for coarse in [1.5, 2.0, 3.0, 4.0, 6.0, 9.0] {
        let mut cells: BTreeMap<(usize, usize, u8), (&Operation<'_>, u64)> = BTreeMap::new();
        for &(operation, ns) in timed {
            let share = operation.invoked_ns as f64 / end_ns as f64;
            let outcome = match operation.outcome {
                Outcome::Ok => 0,
                Outcome::Fail => 1,
                Outcome::Unknown => 2,
            };
            let cell = (
                whole(share * 1_100.0 / coarse),
                whole(scale.y(ns) / coarse),
                outcome,
            );
            let held = cells.entry(cell).or_insert((operation, ns));
            if ns > held.1 {
                *held = (operation, ns);
            }
        }
        kept = cells.into_values().collect();
        if kept.len() <= DOTS_MAX {
            break;
        }
    }
    kept
}

/// All dots of one outcome as one path of points.
fn dots(kept: &[(&Operation<'_>, u64)], outcome: Outcome, scale: &Log) -> String {
    let points: String = kept
        .iter()
        .filter(|(operation, _)| operation.outcome == outcome)
        .map(|&(operation, ns)| format!("M{} {:.1}h0", ms(operation.invoked_ns), scale.y(ns)))
        .collect();
    if points.is_empty() {
        return String::new();
    }
    format!("<path class=\"dot {}\" d=\"{points}\"/>", class(outcome))
}

/// Names the style of an outcome.
pub(super) fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Unknown => "unknown",
    }
}

/// The slowest operations again, each by itself, to be asked what it is.
fn titles(timed: &[(&Operation<'_>, u64)], scale: &Log) -> String {
    let mut slowest = timed.to_vec();
    slowest.sort_by_key(|&(_, ns)| std::cmp::Reverse(ns));
    slowest.truncate(TITLES_MAX);
    slowest
        .iter()
        .map(|&(operation, ns)| {
            format!(
                "<path class=\"dot ask {}\" d=\"M{} {:.1}h0\"><title>{} {} at {}, {}: {}, {}</title></path>",
                class(operation.outcome),
                ms(operation.invoked_ns),
                scale.y(ns),
                escape(operation.workload),
                escape(&super::operations::name(operation.action)),
                escape(operation.node),
                moment(operation.invoked_ns),
                duration(ns),
                class(operation.outcome),
            )
        })
        .collect()
}

/// Latencies of successful operations by piece of time, each piece sorted.
pub(super) fn pieces(timed: &[(&Operation<'_>, u64)], end_ns: u64) -> (u64, Vec<Vec<u64>>) {
    let piece_ns = (end_ns / PIECES).max(1_000_000_000);
    let count = usize::try_from(end_ns / piece_ns + 1).expect("as few as there are pieces");
    let mut pieces = vec![Vec::new(); count];
    for &(operation, ns) in timed {
        let piece = usize::try_from(operation.invoked_ns / piece_ns).unwrap_or(usize::MAX);
        if operation.outcome == Outcome::Ok
            && let Some(piece) = pieces.get_mut(piece)
        {
            piece.push(ns);
        }
    }
    for piece in &mut pieces {
        piece.sort_unstable();
    }
    (piece_ns, pieces)
}

/// The value that this share of the sorted values does not exceed.
pub(super) fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let position = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(position).copied()
}

fn lines(timed: &[(&Operation<'_>, u64)], scale: &Log, end_ns: u64) -> String {
    let (piece_ns, pieces) = pieces(timed, end_ns);
    let line = |class: &str, percent: usize| {
        let mut path = String::new();
        let mut is_drawing = false;
        for (number, piece) in pieces.iter().enumerate() {
            let Some(value) = quantile(piece, percent) else {
                is_drawing = false;
                continue;
            };
            let x = ms(number as u64 * piece_ns + piece_ns / 2);
            let letter = if is_drawing { 'L' } else { 'M' };
            path.push_str(&format!("{letter}{x} {:.1}", scale.y(value)));
            is_drawing = true;
        }
        format!("<path class=\"line {class}\" d=\"{path}\"/>")
    };
    [("worst", 100), ("p99", 99), ("p95", 95), ("p50", 50)]
        .map(|(class, percent)| line(class, percent))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        assert_eq!(quantile(&[1, 2, 3, 4], 50), Some(2));
        assert_eq!(quantile(&[1, 2, 3, 4], 100), Some(4));
        assert_eq!(quantile(&[7], 50), Some(7));
        assert_eq!(quantile(&[], 50), None);
    }
}
