//! The run's time: one number that only the driver moves, and the wall clocks made from it.
//!
//! It is static since the process's own clock is made from it as well (`src/bin/sim`): one run a
//! process.
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::time::Timestamp;
use raft::clock::Clock;

static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// How much every wall clock was set forward, since more time is meant to have passed.
static SKIPPED_MS: AtomicI64 = AtomicI64::new(0);

/// Some day in 2027.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// Milliseconds since the run began.
pub fn now_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

pub(crate) fn set_ms(now: u64) {
    NOW_MS.store(now, Ordering::Relaxed);
}

/// For every wall clock this much time passes at once.
pub(crate) fn skip_ms(ms: i64) {
    SKIPPED_MS.fetch_add(ms, Ordering::Relaxed);
}

/// A node's wall clock: it may be wrong, and it may run too fast or too slow.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    ahead_ms: AtomicI64,
    /// Milliseconds that it gains in 1,000 s.
    drift: AtomicI64,
}

impl WallClock {
    /// Sets it that much forward, or back.
    pub(crate) fn jump(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn drift(&self, ms_in_1000_s: i64) {
        self.drift.store(ms_in_1000_s, Ordering::Relaxed);
    }

    /// As a time server sets it right.
    pub(crate) fn correct(&self) {
        self.ahead_ms.store(0, Ordering::Relaxed);
        self.drift.store(0, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let ran = i64::try_from(now_ms()).unwrap_or(i64::MAX / 2);
        let gained = ran / 1_000 * self.drift.load(Ordering::Relaxed) / 1_000;
        let skipped = SKIPPED_MS.load(Ordering::Relaxed);
        let now = EPOCH_MS + skipped + ran + gained + self.ahead_ms.load(Ordering::Relaxed);
        Timestamp(u64::try_from(now).unwrap_or(0))
    }
}
