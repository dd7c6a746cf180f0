//! How clients find nodes: over a network of their own, to whichever process listens just now.
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use raft::replica::Replica;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::host::{Answer, Host, Running};

/// What a client hears.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Answer(Answer),
    /// Nobody listened: certainly nothing was done.
    Refused,
    /// The connection broke, or nothing came in time: anything may have been done.
    Nothing,
}

#[derive(Clone)]
struct Door {
    handle: Handle,
    running: Running,
}

/// All doors. Clones share them.
#[derive(Clone)]
pub(crate) struct Doors {
    open: Arc<Mutex<BTreeMap<u64, Door>>>,
    dice: Arc<Mutex<Dice>>,
}

impl Doors {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            open: Arc::default(),
            dice: Arc::new(Mutex::new(dice)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Door>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll(&self, low: u64, high: u64) -> u64 {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.between(low, high)
    }

    /// Opens or closes a host's door, as it stands.
    pub(crate) fn look(&self, host: &Host) {
        let mut open = self.lock();
        let (Some(handle), Some(running)) = (host.handle(), host.running()) else {
            open.remove(&host.id);
            return;
        };
        open.insert(host.id, Door { handle, running });
    }

    /// Who listens.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.lock().keys().copied().collect()
    }

    fn door(&self, node: u64) -> Option<Door> {
        self.lock().get(&node).cloned()
    }

    /// Does something with a node's replica, on the node.
    pub(crate) async fn on<T, F>(
        &self,
        node: u64,
        deed: impl FnOnce(Replica) -> F + Send + 'static,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let door = self.door(node)?;
        let doing = door.handle.spawn(async move {
            let replica = door.running.replica;
            deed(replica).await
        });
        doing.await.ok()
    }

    /// Asks a node over HTTP.
    pub(crate) async fn ask(
        &self,
        node: u64,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Heard {
        sleep(Duration::from_millis(self.roll(0, 4))).await;
        let Some(door) = self.door(node) else {
            return Heard::Refused;
        };
        let mut asking = door.handle.spawn((door.running.front)(request));
        drop(door);
        match timeout(patience, &mut asking).await {
            Ok(Ok(Ok(answer))) => {
                sleep(Duration::from_millis(self.roll(0, 4))).await;
                Heard::Answer(answer)
            }
            // The node died with it, or its answer broke off.
            Ok(Ok(Err(_)) | Err(_)) => Heard::Nothing,
            Err(_) => {
                // The server notices that its client is gone, or it does not.
                if self.roll(0, 1) == 0 {
                    asking.abort();
                }
                Heard::Nothing
            }
        }
    }
}
