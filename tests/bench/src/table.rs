//! Results as tables.
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};

use crate::case::Case;
use crate::rounds::Sample;

/// Median, smallest, largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// One line a case.
pub(crate) fn cases(cases: &[Case], samples: &[Vec<Sample>]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    table.set_header([
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
    for (case, samples) in cases.iter().zip(samples) {
        let of = |what: fn(&Sample) -> f64| Spread::of(samples.iter().map(what));
        let errors: u64 = samples
            .iter()
            .map(|sample| sample.figures.error_count())
            .sum();
        table.add_row([
            case.scenario.name().to_owned(),
            case.connections.to_string(),
            with_range(of(|sample| sample.figures.per_second), 0),
            median(of(|sample| sample.figures.latency.p50_us / 1e3), 2),
            median(of(|sample| sample.figures.latency.p99_us / 1e3), 2),
            median(of(|sample| sample.figures.latency.p999_us / 1e3), 2),
            with_range(of(|sample| sample.server_cpu_us), 0),
            median(of(|sample| sample.figures.client_cpu_us), 0),
            median(of(|sample| sample.written_bytes), 0),
            median(of(|sample| sample.resident_bytes as f64 / 1e6), 0),
            errors.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    for (case, samples) in cases.iter().zip(samples) {
        for sample in samples {
            for (what, count) in &sample.figures.errors {
                text.push_str(&format!("\n{}: {count} × {what}", case.scenario.name()));
            }
        }
    }
    text
}

fn with_range(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(String::new, |Spread { median, min, max }| {
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    })
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(String::new, |spread| format!("{:.digits$}", spread.median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert!((Spread::of([1.0, 2.0]).unwrap().median - 1.5).abs() < 1e-9);
    }
}
