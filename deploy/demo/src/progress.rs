//! What a person is told: lines, and progress as a bar on a terminal.
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints a line, if anybody is there to read it. When the terminal has gone away, stopping what was
/// started matters more than saying so, and `println!` would panic.
pub(crate) fn say(line: impl Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Counts steps towards a total that is known beforehand.
pub(crate) struct Progress {
    /// `None` where a bar would only fill a log with escape codes.
    bar: Option<ProgressBar>,
    phase: &'static str,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            bar: std::io::stderr().is_terminal().then(terminal_bar),
            phase: "",
        }
    }

    pub(crate) fn set_total(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
        }
    }

    /// What the next steps are about, and how many there are.
    pub(crate) fn begin(&mut self, phase: &'static str, steps: usize) {
        self.phase = phase;
        match &self.bar {
            Some(bar) => bar.set_message(phase),
            None => say(format_args!("sample data: {phase} ({steps})")),
        }
    }

    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    pub(crate) fn finish(self) {
        match self.bar {
            Some(bar) => bar.finish_with_message("sample data is in"),
            None => say("sample data: all in"),
        }
    }
}

fn terminal_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30.cyan} {pos:>3}/{len} {elapsed} {msg}")
        .expect("the template is a constant");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
