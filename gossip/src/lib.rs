//! Who is alive, where, how far and how loaded: chitchat over the cluster's own transport.
//!
//! Gossip is for hints only; membership is decided in the log. Read [`members`] for what is told,
//! then [`Gossip`] for the handle; `socket` carries chitchat's messages over the network seam and
//! `view` turns its state into members.
pub mod members;
mod socket;
mod view;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transport::network::Network;

use crate::members::{Members, Told};
use crate::socket::NetworkTransport;

/// How a node gossips.
#[derive(Clone, Debug)]
pub struct Options {
    pub cluster_id: String,
    /// How often a node talks to some others. All nodes of a cluster should have the same.
    pub interval: Duration,
    /// How long a dead node is still listed.
    pub dead_grace: Duration,
    /// Nodes to talk to first.
    pub seeds: Vec<SocketAddr>,
    /// Must be higher at each start of this node; the wall clock in milliseconds will do.
    pub generation: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster_id: String::new(),
            interval: Duration::from_millis(500),
            dead_grace: Duration::from_secs(15 * 60),
            seeds: Vec::new(),
            generation: 0,
        }
    }
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("gossip cannot start: {0}")]
    Start(String),
}

/// The handle on this node's gossip. Clones share it.
#[derive(Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Arc<ChitchatHandle>,
    /// Taken when gossip stops.
    following: Mutex<Option<JoinHandle<()>>>,
    told: watch::Sender<Told>,
    seeds: Arc<Mutex<HashSet<SocketAddr>>>,
    members: watch::Receiver<Arc<Members>>,
}

impl Gossip {
    /// Starts to gossip over `network`, whose messages it takes.
    ///
    /// # Errors
    /// When somebody took the network's messages before.
    pub async fn start(options: Options, network: Arc<dyn Network>) -> Result<Self, Error> {
        let me = ChitchatId::new(
            network.me().to_string(),
            options.generation,
            network.local_addr(),
        );
        let config = ChitchatConfig {
            chitchat_id: me.clone(),
            cluster_id: options.cluster_id,
            gossip_interval: options.interval,
            listen_addr: network.local_addr(),
            seed_nodes: options.seeds.iter().map(SocketAddr::to_string).collect(),
            failure_detector_config: failure_detector(options.interval, options.dead_grace),
            marked_for_deletion_grace_period: options.dead_grace,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let transport = NetworkTransport::new(network.clone());
        let handle = spawn_chitchat(config, Vec::new(), &transport)
            .await
            .map_err(|error| Error::Start(error.to_string()))?;
        let handle = Arc::new(handle);
        let seeds = Arc::new(Mutex::new(options.seeds.into_iter().collect()));
        let (told, telling) = watch::channel(Told::default());
        let (publish, members) = watch::channel(Arc::default());
        let follower = view::Follower {
            handle: handle.clone(),
            network,
            interval: options.interval,
            seeds: Arc::clone(&seeds),
            told: telling,
            publish,
        };
        let following = tokio::spawn(follower.run());
        Ok(Self {
            shared: Arc::new(Shared {
                handle,
                following: Mutex::new(Some(following)),
                told,
                seeds,
                members,
            }),
        })
    }

    /// All nodes that gossip knows, this one included; changes as they do.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.shared.members.clone()
    }

    /// Says what the others should know of this node from now on. Only what changed is sent.
    pub fn tell(&self, told: Told) {
        self.shared.told.send_replace(told);
    }

    /// Talks to these nodes too, whenever nobody else is known to live.
    pub fn add_seeds(&self, seeds: Vec<SocketAddr>) {
        let mut known = self.shared.seeds.lock().expect("nothing panics under it");
        known.extend(seeds);
    }

    /// Stops and waits until nothing of it runs any more. Further calls do nothing.
    pub async fn stop(&self) {
        let taken = {
            let mut following = self.shared.following.lock();
            following.as_mut().expect("nothing panics under it").take()
        };
        let Some(following) = taken else {
            return;
        };
        following.abort();
        // It was cancelled, which is what it says.
        drop(following.await);
        let ended = self.shared.handle.termination_watcher();
        if let Err(error) = self.shared.handle.initiate_shutdown() {
            tracing::warn!(%error, "gossip had ended before");
            return;
        }
        if let Err(error) = ended.await {
            tracing::warn!(%error, "gossip ended badly");
        }
    }
}

/// A node is called dead after about ten missed rounds.
fn failure_detector(interval: Duration, dead_grace: Duration) -> FailureDetectorConfig {
    FailureDetectorConfig::new(8.0, 1_000, interval * 10, interval * 2, dead_grace)
}
