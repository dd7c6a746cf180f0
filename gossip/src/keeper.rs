//! The task behind a handle: keeps chitchat running, and keeps the members up to date from it.
//!
//! Whether a node is alive is judged here and not by chitchat's own detector. That one counts
//! reports, of which a node gets more per round the more nodes there are, so its idea of "too long"
//! shrinks as a cluster grows. Here a node is dead when its heartbeat has not grown for
//! [`ROUNDS_MISSED`] rounds, the same for three nodes and for fifty.
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, Heartbeat,
    NodeState, spawn_chitchat,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use transport::network::{Network, PeerId};

use crate::handle::{Options, add};
use crate::members::{Member, Members, Told};
use crate::wire::{Wire, peer};

/// A node whose heartbeat has not grown for so many rounds is dead.
const ROUNDS_MISSED: u32 = 6;
/// But never sooner than this: a busy machine may stop breathing for a second.
const DEAD_AFTER_MIN: Duration = Duration::from_secs(2);
/// chitchat's own detector decides only whom to gossip with, and may take its time.
const PHI: f64 = 24.0;
/// Set by every node from its first moment: a state without it has not arrived yet.
const FORMAT_KEY: &str = "format";
const FORMAT: &str = "1";

pub(crate) struct Keeper {
    options: Options,
    network: Arc<dyn Network>,
    wire: Wire,
    seeds: Arc<Mutex<BTreeSet<SocketAddr>>>,
    publish: watch::Sender<Arc<Members>>,
}

/// What is remembered from round to round.
#[derive(Default)]
struct Memory {
    sightings: HashMap<PeerId, Sighting>,
    /// The generation whose address was given to the network.
    placed: HashMap<PeerId, u64>,
    next_seed: usize,
    has_warned_of_twin: bool,
}

/// When a node's heartbeat was last seen to grow.
struct Sighting {
    generation: u64,
    heartbeat: Heartbeat,
    grew: Option<Instant>,
}

/// One generation of a node, as chitchat has it.
struct State {
    peer: PeerId,
    id: ChitchatId,
    heartbeat: Heartbeat,
    told: Told,
}

/// Why a chitchat is no longer kept.
enum End {
    Stopped,
    Broken(String),
}

impl Keeper {
    pub(crate) fn new(
        options: Options,
        network: Arc<dyn Network>,
        wire: Wire,
        seeds: Arc<Mutex<BTreeSet<SocketAddr>>>,
        publish: watch::Sender<Arc<Members>>,
    ) -> Keeper {
        Keeper {
            options,
            network,
            wire,
            seeds,
            publish,
        }
    }

