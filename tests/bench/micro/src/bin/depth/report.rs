//! What a run came to: tables for people, JSON for programs.
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use micro::fill::Building;
use serde::Serialize;

use crate::meter::Sample;

/// All of one run.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) states: Vec<State>,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Vec<Ratio>,
}

/// One state.
#[derive(Serialize)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) objects: usize,
    /// `None`: it was there.
    pub(crate) building: Option<Building>,
    pub(crate) file_bytes: u64,
    /// From opening it to the first right answer, ms.
    pub(crate) open_ms: f64,
    /// Processor time of that, all threads, ms.
    pub(crate) open_process_ms: f64,
}

/// One case on one state, a sample a round.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) on: String,
    pub(crate) samples: Vec<Sample>,
}

/// How much more a case costs on one state than on another, round by round.
#[derive(Serialize)]
pub(crate) struct Ratio {
    pub(crate) case: String,
    pub(crate) of: String,
    pub(crate) to: String,
    pub(crate) goal: Option<f64>,
    pub(crate) by_thread: Spread,
    pub(crate) by_process: Spread,
    /// What it costs more, µs of the thread.
    pub(crate) more_us: Spread,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Not a number of nothing.
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        };
        Self {
            median,
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }

    fn text(self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

impl Report {
    /// Takes in one sample.
    pub(crate) fn add(&mut self, case: &str, on: &str, sample: Sample) {
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.case == case && row.on == on);
        match row {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row {
                case: case.to_owned(),
                on: on.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// Compares what `case` costs on the states `of` and `to`, if it was measured on both.
    pub(crate) fn compare(&mut self, case: &str, of: &str, to: &str, goal: Option<f64>) {
        let samples = |on: &str| {
            let row = self
                .rows
                .iter()
                .find(|row| row.case == case && row.on == on);
            row.map(|row| row.samples.as_slice()).unwrap_or_default()
        };
        let (large, small) = (samples(of), samples(to));
        if large.is_empty() || small.is_empty() {
            return;
        }
        let ratios = |cost: fn(&Sample) -> f64| {
            let pairs = large.iter().zip(small);
            Spread::of(pairs.map(|(large, small)| cost(large) / cost(small)))
        };
        self.ratios.push(Ratio {
            case: case.to_owned(),
            of: of.to_owned(),
            to: to.to_owned(),
            goal,
            by_thread: ratios(|sample| sample.thread_us),
            // Of writes with their flushes and compactions, as often as those fell into the rounds.
            by_process: ratios(|sample| match sample.background_us {
                Some(background) => sample.thread_us + background,
                None => sample.process_us,
            }),
            more_us: Spread::of(
                large
                    .iter()
                    .zip(small)
                    .map(|(large, small)| large.thread_us - small.thread_us),
            ),
        });
    }

    /// Prints the tables and writes the JSON to `path`.
    pub(crate) fn show(&self, path: &Path) -> Result<()> {
        println!("{}\n", self.command);
        println!(
            "{}\n\n{}\n\n{}",
            self.states(),
            self.cases(),
            self.compared()
        );
        println!(
            "\nµs, per operation: median (min–max) of the rounds; thread: the one that asks or applies;"
        );
        println!(
            "others: all other threads until the state is at rest, per write, mean of the rounds;"
        );
        println!(
            "misses: lookups that the value cache could not answer; file reads: by all threads,"
        );
        println!("be it from the page cache.");
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn states(&self) -> Table {
        let mut table = table(&[
            "state",
            "objects",
            "built in s",
            "µs/command, all threads",
            "MB on disk",
            "open to first answer ms",
            "its processor ms",
        ]);
        for state in &self.states {
            let built = |figure: fn(&Building) -> f64, digits: usize| {
                let figure = state.building.as_ref().map(figure);
                figure.map_or("was there".to_owned(), |figure| {
                    format!("{figure:.digits$}")
                })
            };
            table.add_row([
                state.name.clone(),
                state.objects.to_string(),
                built(|building| building.seconds, 0),
                built(|building| building.process_us, 1),
                format!("{:.0}", state.file_bytes as f64 / 1e6),
                format!("{:.0}", state.open_ms),
                format!("{:.0}", state.open_process_ms),
            ]);
        }
        to_the_right(table, 1)
    }

    fn cases(&self) -> Table {
        let mut table = table(&["case", "state", "thread", "others", "misses", "file reads"]);
        for row in &self.rows {
            let spread = |figure: fn(&Sample) -> f64| Spread::of(row.samples.iter().map(figure));
            let others: Vec<f64> = row
                .samples
                .iter()
                .filter_map(|sample| sample.background_us)
                .collect();
            let others = if others.is_empty() {
                spread(|sample| (sample.process_us - sample.thread_us).max(0.0)).text(1)
            } else {
                format!("{:.1}", others.iter().sum::<f64>() / others.len() as f64)
            };
            table.add_row([
                row.case.clone(),
                row.on.clone(),
                spread(|sample| sample.thread_us).text(1),
                others,
                format!("{:.2}", spread(|sample| sample.misses).median),
                format!("{:.2}", spread(|sample| sample.file_reads).median),
            ]);
        }
        to_the_right(table, 2)
    }

    fn compared(&self) -> Table {
        let mut table = table(&[
            "case",
            "ratio",
            "thread",
            "all threads",
            "more µs",
            "goal",
            "",
        ]);
        for ratio in &self.ratios {
            let verdict = ratio.goal.map(|goal| match ratio.by_thread.median <= goal {
                true => "met",
                false => "NOT MET",
            });
            table.add_row([
                ratio.case.clone(),
                format!("{} ÷ {}", ratio.of, ratio.to),
                ratio.by_thread.text(2),
                ratio.by_process.text(2),
                ratio.more_us.text(1),
                ratio.goal.map_or(String::new(), |goal| format!("≤ {goal}")),
                verdict.unwrap_or_default().to_owned(),
            ]);
        }
        to_the_right(table, 2)
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header(header);
    table
}

fn to_the_right(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut report = Report::default();
        let sample = |thread_us| Sample {
            thread_us,
            process_us: thread_us,
            ..Sample::default()
        };
        for (small, large) in [(1.0, 2.0), (10.0, 11.0), (4.0, 6.0)] {
            report.add("like", "small", sample(small));
            report.add("like", "large", sample(large));
        }
        report.add("feed", "small", sample(1.0));
        report.compare("like", "large", "small", Some(1.3));
        report.compare("feed", "large", "small", None);
        let [ratio] = report.ratios.as_slice() else {
            panic!("one was measured on both");
        };
        let Spread { median, min, max } = ratio.by_thread;
        assert_eq!((median, min, max), (1.5, 1.1, 2.0));
        assert!(report.compared().to_string().contains("NOT MET"));
    }
}
