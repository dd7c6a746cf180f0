//! Who waits for a chat message, and is woken when one is applied on this node.
//!
//! The log is the bus: nothing is asked of other nodes, wherever a message came in. One task listens
//! for all, and only while somebody waits.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::event::Event;
use model::id::UserId;
use raft::replica::{Applied, Replica};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Who wrote to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) from: UserId,
    pub(crate) to: UserId,
}

/// All who wait on this node. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// Each with at least one who waits.
    ways: HashMap<Way, watch::Sender<()>>,
    count: usize,
    is_listening: bool,
}

/// One who waits: for the way both ways, so that also what the waiter itself wrote elsewhere counts.
#[derive(Debug)]
pub(crate) struct Waiter {
    arrivals: Arrivals,
    way: Way,
    arrived: watch::Receiver<()>,
}

impl Arrivals {
    /// Begins to wait, unless `most` wait already. What is applied from now on wakes the waiter, so
    /// whoever looks after this misses nothing.
    pub(crate) fn wait(&self, replica: &Replica, way: Way, most: usize) -> Option<Waiter> {
        let way = way.sorted();
        let mut waiting = self.lock();
        if waiting.count >= most {
            return None;
        }
        waiting.count += 1;
        let sender = waiting.ways.entry(way).or_default();
        let arrived = sender.subscribe();
        if !waiting.is_listening {
            waiting.is_listening = true;
            let events = replica.events();
            tokio::spawn(self.clone().listen(events));
        }
        Some(Waiter {
            arrivals: self.clone(),
            way,
            arrived,
        })
    }

    /// Wakes whom it concerns until nobody waits any more.
    async fn listen(self, mut events: Receiver<Arc<Applied>>) {
        loop {
            let heard = events.recv().await;
            let is_last = matches!(heard, Err(RecvError::Closed));
            let mut waiting = self.lock();
            match heard {
                Ok(applied) if !applied.is_replaced => waiting.wake(&applied.events),
                // What was missed may be for anybody.
                Ok(_) | Err(RecvError::Lagged(_) | RecvError::Closed) => waiting.wake_all(),
            }
            if is_last || waiting.count == 0 {
                waiting.is_listening = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    /// One of the two directions stands for both.
    fn sorted(self) -> Self {
        Self {
            from: self.from.min(self.to),
            to: self.from.max(self.to),
        }
    }
}

impl Waiting {
    fn wake(&self, events: &[Event]) {
        for event in events {
            if let Event::MessagePosted { from, to, .. } = *event
                && let Some(waiters) = self.ways.get(&Way { from, to }.sorted())
            {
                waiters.send_replace(());
            }
        }
    }

    fn wake_all(&self) {
        for waiters in self.ways.values() {
            waiters.send_replace(());
        }
    }
}

impl Waiter {
    /// Until something happened since the last call, or since the waiting began.
    pub(crate) async fn woken(&mut self) {
        // Its sender stays as long as this waiter does.
        let _ = self.arrived.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.arrivals.lock();
        waiting.count -= 1;
        let ways = &mut waiting.ways;
        // This one is still counted.
        if ways
            .get(&self.way)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            ways.remove(&self.way);
        }
    }
}
