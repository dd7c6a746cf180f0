//! Where peers are and the connection to each: dialled on demand, one dial at a time.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{ClientConfig, Connection};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::codes;
use crate::counters::Counters;
use crate::identity::{cluster_name, node_name};
use crate::link::Link;
use crate::network::PeerId;
use crate::tls;

/// How long a handshake may take: several lost packets on a slow line.
const DIAL_TIME: Duration = Duration::from_millis(1500);
/// While a peer that could not be reached is dialled again, requests wait no longer than this.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a failed dial the next waits this long, doubled up to [`BACKOFF_MAX`]; meanwhile requests
/// fail at once.
const BACKOFF_MIN: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// Addresses of peers whose id is not known yet.
const STRANGERS_MAX: usize = 1024;

type Dialled = Option<Result<Arc<Link>, String>>;

/// Makes connections as this node.
pub(crate) struct Dialler {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: ClientConfig,
    pub(crate) cluster_id: String,
    pub(crate) me: PeerId,
    pub(crate) counters: Arc<Counters>,
}

impl Dialler {
    /// Dials `address`; TLS checks that `expected` lives there, or else any node of this cluster.
    async fn dial(&self, address: SocketAddr, expected: Option<PeerId>) -> Result<Link, String> {
        let name = match expected {
            Some(peer) => node_name(&self.cluster_id, peer),
            None => cluster_name(&self.cluster_id),
        };
        let connecting = self
            .endpoint
            .connect_with(self.config.clone(), address, &name)
            .map_err(|error| error.to_string())?;
        let connection = timeout(DIAL_TIME, connecting)
            .await
            .map_err(|_| format!("{address} does not answer"))?
            .map_err(|error| format!("{address}: {error}"))?;
        let peer = self.check(&connection, expected).inspect_err(|why| {
            connection.close(codes::STRANGER, why.as_bytes());
        })?;
        self.counters.connections_dialled.increment(1);
        Ok(Link::new(peer, connection, self.counters.clone()))
    }

    fn check(&self, connection: &Connection, expected: Option<PeerId>) -> Result<PeerId, String> {
        let peer = tls::proven_peer(connection, &self.cluster_id).map_err(|e| e.to_string())?;
        match expected {
            Some(expected) if expected != peer => {
                Err(format!("node {peer} lives there, not node {expected}"))
            }
            _ if peer == self.me => Err("this node itself lives there".into()),
            _ => Ok(peer),
        }
    }
}

/// All routes of one node.
pub(crate) struct Routes {
    dialler: Arc<Dialler>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    peers: HashMap<PeerId, Arc<Route>>,
    addresses: HashMap<SocketAddr, PeerId>,
    strangers: HashMap<SocketAddr, Arc<Route>>,
}

impl Routes {
    pub(crate) fn new(dialler: Arc<Dialler>) -> Routes {
        Routes {
            dialler,
            book: Mutex::default(),
        }
    }

    /// The way to a peer whose address is known.
    pub(crate) fn to_peer(&self, peer: PeerId) -> Option<Arc<Route>> {
        self.book().peers.get(&peer).cloned()
    }

    /// The way to whoever of this cluster lives at `address`; `None` when too many are unknown.
    pub(crate) fn to_address(&self, address: SocketAddr) -> Option<Arc<Route>> {
        let mut book = self.book();
        if let Some(peer) = book.addresses.get(&address) {
            return book.peers.get(peer).cloned();
        }
        if let Some(route) = book.strangers.get(&address) {
            return Some(route.clone());
        }
        if book.strangers.len() >= STRANGERS_MAX {
            book.strangers.retain(|_, route| route.is_in_use());
        }
        if book.strangers.len() >= STRANGERS_MAX {
            return None;
        }
        let route = Arc::new(Route::new(self.dialler.clone(), None, address));
        book.strangers.insert(address, route.clone());
        Some(route)
    }

