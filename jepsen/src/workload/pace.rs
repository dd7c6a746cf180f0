//! How often clients act: an open loop, so that a slow cluster gets no easier load.
//!
//! Turns are given at the rate, to workloads by their weight, and wait for a free client. No more
//! wait than clients could take at once: what is beyond that is not made up for later.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// How often turns are given.
const TICK: Duration = Duration::from_millis(5);

/// Shared by the clients and the one task that gives the turns.
#[derive(Clone)]
pub(crate) struct Pace(Arc<Inner>);

struct Inner {
    /// One a workload.
    lanes: Vec<Semaphore>,
    weights: Vec<u32>,
    waiting_max: usize,
    /// Bits of an `f64`.
    rate: AtomicU64,
    is_stopped: watch::Sender<bool>,
}

impl Pace {
    pub(crate) fn new(weights: Vec<u32>, clients: usize, rate: f64) -> Self {
        Self(Arc::new(Inner {
            lanes: weights.iter().map(|_| Semaphore::new(0)).collect(),
            weights,
            waiting_max: clients,
            rate: AtomicU64::new(rate.to_bits()),
            is_stopped: watch::Sender::new(false),
        }))
    }

    pub(crate) fn rate(&self) -> f64 {
        f64::from_bits(self.0.rate.load(Ordering::Relaxed))
    }

    pub(crate) fn set_rate(&self, rate: f64) {
        self.0.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.0.is_stopped.send_replace(true);
    }

    /// Waits for a turn; `false`: there are no more.
    pub(crate) async fn turn(&self, lane: usize) -> bool {
        let mut stopped = self.0.is_stopped.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            _ = stopped.wait_for(|is_stopped| *is_stopped) => false,
            permit = self.0.lanes[lane].acquire() => {
                permit.expect("no lane is ever closed").forget();
                true
            }
        }
    }

    /// Gives turns until stopped.
    pub(crate) async fn run(self) {
        let total = f64::from(self.0.weights.iter().sum::<u32>().max(1));
        let mut due = vec![0.0; self.0.weights.len()];
        let mut stopped = self.0.is_stopped.subscribe();
        let mut last = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|is_stopped| *is_stopped) => return,
                _ = tick.tick() => {}
            }
            let now = Instant::now();
            let passed = now.duration_since(last).as_secs_f64();
            last = now;
            for (lane, due) in due.iter_mut().enumerate() {
                let share = f64::from(self.0.weights[lane]) / total;
                *due = self.give(lane, *due + self.rate() * share * passed);
            }
        }
    }

    /// Gives as many whole turns as are due and may wait; what is left of the last one.
    fn give(&self, lane: usize, mut due: f64) -> f64 {
        let waiting = self.0.lanes[lane].available_permits();
        let room = self.0.waiting_max.saturating_sub(waiting);
        if self.rate() <= 0.0 {
            self.0.lanes[lane].add_permits(room);
            return 0.0;
        }
        let mut given = 0;
        while due >= 1.0 {
            due -= 1.0;
            if given < room {
                given += 1;
            }
            if given == room {
                due = due.fract();
            }
        }
        self.0.lanes[lane].add_permits(given);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_by_weight_and_never_pile_up() {
        let pace = Pace::new(vec![3, 1], 4, 8.0);
        assert!((pace.give(0, 2.5) - 0.5).abs() < 1e-9);
        assert_eq!(pace.0.lanes[0].available_permits(), 2);
        pace.give(0, 100.0);
        assert_eq!(
            pace.0.lanes[0].available_permits(),
            4,
            "no more than clients"
        );
        pace.stop();
        assert!(!pace.turn(0).await, "stopped means no more turns");
    }
}
