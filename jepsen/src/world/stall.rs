//! How long this machine lets a thread wait for a processor. A cluster that holds an election
//! because nobody gave it time has broken no promise.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::evidence::Begun;

const TICK: Duration = Duration::from_millis(10);
/// Stalls that are kept; the worst are what matters, and they are rare.
const KEPT_MAX: usize = 10_000;
/// Shorter ones are every day's.
const WORTH_KEEPING: Duration = Duration::from_millis(50);

/// A thread that sleeps and measures by how much it overslept.
pub(crate) struct Probe {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// (nanoseconds since the run began, milliseconds).
    stalls: Mutex<Vec<(u64, u64)>>,
}

impl Probe {
    pub(crate) fn start(begun: Begun) -> Self {
        let shared = Arc::<Shared>::default();
        let its = shared.clone();
        std::thread::spawn(move || {
            while !its.is_over.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(TICK);
                its.note(begun, before.elapsed().saturating_sub(TICK));
            }
        });
        Self { shared }
    }

    /// The longest stall between two moments, in milliseconds.
    pub(crate) fn worst_ms(&self, from_ns: u64, until_ns: u64) -> u64 {
        let stalls = self.shared.stalls.lock().expect("no holder panics");
        let within = stalls
            .iter()
            .filter(|(time, _)| (from_ns..=until_ns).contains(time));
        within.map(|(_, stall)| *stall).max().unwrap_or(0)
    }
}

impl Shared {
    fn note(&self, begun: Begun, stall: Duration) {
        if stall < WORTH_KEEPING {
            return;
        }
        let stall_ms = u64::try_from(stall.as_millis()).unwrap_or(u64::MAX);
        let mut stalls = self.stalls.lock().expect("no holder panics");
        if stalls.len() < KEPT_MAX {
            stalls.push((begun.elapsed_ns(), stall_ms));
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}
