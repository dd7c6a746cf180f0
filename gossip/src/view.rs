//! Turns chitchat's state into members, and what this node tells into chitchat's state.
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chitchat::{Chitchat, ChitchatHandle, ChitchatId, NodeState};
use tokio::sync::watch;
use transport::network::{Network, PeerId};

use crate::members::{Member, Members, Told};

/// Follows chitchat's state and publishes it as members.
pub(crate) struct Follower {
    pub(crate) handle: Arc<ChitchatHandle>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) interval: Duration,
    pub(crate) seeds: Arc<Mutex<HashSet<SocketAddr>>>,
    pub(crate) told: watch::Receiver<Told>,
    pub(crate) publish: watch::Sender<Arc<Members>>,
}

impl Follower {
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut generations = std::collections::BTreeMap::new();
        loop {
            let told = tokio::select! {
                changed = self.told.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
                _ = ticks.tick() => false,
            };
            let told = told.then(|| self.told.borrow_and_update().clone());
            let (members, newest) = {
                let chitchat = self.handle.chitchat();
                let mut chitchat = chitchat.lock().await;
                if let Some(told) = &told {
                    write(chitchat.self_node_state(), told);
                }
                read(&chitchat, &*self.network)
            };
            self.seek_others(&members);
            self.learn_addresses(&members, &newest, &mut generations);
            self.publish.send_if_modified(|known| {
                let is_changed = **known != members;
                if is_changed {
                    *known = Arc::new(members);
                }
                is_changed
            });
        }
    }

    /// Alone? Then whoever was ever known is spoken to: chitchat itself only asks its first seeds.
    fn seek_others(&self, members: &Members) {
        let is_alone = members
            .values()
            .all(|member| member.peer == self.network.me() || !member.is_alive);
        if !is_alone {
            return;
        }
        let seeds = self.seeds.lock().expect("nothing panics under it");
        for seed in seeds
            .iter()
            .filter(|seed| **seed != self.network.local_addr())
        {
            if let Err(error) = self.handle.gossip(*seed) {
                tracing::debug!(%error, "gossip is stopping");
            }
        }
    }

    /// A node that is new, or that started again somewhere else, is dialled where it says it is.
    fn learn_addresses(
        &self,
        members: &Members,
        newest: &std::collections::BTreeMap<PeerId, u64>,
        generations: &mut std::collections::BTreeMap<PeerId, u64>,
    ) {
        for (peer, generation) in newest {
            let is_new = generations.insert(*peer, *generation) != Some(*generation);
            if is_new
                && *peer != self.network.me()
                && let Some(member) = members.get(peer)
                && self.network.address(*peer) != Some(member.address)
            {
                self.network.set_address(*peer, member.address);
            }
        }
        let mut seeds = self.seeds.lock().expect("nothing panics under it");
        seeds.extend(
            members
                .values()
                .filter(|member| member.peer != self.network.me())
                .map(|member| member.address),
        );
    }
}

/// The members, and the newest generation of each.
fn read(
    chitchat: &Chitchat,
    network: &dyn Network,
) -> (Members, std::collections::BTreeMap<PeerId, u64>) {
    let alive: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let mut members = Members::new();
    let mut newest = std::collections::BTreeMap::new();
    for (id, state) in chitchat.node_states() {
        let Ok(peer) = id.node_id.parse().map(PeerId) else {
            tracing::warn!(node = %id.node_id, "gossip names a node whose id is no number");
            continue;
        };
        // An earlier life of the same node.
        if newest
            .get(&peer)
            .is_some_and(|known| *known > id.generation_id)
        {
            continue;
        }
        newest.insert(peer, id.generation_id);
        let is_me = peer == network.me();
        members.insert(
            peer,
            Member {
                peer,
                address: id.gossip_advertise_addr,
                is_alive: is_me || alive.contains(id),
                told: told(state),
                round_trip: if is_me {
                    None
                } else {
                    network.round_trip(peer)
                },
            },
        );
    }
    (members, newest)
}

mod key {
    pub(super) const HTTP: &str = "http";
    pub(super) const ZONE: &str = "zone";
    pub(super) const ROLE: &str = "role";
    pub(super) const VERSION: &str = "version";
    pub(super) const APPLIED: &str = "applied";
    pub(super) const LOAD: &str = "load";
    pub(super) const DISK: &str = "disk";
    pub(super) const CLOCK: &str = "clock";
}

/// Setting what is set already changes nothing, so only what changed travels.
fn write(state: &mut NodeState, told: &Told) {
    state.set(key::HTTP, &told.http_url);
    state.set(key::ZONE, &told.zone);
    state.set(key::ROLE, &told.role);
    state.set(key::VERSION, &told.version);
    state.set(key::APPLIED, told.applied);
    state.set(key::LOAD, told.load);
    state.set(key::DISK, told.disk_free_bytes);
    state.set(key::CLOCK, told.clock_ms);
}

/// What a node told; what it did not tell, or in a way that is not understood, is left at zero.
fn told(state: &NodeState) -> Told {
    let text = |key| state.get(key).unwrap_or_default().to_owned();
    fn number<T: std::str::FromStr + Default>(state: &NodeState, key: &str) -> T {
        state
            .get(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }
    Told {
        http_url: text(key::HTTP),
        zone: text(key::ZONE),
        role: text(key::ROLE),
        version: text(key::VERSION),
        applied: number(state, key::APPLIED),
        load: number(state, key::LOAD),
        disk_free_bytes: number(state, key::DISK),
        clock_ms: number(state, key::CLOCK),
    }
}
