//! Latencies as they come in: histograms over the whole window and over its slots.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::trouble::Trouble;

/// The window is cut into so many slots, for plots over time.
pub(crate) const SLOTS: u32 = 20;

/// Two minutes in nanoseconds: longer than any request may take.
const LONGEST_NS: u64 = 120_000_000_000;

/// From when to when operations are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    /// `None`: until all is done.
    pub(crate) end: Option<Instant>,
}

impl Window {
    pub(crate) fn has_begun(&self, at: Instant) -> bool {
        at >= self.begin
    }

    pub(crate) fn is_over(&self, at: Instant) -> bool {
        self.end.is_some_and(|end| at >= end)
    }

    fn slot(&self, at: Instant) -> usize {
        let Some(end) = self.end else { return 0 };
        let length = end.duration_since(self.begin).as_nanos().max(1);
        let into = at.saturating_duration_since(self.begin).as_nanos();
        let slot = into * u128::from(SLOTS) / length;
        usize::try_from(slot.min(u128::from(SLOTS) - 1)).expect("a small number")
    }
}

/// What one thread's clients saw.
pub(crate) struct Record {
    /// Nanoseconds of all that began in the window.
    pub(crate) latency: Histogram<u64>,
    pub(crate) slots: Vec<Histogram<u32>>,
    /// Operations that ended within the window.
    pub(crate) done: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Record {
    pub(crate) fn new() -> Self {
        let slot = Histogram::new_with_bounds(1_000, LONGEST_NS, 2).expect("fixed, sound bounds");
        Self {
            latency: Histogram::new_with_bounds(1_000, LONGEST_NS, 3).expect("fixed, sound bounds"),
            slots: vec![slot; SLOTS as usize],
            done: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Notes an operation that was to begin at `begin`. One that began in the window counts with
    /// its latency even if it ended after it: the slowest would be left out else.
    pub(crate) fn note(
        &mut self,
        window: &Window,
        begin: Instant,
        end: Instant,
        became: Result<(), Trouble>,
    ) {
        if let Err(trouble) = became {
            if window.has_begun(end) {
                *self.errors.entry(trouble.to_string()).or_default() += 1;
            }
            return;
        }
        if window.has_begun(end) && !window.is_over(end) {
            self.done += 1;
        }
        if window.has_begun(begin) && !window.is_over(begin) {
            let nanos = nanos(end.saturating_duration_since(begin));
            self.latency.saturating_record(nanos);
            self.slots[window.slot(begin)].saturating_record(nanos);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("the same bounds");
        for (slot, more) in self.slots.iter_mut().zip(&other.slots) {
            slot.add(more).expect("the same bounds");
        }
        self.done += other.done;
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_in_the_window_is_never_left_out() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let window = Window {
            begin: at(1_000),
            end: Some(at(2_000)),
        };
        let mut record = Record::new();
        // Warm-up; half in it; inside; beyond the end.
        record.note(&window, at(0), at(500), Ok(()));
        record.note(&window, at(900), at(1_100), Ok(()));
        record.note(&window, at(1_500), at(1_510), Ok(()));
        record.note(&window, at(1_999), at(9_999), Ok(()));
        record.note(&window, at(1_500), at(1_600), Err(Trouble::Http(503)));
        record.note(&window, at(2_000), at(2_001), Ok(()));
        assert_eq!(record.done, 2);
        assert_eq!(record.latency.len(), 2);
        let longest = record.latency.max();
        assert!(
            (7_990_000_000..8_010_000_000).contains(&longest),
            "{longest}"
        );
        assert_eq!(record.errors["HTTP 503"], 1);
        assert_eq!(record.slots[10].len(), 1);
        assert_eq!(record.slots[19].len(), 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_put_in() {
        let begin = Instant::now();
        let window = Window { begin, end: None };
        let mut whole = Record::new();
        for part in 0..4_u64 {
            let mut record = Record::new();
            for step in 1..=250_u64 {
                let latency = Duration::from_micros((part * 250 + step) * 100);
                record.note(&window, begin, begin + latency, Ok(()));
            }
            whole.add(&record);
        }
        for (quantile, expected) in [(0.5, 50_000_000.0), (0.99, 99_000_000.0)] {
            let got = whole.latency.value_at_quantile(quantile) as f64;
            assert!((got / expected - 1.0).abs() < 0.002, "{quantile}: {got}");
        }
    }
}
