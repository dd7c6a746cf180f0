//! How far this replica has applied the log, and who waits for it to get further.
//!
//! Waiters sleep under the index they need and only those whose index is reached are woken: with a
//! plain watch, every applied batch would wake everyone who waits.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

/// The applied index and its waiters.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    applied: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Under the index they need, then in the order they came.
    waiters: BTreeMap<(u64, u64), oneshot::Sender<()>>,
    tickets: u64,
}

impl Progress {
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Notes that everything up to `index` is applied and visible to a view that is read from now
    /// on, and wakes who waited for it.
    pub(crate) fn advance(&self, index: u64) {
        let reached = {
            let mut waiting = self.lock();
            self.applied.store(index, Ordering::Release);
            let later = waiting.waiters.split_off(&(index.saturating_add(1), 0));
            std::mem::replace(&mut waiting.waiters, later)
        };
        for waiter in reached.into_values() {
            // Whoever gave up waiting does not need to know.
            let _ = waiter.send(());
        }
    }

    /// Waits until `index` is applied; false when that did not happen by `deadline`.
    pub(crate) async fn reach(&self, index: u64, deadline: Instant) -> bool {
        if self.applied() >= index {
            return true;
        }
        let (reached, ticket) = {
            let mut waiting = self.lock();
            // Under the lock, so that an advance in between is not missed.
            if self.applied() >= index {
                return true;
            }
            let (sender, reached) = oneshot::channel();
            waiting.tickets += 1;
            let ticket = (index, waiting.tickets);
            waiting.waiters.insert(ticket, sender);
            (reached, ticket)
        };
        let _forget = Forget {
            progress: self,
            ticket,
        };
        matches!(tokio::time::timeout_at(deadline, reached).await, Ok(Ok(())))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a waiter out again when it stops waiting, for whatever reason.
struct Forget<'a> {
    progress: &'a Progress,
    ticket: (u64, u64),
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.progress.lock().waiters.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_who_is_reached_is_woken_and_nobody_is_forgotten() {
        let progress = Progress::default();
        progress.advance(3);
        let soon = Instant::now() + Duration::from_millis(10);
        assert!(progress.reach(3, soon).await);
        assert!(!progress.reach(4, soon).await);
        assert!(progress.lock().waiters.is_empty(), "it gave up and left");
        let late = Instant::now() + Duration::from_secs(10);
        let advancing = async {
            tokio::task::yield_now().await;
            assert_eq!(progress.lock().waiters.len(), 2);
            progress.advance(5);
            assert_eq!(progress.lock().waiters.len(), 1);
            progress.advance(9);
        };
        let (near, far, ()) =
            tokio::join!(progress.reach(5, late), progress.reach(7, late), advancing);
        assert!(near && far);
        assert!(progress.lock().waiters.is_empty());
    }
}
