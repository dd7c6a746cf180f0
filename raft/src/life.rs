//! One life of openraft on the stores: who may still touch them, and how its end is awaited.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

/// Held by everything that may still touch the stores: when the last one is dropped, the stores may
/// be used anew.
#[derive(Clone)]
pub(crate) struct Alive {
    _holder: mpsc::Sender<Infallible>,
    is_over: Arc<AtomicBool>,
}

/// The other end, for whoever ends this life.
pub(crate) struct Ended {
    holders: mpsc::Receiver<Infallible>,
    is_over: Arc<AtomicBool>,
}

/// A new life.
pub(crate) fn life() -> (Alive, Ended) {
    let (holder, holders) = mpsc::channel(1);
    let is_over = Arc::new(AtomicBool::new(false));
    let alive = Alive {
        _holder: holder,
        is_over: Arc::clone(&is_over),
    };
    (alive, Ended { holders, is_over })
}

impl Alive {
    /// Nobody wants what takes long any more: its holder is to break it off.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Ended {
    /// Calls off what takes long, and waits until nothing touches the stores any more.
    pub(crate) async fn let_go(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // No message is ever sent: this returns when the last holder is gone.
        while self.holders.recv().await.is_some() {}
    }
}
