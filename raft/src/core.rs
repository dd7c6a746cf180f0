//! What the parts of one replica share.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::cluster;
use storage::log::LogStore;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use transport::network::Network;

use crate::barrier;
use crate::clock::Clock;
use crate::codec;
use crate::machine::Bench;
use crate::options::{Options, Parts};
use crate::outbox::Outgoing;
use crate::position::{Position, Told};
use crate::progress::Progress;
use crate::replica::{Error, Reading, Status};
use crate::snapshot::Durability;
use crate::stamp::Stamps;
use crate::status;
use crate::types::Raft;
use crate::waiting::Waiting;

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
}

/// Whether openraft runs.
pub(crate) enum Running {
    Raft(Raft),
    Restarting,
    /// Why it will not run again in this process.
    Stopped(String),
}

/// What a session position is checked with.
#[derive(Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) epoch: u32,
    pub(crate) key: [u8; 32],
}

pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) log: Arc<dyn LogStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stamps: Stamps,
    pub(crate) bench: Arc<Bench>,
    pub(crate) running: RwLock<Running>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) status: watch::Sender<Status>,
    /// True once this node has applied all that was committed before it started.
    pub(crate) is_recovered: watch::Sender<bool>,
    pub(crate) is_disk_low: AtomicBool,
    /// At the leader: so many voters are low on disk that no write could be committed.
    pub(crate) is_quorum_low: AtomicBool,
    /// One place for each write of this node's clients.
    pub(crate) places: Semaphore,
    pub(crate) proposals: mpsc::Sender<Waiting>,
    pub(crate) outbox: mpsc::Sender<Outgoing>,
    pub(crate) barriers: mpsc::Sender<barrier::Waiting>,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) told: Told,
    seal: Mutex<Option<Seal>>,
}

impl Core {
    pub(crate) fn new(
        options: Options,
        parts: Parts,
        proposals: mpsc::Sender<Waiting>,
        outbox: mpsc::Sender<Outgoing>,
        barriers: mpsc::Sender<barrier::Waiting>,
    ) -> Self {
        let bench = Bench {
            durability: Arc::new(Durability::new(Arc::clone(&parts.state), options.blocking)),
            state: parts.state,
            progress: Progress::default(),
            events: broadcast::Sender::new(options.limits.events_waiting_max.max(1)),
            room: parts.room,
            applied_bytes: AtomicU64::new(0),
        };
        Self {
            places: Semaphore::new(options.limits.writes_max.min(Semaphore::MAX_PERMITS)),
            options,
            network: parts.network,
            log: parts.log,
            clock: parts.clock,
            stamps: Stamps::default(),
            bench: Arc::new(bench),
            running: RwLock::new(Running::Restarting),
            leadership: watch::Sender::default(),
            status: watch::Sender::new(status::before_start()),
            is_recovered: watch::Sender::default(),
            is_disk_low: AtomicBool::default(),
            is_quorum_low: AtomicBool::default(),
            proposals,
            outbox,
            barriers,
            stopping: watch::Sender::default(),
            told: Told::default(),
            seal: Mutex::default(),
        }
    }

    pub(crate) fn me(&self) -> u64 {
        self.options.node.0
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.options.timing.heartbeat_ms)
    }

    /// How long an election may take when all goes well.
    pub(crate) fn election(&self) -> Duration {
        Duration::from_millis(2 * self.options.timing.election_max_ms)
    }

    /// openraft, while it runs.
    pub(crate) fn raft(&self) -> Result<Raft, Error> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        match &*running {
            Running::Raft(raft) => Ok(raft.clone()),
            Running::Restarting => Err(self.unavailable("this replica is restarting")),
            Running::Stopped(why) => Err(Error::Stopped { why: why.clone() }),
        }
    }

    pub(crate) fn set_running(&self, running: Running) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = running;
    }

    pub(crate) fn stopped(&self) -> Option<String> {
        match &*self.running.read().unwrap_or_else(PoisonError::into_inner) {
            Running::Stopped(why) => Some(why.clone()),
            Running::Raft(_) | Running::Restarting => None,
        }
    }

    pub(crate) fn leader(&self) -> Leadership {
        *self.leadership.borrow()
    }

    pub(crate) fn is_disk_low(&self) -> bool {
        self.is_disk_low.load(Ordering::Relaxed)
    }

    /// Certainly nothing was done, and a moment later it may go.
    pub(crate) fn unavailable(&self, why: impl Into<String>) -> Error {
        Error::Unavailable {
            why: why.into(),
            retry_after: self.heartbeat() * 2,
        }
    }

    /// What this node has applied.
    pub(crate) fn reading(&self) -> Result<Reading, Error> {
        let fault = |why: String| Error::Stopped { why };
        let reading = self
            .bench
            .state
            .read()
            .map_err(|fault_| fault(fault_.to_string()))?;
        let index =
            codec::marker_index(&reading.marker).map_err(|error| fault(error.to_string()))?;
        let epoch = self.seal_of(&reading.view)?.map_or(0, |seal| seal.epoch);
        Ok(Reading {
            view: reading.view,
            position: Position { epoch, index },
        })
    }

    /// The key and epoch of positions; none before this node has applied the cluster's founding.
    pub(crate) fn seal(&self) -> Result<Option<Seal>, Error> {
        match self.known_seal() {
            Some(seal) => Ok(Some(seal)),
            None => self.reading().map(|_| self.known_seal()),
        }
    }

    fn known_seal(&self) -> Option<Seal> {
        *self.seal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal_of(&self, view: &storage::state::SharedView) -> Result<Option<Seal>, Error> {
        if let Some(seal) = self.known_seal() {
            return Ok(Some(seal));
        }
        let identity = cluster::identity(view).map_err(|fault| Error::Stopped {
            why: fault.to_string(),
        })?;
        let seal = identity.map(|identity| Seal {
            epoch: identity.epoch,
            key: identity.position_key,
        });
        // Never changes again: a cluster that is restored with another epoch is started anew.
        if seal.is_some() {
            *self.seal.lock().unwrap_or_else(PoisonError::into_inner) = seal;
        }
        Ok(seal)
    }
}
