//! Scales: from values to heights, from a span of time to ticks that a person reads easily.

/// Every plot is drawn this many milliseconds to a unit of width; see [`ms`].
const NS_PER_MS: u64 = 1_000_000;

/// Time as the charts draw it.
pub(super) fn ms(ns: u64) -> u64 {
    ns / NS_PER_MS
}

/// A number as an index; what does not fit is cut off at the ends.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what a bucket at the edge wants"
)]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}

/// From zero to a round number above the greatest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    top: f64,
    step: f64,
    height: f64,
}

impl Linear {
    pub(super) fn new(greatest: f64, height: u32) -> Self {
        let step = nice(greatest.max(1.0) / 4.0).max(1.0);
        Self {
            top: (greatest.max(1.0) / step).ceil() * step,
            step,
            height: f64::from(height),
        }
    }

    /// Distance from the upper edge.
    pub(super) fn y(self, value: f64) -> f64 {
        self.height * (1.0 - value / self.top)
    }

    /// Round values, from zero up.
    pub(super) fn ticks(self) -> Vec<f64> {
        let count = whole((self.top / self.step).round());
        (0..=count).map(|n| n as f64 * self.step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least as great.
fn nice(number: f64) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= number);
    step.unwrap_or(10.0) * power
}

/// Powers of ten, from below the least to above the greatest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    low: i32,
    high: i32,
    height: f64,
}

impl Log {
    pub(super) fn new(least: u64, greatest: u64, height: u32) -> Self {
        let least = least.max(1);
        let low = i32::try_from(least.ilog10()).unwrap_or(0);
        let high = i32::try_from(greatest.max(least).ilog10()).unwrap_or(0) + 1;
        Self {
            low,
            high,
            height: f64::from(height),
        }
    }

    pub(super) fn y(self, value: u64) -> f64 {
        let log = (value.max(1) as f64).log10();
        let share = (log - f64::from(self.low)) / f64::from(self.high - self.low);
        self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    pub(super) fn ticks(self) -> Vec<u64> {
        let powers = self.low..=self.high;
        powers
            .filter_map(|power| 10u64.checked_pow(u32::try_from(power).ok()?))
            .collect()
    }
}

/// Milliseconds between ticks of a time axis.
pub(super) fn time_step_ms(span_ms: u64, ticks_max: u64) -> u64 {
    const STEPS_S: [u64; 14] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400,
    ];
    let fits = |step: &u64| span_ms / (step * 1_000) <= ticks_max;
    STEPS_S.into_iter().find(fits).unwrap_or(86_400) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_everything() {
        let scale = Linear::new(237.0, 100);
        assert_eq!(scale.ticks(), vec![0.0, 100.0, 200.0, 300.0]);
        assert!(scale.y(237.0) > 0.0);
        let log = Log::new(350_000, 2_000_000_000, 100);
        assert_eq!(log.ticks().first(), Some(&100_000));
        assert_eq!(log.ticks().last(), Some(&10_000_000_000));
        assert!((log.y(100_000) - 100.0).abs() < 1e-9);
        assert_eq!(time_step_ms(600_000, 10), 60_000);
    }

    #[test]
    fn nothing_at_all_still_has_a_scale() {
        assert_eq!(Linear::new(0.0, 100).ticks(), vec![0.0, 1.0]);
        assert!(Log::new(0, 0, 100).y(0).is_finite());
    }
}
