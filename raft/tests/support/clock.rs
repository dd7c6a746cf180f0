//! A wall clock that runs with the test's time and can be set wrong.
use std::sync::atomic::{AtomicI64, Ordering};

use model::time::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;

/// Some day in 2027.
const EPOCH_MS: i64 = 1_800_000_000_000;

pub(crate) struct TestClock {
    start: Instant,
    ahead_ms: AtomicI64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            ahead_ms: AtomicI64::new(0),
        }
    }

    /// Sets it that much ahead of the others.
    pub(crate) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let ran = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        let now = EPOCH_MS + ran + self.ahead_ms.load(Ordering::Relaxed);
        Timestamp(u64::try_from(now).unwrap())
    }
}
