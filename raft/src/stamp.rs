//! The time that this leader stamps on commands.
//!
//! Stamps only ever move log time forward, and what was issued more than an hour before log time is
//! refused for good. So one leader with a wild wall clock could shut everybody out for as long as it
//! takes all other clocks to get there. Therefore a stamp is this machine's wall clock only as far
//! as a majority has confirmed it; after a jump it is the confirmed time plus what the monotonic
//! clock counted since.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::apply::REPEAT_HORIZON_MS;
use model::error::Fault;
use model::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Clock;

/// A wall clock that nobody has confirmed yet may be this far from log time: too little to shut
/// anybody out.
const UNCONFIRMED_MS_MAX: u64 = REPEAT_HORIZON_MS / 2;

/// What the wall clock said, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) wall: Timestamp,
    pub(crate) at: Instant,
}

impl Tick {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            at: Instant::now(),
        }
    }

    /// What a clock that was right then says at `later`.
    pub(crate) fn after(&self, later: Instant) -> Timestamp {
        let passed = later.saturating_duration_since(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        Timestamp(self.wall.0.saturating_add(passed))
    }
}

/// Makes stamps.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// When this clock was last found to be the majority's.
    confirmed: Mutex<Option<Tick>>,
    asked: Notify,
}

impl Stamps {
    /// The majority's clocks agree with this tick.
    pub(crate) fn confirm(&self, tick: Tick) {
        *self.lock() = Some(tick);
    }

    /// The stamp for a command that is proposed now; none when this clock is so far from
    /// `log_time` that a majority has to confirm it first.
    ///
    /// # Errors
    /// [`Fault`] when log time cannot be read.
    pub(crate) fn stamp(
        &self,
        clock: &dyn Clock,
        skew_ms_max: u64,
        log_time: impl FnOnce() -> Result<Timestamp, Fault>,
    ) -> Result<Option<Timestamp>, Fault> {
        let now = Tick::now(clock);
        let confirmed = *self.lock();
        let (is_near, otherwise) = if let Some(tick) = confirmed {
            let expected = tick.after(now.at);
            let is_near = now.wall.0.abs_diff(expected.0) <= skew_ms_max;
            (is_near, Some(expected))
        } else {
            let log_time = log_time()?.0;
            // Before the first command there is nobody to shut out.
            let is_near = log_time == 0 || now.wall.0.abs_diff(log_time) <= UNCONFIRMED_MS_MAX;
            (is_near, None)
        };
        if is_near {
            return Ok(Some(now.wall));
        }
        self.asked.notify_one();
        Ok(otherwise)
    }

    /// Waits until a stamp was wanted of a clock that nobody has confirmed, but at least for `pause`.
    pub(crate) async fn in_question(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.asked.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Tick>> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::clock::TestClock;

    const HOUR_MS: i64 = 3_600_000;

    async fn passes(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    fn stamp(stamps: &Stamps, clock: &TestClock, log_time: Timestamp) -> Option<Timestamp> {
        stamps.stamp(clock, 5_000, || Ok(log_time)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_confirmed_clock_that_jumps_is_not_followed() {
        let (stamps, clock) = (Stamps::default(), TestClock::new());
        let start = clock.now();
        stamps.confirm(Tick::now(&clock));
        passes(1_000).await;
        clock.set_ahead(4_000);
        assert_eq!(
            stamp(&stamps, &clock, start),
            Some(Timestamp(start.0 + 5_000))
        );
        for jump in [2 * HOUR_MS, -2 * HOUR_MS, 6_000] {
            clock.set_ahead(jump);
            assert_eq!(
                stamp(&stamps, &clock, start),
                Some(Timestamp(start.0 + 1_000))
            );
        }
        // All clocks were set: the majority's word counts.
        clock.set_ahead(2 * HOUR_MS);
        stamps.confirm(Tick::now(&clock));
        assert_eq!(stamp(&stamps, &clock, start), Some(clock.now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unconfirmed_clock_waits_when_it_is_far_from_log_time() {
        let (stamps, clock) = (Stamps::default(), TestClock::new());
        let log_time = clock.now();
        clock.set_ahead(HOUR_MS / 2);
        assert_eq!(stamp(&stamps, &clock, log_time), Some(clock.now()));
        for jump in [HOUR_MS / 2 + 1, -HOUR_MS] {
            clock.set_ahead(jump);
            assert_eq!(stamp(&stamps, &clock, log_time), None);
        }
        assert_eq!(stamp(&stamps, &clock, Timestamp(0)), Some(clock.now()));
        stamps.in_question(Duration::ZERO).await;
        stamps.confirm(Tick::now(&clock));
        assert_eq!(stamp(&stamps, &clock, log_time), Some(clock.now()));
    }
}
