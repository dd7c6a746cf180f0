//! Processor time of a process, as the kernel counts it.
use std::time::Duration;

/// Clock ticks a second in `/proc`: `USER_HZ` is 100 on every Linux that yin runs on.
const TICK: Duration = Duration::from_millis(10);

/// What this process has used so far, user and system, all threads. Zero where there is no `/proc`.
pub fn own() -> Duration {
    of("self", OWN).unwrap_or_default()
}

/// The same of any process by its id, with its children that have ended; `None` if it is gone.
pub fn of_family(pid: u32) -> Option<Duration> {
    of(&pid.to_string(), OWN + CHILDREN)
}

/// `utime` and `stime`; behind them the same of the children.
const OWN: usize = 2;
const CHILDREN: usize = 2;

fn of(process: &str, fields: usize) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    ticks(&stat, fields).map(|ticks| TICK.saturating_mul(ticks))
}

/// The name in parentheses may hold anything, so fields are counted behind it.
fn ticks(stat: &str, fields: usize) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut all = rest.split_whitespace().skip(11);
    (0..fields).try_fold(0_u32, |sum, _| sum.checked_add(all.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 700 30 5 4 99";
        assert_eq!(ticks(stat, OWN), Some(730));
        assert_eq!(ticks(stat, OWN + CHILDREN), Some(739));
        assert_eq!(ticks("12 (a) S 1", OWN), None);
    }

    #[test]
    fn work_is_seen() {
        let before = own();
        let mut sum = 0_u64;
        // Ticks are 10 ms, so that some work is needed before one is seen.
        for round in 0..2_000_000_000_u64 {
            sum = sum.wrapping_add(std::hint::black_box(round));
            if round % 1_000_000 == 0 && own() > before {
                break;
            }
        }
        std::hint::black_box(sum);
        assert!(own() > before);
        assert_eq!(of_family(u32::MAX), None);
    }
}
