//! When the operations of an open loop arrive: fixed beforehand, whatever the servers do.
use std::time::Duration;

use crate::dice::Dice;

/// Moments from the beginning, ascending: independent arrivals (exponential gaps) at `per_second`
/// for as long as `length`.
pub(crate) fn arrivals(per_second: f64, length: Duration, seed: u64) -> Vec<Duration> {
    let mut dice = Dice::new(seed);
    let length = length.as_secs_f64();
    let mut at = 0.0;
    let mut moments = Vec::new();
    if per_second <= 0.0 {
        return moments;
    }
    loop {
        at -= dice.unit().ln() / per_second;
        if at >= length {
            return moments;
        }
        moments.push(Duration::from_secs_f64(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_to_the_rate_and_to_the_seed() {
        let length = Duration::from_secs(20);
        let moments = arrivals(1_000.0, length, 3);
        assert!(
            (19_000..21_000).contains(&moments.len()),
            "{}",
            moments.len()
        );
        assert!(moments.is_sorted());
        assert!(moments.iter().all(|moment| *moment < length));
        assert_eq!(moments, arrivals(1_000.0, length, 3));
        assert_ne!(moments, arrivals(1_000.0, length, 4));
        assert!(arrivals(0.0, length, 3).is_empty());
    }

    #[test]
    fn gaps_are_not_even() {
        let moments = arrivals(1_000.0, Duration::from_secs(20), 5);
        let gaps: Vec<Duration> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let long = gaps.iter().filter(|gap| gap.as_micros() > 3_000).count();
        // e^-3 of them, 5 %.
        assert!((600..1_400).contains(&long), "{long}");
    }
}
