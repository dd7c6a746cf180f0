//! The handle that everyone else holds: tells, watches, stops.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use transport::network::Network;

use crate::keeper::Keeper;
use crate::members::{Members, Told};
use crate::wire::Wire;

/// Addresses that gossip tries, given and learned; more are not taken.
const SEEDS_MAX: usize = 256;
/// Shorter rounds than this would be nothing but gossip.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What gossip is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes of another cluster are not listened to.
    pub cluster_id: String,
    /// Time between two rounds: 200 to 500 ms in one place, 1 s between continents.
    pub interval: Duration,
    /// How long a dead node is remembered.
    pub dead_grace: Duration,
    /// Cluster endpoints to begin with. Being one of them oneself is fine.
    pub seeds: Vec<SocketAddr>,
    /// Grows with every start of this node, e.g. the time in ms.
    pub generation: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cluster_id: String::new(),
            interval: Duration::from_millis(500),
            dead_grace: Duration::from_secs(15 * 60),
            seeds: Vec::new(),
            generation: 0,
        }
    }
}

/// Why gossip cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the network's messages were taken by someone else; gossip needs them all")]
    MessagesTaken,
    #[error("gossip cannot start: {0}")]
    Chitchat(anyhow::Error),
}

/// Taking part in the cluster's gossip. Cheap to clone; goes on until [`Gossip::stop`] or until the
/// last handle is dropped.
#[derive(Clone)]
pub struct Gossip {
    inner: Arc<Inner>,
}

struct Inner {
    told: watch::Sender<Option<Told>>,
    members: watch::Receiver<Arc<Members>>,
    seeds: Arc<Mutex<BTreeSet<SocketAddr>>>,
    stop: watch::Sender<bool>,
    /// Closed when the keeper has ended.
    ended: watch::Receiver<()>,
}

impl Gossip {
    /// Begins to gossip over `network`, as the node that it is, at the address where others reach
    /// it. Takes all its messages.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(mut options: Options, network: Arc<dyn Network>) -> Result<Gossip, Error> {
        let inbox = network.messages().ok_or(Error::MessagesTaken)?;
        options.interval = options.interval.max(INTERVAL_MIN);
        let (told, told_here) = watch::channel(None);
        let (publish, members) = watch::channel(Arc::new(Members::new()));
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = watch::channel(());
        let seeds = Arc::new(Mutex::new(BTreeSet::new()));
        add(&seeds, std::mem::take(&mut options.seeds));
        let wire = Wire::new(network.clone(), inbox);
        let keeper = Keeper::new(options, network, wire, seeds.clone(), publish);
        let first = keeper.spawn().await.map_err(Error::Chitchat)?;
        tokio::spawn(async move {
            keeper.run(first, told_here, stopped).await;
            drop(ending);
        });
        Ok(Gossip {
            inner: Arc::new(Inner {
                told,
                members,
                seeds,
                stop,
                ended,
            }),
        })
    }

    /// All nodes that gossip knows, this one included; brought up to date every round.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.inner.members.clone()
    }

    /// Tells the others how this node stands. Only what changed travels; the latest counts.
    pub fn tell(&self, told: Told) {
        self.inner.told.send_if_modified(|current| {
            let is_news = current.as_ref() != Some(&told);
            *current = Some(told);
            is_news
        });
    }

    /// Names further addresses where nodes of this cluster may be.
    pub fn add_seeds(&self, seeds: Vec<SocketAddr>) {
        add(&self.inner.seeds, seeds);
    }

    /// Stops taking part. The others see this node die when they miss it.
    pub async fn stop(&self) {
        self.inner.stop.send_replace(true);
        let mut ended = self.inner.ended.clone();
        // An error says that the sender is gone, which is the end waited for.
        while ended.changed().await.is_ok() {}
    }
}

/// Adds to a bounded set of addresses.
pub(crate) fn add(known: &Mutex<BTreeSet<SocketAddr>>, seeds: Vec<SocketAddr>) {
    // Every change is a whole one, so a poisoned lock is as good.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    for seed in seeds {
        if known.len() < SEEDS_MAX {
            known.insert(seed);
        } else if !known.contains(&seed) {
            tracing::warn!(%seed, limit = SEEDS_MAX, "too many seeds, this one is not used");
        }
    }
}