    /// Where `peer` was last said to be.
    pub(crate) fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.to_peer(peer).map(|route| route.state().address)
    }

    /// Notes where `peer` lives. A changed address drops the old connection.
    pub(crate) fn set_address(&self, peer: PeerId, address: SocketAddr) {
        let mut book = self.book();
        let route = book
            .peers
            .entry(peer)
            .or_insert_with(|| Arc::new(Route::new(self.dialler.clone(), Some(peer), address)));
        let route = route.clone();
        let before = route.move_to(address);
        if book.addresses.get(&before) == Some(&peer) {
            book.addresses.remove(&before);
        }
        book.addresses.insert(address, peer);
        // A connection that was dialled before the peer's id was known goes on being used.
        if let Some(stranger) = book.strangers.remove(&address)
            && let Some(link) = stranger.current()
            && link.peer == peer
        {
            route.adopt(link);
        }
    }

    /// The open connection to `peer`, if there is one; never dials.
    pub(crate) fn current(&self, peer: PeerId) -> Option<Arc<Link>> {
        self.to_peer(peer)?.current()
    }

    /// Forgets every connection.
    pub(crate) fn clear(&self) {
        let routes = std::mem::take(&mut *self.book());
        drop(routes);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every change is a whole one, so a poisoned lock is as good.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to one peer or address.
pub(crate) struct Route {
    dialler: Arc<Dialler>,
    expected: Option<PeerId>,
    state: Mutex<State>,
}

struct State {
    address: SocketAddr,
    /// Counts moves: a dial that ends after a move is of no use.
    moves: u64,
    failures: u32,
    phase: Phase,
}

enum Phase {
    Idle,
    Dialling(watch::Receiver<Dialled>),
    Up(Arc<Link>),
    Down { until: Instant, why: String },
}

impl State {
    fn fail(&mut self, why: String, backoff: Duration) {
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(address = %self.address, why, failures = self.failures, "no connection");
        self.phase = Phase::Down {
            until: Instant::now() + backoff,
            why,
        };
    }
}

impl Route {
    fn new(dialler: Arc<Dialler>, expected: Option<PeerId>, address: SocketAddr) -> Route {
        Route {
            dialler,
            expected,
            state: Mutex::new(State {
                address,
                moves: 0,
                failures: 0,
                phase: Phase::Idle,
            }),
        }
    }

    /// The connection, dialled if there is none, until `deadline`. Fails at once when the last dial
    /// failed a moment ago.
    pub(crate) async fn link(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Link>, String> {
        let now = Instant::now();
        let (mut outcome, until) = {
            let mut state = self.state();
            let outcome = match &state.phase {
                Phase::Up(link) if link.is_open() => return Ok(link.clone()),
                Phase::Up(link) if link.is_rejected() => {
                    let why = link.why_closed();
                    state.fail(why.clone(), BACKOFF_MAX);
                    return Err(why);
                }
                Phase::Down { until, why } if now < *until => return Err(why.clone()),
                Phase::Dialling(outcome) => outcome.clone(),
                Phase::Idle | Phase::Up(_) | Phase::Down { .. } => self.start_dial(&mut state),
            };
            let patience = if state.failures > 0 {
                PATIENCE
            } else {
                DIAL_TIME
            };
            (outcome, deadline.min(now + patience))
        };
        match timeout_at(until, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err("not dialled".into())),
            Ok(Err(_closed)) => Err("the dial was given up".into()),
            Err(_elapsed) => Err("still dialling".into()),
        }
    }

    fn start_dial(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Dialled> {
        let (announce, outcome) = watch::channel(None);
        state.phase = Phase::Dialling(outcome.clone());
        let (route, address, moves) = (self.clone(), state.address, state.moves);
        tokio::spawn(async move {
            let dialled = route.dialler.dial(address, route.expected).await;
            let dialled = route.conclude(moves, dialled.map(Arc::new));
            // Nobody may be waiting any more.
            announce.send_replace(Some(dialled));
        });
        outcome
    }

    fn conclude(
        &self,
        moves: u64,
        dialled: Result<Arc<Link>, String>,
    ) -> Result<Arc<Link>, String> {
        let mut state = self.state();
        if state.moves != moves {
            return Err("the peer moved meanwhile".into());
        }
        match &dialled {
            Ok(link) => {
                state.failures = 0;
                state.phase = Phase::Up(link.clone());
            }
            Err(why) => {
                let backoff = BACKOFF_MIN * 2_u32.pow(state.failures.min(8));
                state.fail(why.clone(), backoff.min(BACKOFF_MAX));
            }
        }
        dialled
    }

    /// Gives the former address.
    fn move_to(&self, address: SocketAddr) -> SocketAddr {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.address, address);
        if before != address {
            state.moves += 1;
            state.failures = 0;
            if let Phase::Up(link) = std::mem::replace(&mut state.phase, Phase::Idle) {
                link.connection.close(codes::MOVED, b"the peer moved");
            }
        }
        before
    }

    fn adopt(&self, link: Arc<Link>) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Idle | Phase::Down { .. }) {
            state.failures = 0;
            state.phase = Phase::Up(link);
        }
    }

    fn current(&self) -> Option<Arc<Link>> {
        match &self.state().phase {
            Phase::Up(link) if link.is_open() => Some(link.clone()),
            Phase::Up(_) | Phase::Idle | Phase::Dialling(_) | Phase::Down { .. } => None,
        }
    }

    fn is_in_use(&self) -> bool {
        match &self.state().phase {
            Phase::Up(link) => link.is_open(),
            Phase::Dialling(_) => true,
            Phase::Idle | Phase::Down { .. } => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one, so a poisoned lock is as good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
