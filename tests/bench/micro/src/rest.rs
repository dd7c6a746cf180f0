//! Processor time of this process, and waiting until it uses none.
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process, all threads.
#[must_use]
pub fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

/// Processor time of the thread that asks.
#[must_use]
pub fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// Waits until flushes and compactions are through: until the process has used next to no processor
/// time for a second, ten minutes at most.
pub fn settle() {
    const LOOKS_MAX: usize = 6_000;
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    const QUIET: Duration = Duration::from_millis(2);
    let (mut quiet, mut last) = (0, process_time());
    for _ in 0..LOOKS_MAX {
        if quiet == 10 {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
        let now = process_time();
        quiet = if now - last < QUIET { quiet + 1 } else { 0 };
        last = now;
    }
    eprintln!("not at rest after ten minutes: what follows holds work of before");
}

fn time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}