    pub(crate) async fn spawn(&self) -> anyhow::Result<ChitchatHandle> {
        let (interval, address) = (self.options.interval, self.network.local_addr());
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(
                self.network.me().to_string(),
                self.options.generation,
                address,
            ),
            cluster_id: self.options.cluster_id.clone(),
            gossip_interval: interval,
            listen_addr: address,
            // Seeds are knocked at by this task: chitchat's cannot be added to.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: PHI,
                initial_interval: interval,
                dead_node_grace_period: self.options.dead_grace,
                ..FailureDetectorConfig::default()
            },
            marked_for_deletion_grace_period: self.options.dead_grace,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let keys = vec![(FORMAT_KEY.to_owned(), FORMAT.to_owned())];
        spawn_chitchat(config, keys, &self.wire).await
    }

    /// Returns when told to stop, when no handle is left, or when the network is closed.
    pub(crate) async fn run(
        mut self,
        first: ChitchatHandle,
        mut told: watch::Receiver<Option<Told>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut chitchat = first;
        let mut memory = Memory::default();
        loop {
            let end = self
                .keep(&chitchat, &mut memory, &mut told, &mut stop)
                .await;
            // Its task ends with the handle's; what it says then was said already.
            let _ = chitchat.shutdown().await;
            match end {
                End::Stopped => return,
                End::Broken(_) if self.wire.is_closed() => return,
                End::Broken(why) => tracing::error!(why, "gossip broke, starting it again"),
            }
            // The others know this generation's versions already.
            self.options.generation += 1;
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(self.options.interval) => {}
            }
            chitchat = match self.spawn().await {
                Ok(chitchat) => chitchat,
                Err(error) => {
                    tracing::error!(%error, "gossip cannot start again");
                    return;
                }
            };
            told.mark_changed();
        }
    }

    async fn keep(
        &self,
        chitchat: &ChitchatHandle,
        memory: &mut Memory,
        told: &mut watch::Receiver<Option<Told>>,
        stop: &mut watch::Receiver<bool>,
    ) -> End {
        let mut rounds = interval(self.options.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let ended = chitchat.termination_watcher();
        tokio::pin!(ended);
        let mut news = chitchat
            .with_chitchat(|chitchat| chitchat.live_nodes_watcher())
            .await;
        loop {
            tokio::select! {
                () = stopped(stop) => return End::Stopped,
                ended = &mut ended => {
                    return match ended {
                        Ok(()) => End::Broken("its task ended".into()),
                        Err(error) => End::Broken(error.to_string()),
                    };
                }
                Ok(()) = told.changed() => {
                    let told = told.borrow_and_update().clone();
                    if let Some(told) = told {
                        chitchat.with_chitchat(|chitchat| tell(chitchat, &told)).await;
                    }
                }
                Ok(()) = news.changed() => {}
                _ = rounds.tick() => self.knock(chitchat, memory),
            }
            self.look(chitchat, memory).await;
        }
    }

    /// Gossips with one seed that is not a living member: so clusters that were torn apart, or that
    /// this node has never met, are found again.
    fn knock(&self, chitchat: &ChitchatHandle, memory: &mut Memory) {
        let own = self.network.local_addr();
        let members = self.publish.borrow().clone();
        let is_met = |seed: &SocketAddr| {
            let mut living = members.values().filter(|member| member.is_alive);
            *seed == own || living.any(|member| member.address == *seed)
        };
        let strange: Vec<SocketAddr> = {
            let seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
            seeds.iter().copied().filter(|seed| !is_met(seed)).collect()
        };
        if strange.is_empty() {
            return;
        }
        memory.next_seed = (memory.next_seed + 1) % strange.len();
        if let Err(error) = chitchat.gossip(strange[memory.next_seed]) {
            tracing::debug!(%error, "no gossip with a seed");
        }
    }

    /// Brings the members up to date.
    async fn look(&self, chitchat: &ChitchatHandle, memory: &mut Memory) {
        let (states, twin) = chitchat
            .with_chitchat(|chitchat| (newest_states(chitchat), twin(chitchat)))
            .await;
        if let Some(address) = twin
            && !std::mem::replace(&mut memory.has_warned_of_twin, true)
        {
            let node = self.network.me();
            tracing::error!(%node, %address, "another process gossips as this node; was its data directory copied?");
        }
        let me = self.network.me();
        let now = Instant::now();
        memory.sightings.retain(|peer, _| states.contains_key(peer));
        let mut members = Members::new();
        for state in states.into_values() {
            let is_me = state.peer == me;
            let is_alive = is_me || memory.is_alive(&state, now, self.dead_after());
            if is_alive && !is_me {
                self.place(&state, memory);
            }
            let member = Member {
                peer: state.peer,
                address: if is_me {
                    self.network.local_addr()
                } else {
                    state.id.gossip_advertise_addr
                },
                is_alive,
                told: state.told,
                round_trip: if is_me {
                    None
                } else {
                    self.network.round_trip(state.peer)
                },
            };
            members.insert(member.peer, member);
        }
        self.publish.send_if_modified(|current| {
            let is_news = **current != members;
            if is_news {
                *current = Arc::new(members);
            }
            is_news
        });
    }

    /// Tells the network where a living node is, once per generation: afterwards whoever knows
    /// better may say otherwise.
    fn place(&self, state: &State, memory: &mut Memory) {
        let (peer, generation) = (state.peer, state.id.generation_id);
        if memory
            .placed
            .get(&peer)
            .is_some_and(|placed| *placed >= generation)
        {
            return;
        }
        memory.placed.insert(peer, generation);
        let address = state.id.gossip_advertise_addr;
        if self.network.address(peer) != Some(address) {
            tracing::info!(%peer, %address, "gossip says where a node is");
            self.network.set_address(peer, address);
        }
        // Once two sides have forgotten each other's dead, only seeds bring them together again.
        add(&self.seeds, vec![address]);
    }

    fn dead_after(&self) -> Duration {
        DEAD_AFTER_MIN.max(self.options.interval.saturating_mul(ROUNDS_MISSED))
    }
}

impl Memory {
    fn is_alive(&mut self, state: &State, now: Instant, dead_after: Duration) -> bool {
        let fresh = || Sighting {
            generation: state.id.generation_id,
            heartbeat: state.heartbeat,
            // What is heard of for the first time may be long dead.
            grew: None,
        };
        let sighting = self.sightings.entry(state.peer).or_insert_with(fresh);
        if sighting.generation != state.id.generation_id {
            *sighting = fresh();
        }
        if sighting.heartbeat < state.heartbeat {
            sighting.heartbeat = state.heartbeat;
            sighting.grew = Some(now);
        }
        sighting.grew.is_some_and(|grew| now - grew < dead_after)
    }
}

/// Waits until the handles say stop, or until none is left.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that no handle is left.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Says what this node tells.
fn tell(chitchat: &mut Chitchat, told: &Told) {
    let state = chitchat.self_node_state();
    for (key, value) in told.keys() {
        // Setting what is set already changes nothing, so only what changed travels.
        state.set(key, value);
    }
}

/// Where a later start of this very node lives, if there is one.
fn twin(chitchat: &Chitchat) -> Option<SocketAddr> {
    let own = chitchat.self_chitchat_id();
    let mut ids = chitchat.node_states().keys();
    let twin = ids.find(|id| id.node_id == own.node_id && id.generation_id > own.generation_id)?;
    Some(twin.gossip_advertise_addr)
}

/// The newest generation of every node whose state has arrived; of this node, its own.
fn newest_states(chitchat: &Chitchat) -> HashMap<PeerId, State> {
    let own = chitchat.self_chitchat_id();
    let mut newest: HashMap<PeerId, State> = HashMap::new();
    for (id, state) in chitchat.node_states() {
        if id.node_id == own.node_id && id != own {
            continue;
        }
        let Some(state) = read(id, state) else {
            continue;
        };
        let is_older = newest
            .get(&state.peer)
            .is_some_and(|known| known.id.generation_id > id.generation_id);
        if !is_older {
            newest.insert(state.peer, state);
        }
    }
    newest
}

fn read(id: &ChitchatId, state: &NodeState) -> Option<State> {
    state.get(FORMAT_KEY)?;
    Some(State {
        peer: peer(id)?,
        id: id.clone(),
        heartbeat: state.heartbeat(),
        told: Told::from_keys(|key| state.get(key)),
    })
}
