//! The network's twin in memory: the same seam without sockets, certificates or lost packets, for
//! tests and simulation. With tokio's paused clock it takes no time either.
//!
//! A [`Hub`] is the wire. Each direction between two nodes has a [`Link`] that a test can slow down
//! or cut while everything runs.
use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::counters::Counters;
use crate::network::{Error, Handlers, Lane, Message, Network, PeerId, Refusal, Sent, Service};
use crate::order::begin;

const INBOX: usize = 1024;
const CHUNKS_WAITING: usize = 4;

/// What is wrong with one direction of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Requests fail at once, as when the last dial failed a moment ago.
    Unreachable,
    /// Everything vanishes: requests time out, their fate unknown.
    Silent,
}

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub fault: Fault,
    pub delay: Duration,
}

/// The wire between all nodes of a test.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<Wire>>);

#[derive(Default)]
struct Wire {
    nodes: HashMap<PeerId, Arc<Node>>,
    links: HashMap<(PeerId, PeerId), Link>,
}

struct Node {
    peer: PeerId,
    /// `None` until the node serves, and after it stopped.
    handlers: watch::Sender<Option<Handlers>>,
    inbox: mpsc::Sender<Message>,
    /// Log requests begin one after the other.
    log: tokio::sync::Mutex<()>,
}

impl Hub {
    pub fn new() -> Hub {
        Hub::default()
    }

    /// Plugs a node in. One that has this id already is unplugged: it crashed and comes back.
    pub fn join(&self, peer: PeerId) -> Arc<MemoryNetwork> {
        let (inbox, messages) = mpsc::channel(INBOX);
        let node = Arc::new(Node {
            peer,
            handlers: watch::Sender::new(None),
            inbox,
            log: tokio::sync::Mutex::new(()),
        });
        lock(&self.0).nodes.insert(peer, node.clone());
        Arc::new(MemoryNetwork {
            hub: self.clone(),
            node,
            addresses: Mutex::default(),
            messages: Mutex::new(Some(messages)),
            counters: Counters::new(),
        })
    }

    /// Unplugs a node, as a crash does: nobody reaches it, and what it sends goes nowhere.
    pub fn leave(&self, peer: PeerId) {
        lock(&self.0).nodes.remove(&peer);
    }

    /// Changes the direction from `from` to `to`.
    pub fn set_link(&self, from: PeerId, to: PeerId, link: Link) {
        lock(&self.0).links.insert((from, to), link);
    }

    /// Cuts both directions between two nodes, silently.
    pub fn cut(&self, one: PeerId, other: PeerId) {
        for (from, to) in [(one, other), (other, one)] {
            let link = Link {
                fault: Fault::Silent,
                ..self.link(from, to)
            };
            self.set_link(from, to, link);
        }
    }

    /// Makes every direction whole and fast again.
    pub fn heal(&self) {
        lock(&self.0).links.clear();
    }

    fn link(&self, from: PeerId, to: PeerId) -> Link {
        lock(&self.0)
            .links
            .get(&(from, to))
            .copied()
            .unwrap_or_default()
    }

    fn node(&self, peer: PeerId) -> Option<Arc<Node>> {
        lock(&self.0).nodes.get(&peer).cloned()
    }

    fn is_plugged_in(&self, node: &Arc<Node>) -> bool {
        self.node(node.peer)
            .is_some_and(|current| Arc::ptr_eq(&current, node))
    }

    /// Gets one thing across; false when it vanished or took until after `until`.
    async fn cross(&self, from: &Arc<Node>, to: &Arc<Node>, until: Instant) -> bool {
        let link = self.link(from.peer, to.peer);
        if link.fault != Fault::None || !self.is_plugged_in(from) || !self.is_plugged_in(to) {
            return false;
        }
        // Sleeping for no time at all would still cost a millisecond.
        link.delay.is_zero() || timeout_at(until, sleep(link.delay)).await.is_ok()
    }
}

/// One node's end of a [`Hub`].
pub struct MemoryNetwork {
    hub: Hub,
    node: Arc<Node>,
    addresses: Mutex<HashMap<PeerId, SocketAddr>>,
    messages: Mutex<Option<mpsc::Receiver<Message>>>,
    counters: Counters,
}

impl MemoryNetwork {
    /// The peer, as far as this node can know whether it is there.
    fn dial(&self, peer: PeerId) -> Result<Arc<Node>, Error> {
        let fault = self.hub.link(self.node.peer, peer).fault;
        let is_possible = peer != self.node.peer
            && fault != Fault::Unreachable
            && self.hub.is_plugged_in(&self.node);
        let node = self.hub.node(peer).filter(|_| is_possible);
        let why = "no connection".to_owned();
        node.ok_or(Error::Unreachable { peer, why })
    }
}

#[async_trait]
impl Network for MemoryNetwork {
    fn me(&self) -> PeerId {
        self.node.peer
    }

    fn local_addr(&self) -> SocketAddr {
        address_of(self.node.peer)
    }

    fn set_address(&self, peer: PeerId, address: SocketAddr) {
        lock(&self.addresses).insert(peer, address);
    }

    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        lock(&self.addresses).get(&peer).copied()
    }

    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        self.counters.count_request(service.lane);
        let until = Instant::now() + within;
        let node = self.dial(peer)?;
        if self.hub.cross(&self.node, &node, until).await {
            // As in the real network the handler goes on when the caller goes away.
            let handling = handle(node.clone(), self.node.peer, service, body, until);
            if let Ok(Some(answer)) = tokio::spawn(handling).await
                && self.hub.cross(&node, &self.node, until).await
            {
                return answer.map_err(|Refusal(why)| Error::Refused { peer, why });
            }
        }
        sleep_until(until).await;
        Err(lost(peer))
    }

    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        mut chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        self.counters.count_transfer();
        let node = self.dial(peer)?;
        let (parts, relayed) = mpsc::channel(CHUNKS_WAITING);
        let receiving = receive(node.clone(), self.node.peer, service, head, relayed);
        let mut receiving = tokio::spawn(receiving);
        let send = async {
            loop {
                let part = timeout(stalled, chunks.recv()).await.ok()?;
                let (is_last, until) = (part.is_none(), Instant::now() + stalled);
                if !self.hub.cross(&self.node, &node, until).await {
                    sleep_until(until).await;
                    return None;
                }
                // A receiver that wants no more is about to answer.
                let sent = timeout_at(until, parts.send(part)).await.ok()?;
                if is_last || sent.is_err() {
                    return Some(());
                }
            }
        };
        let answer = tokio::select! {
            early = &mut receiving => Some(early),
            sent = send => match sent {
                Some(()) => timeout(stalled, receiving).await.ok(),
                None => None,
            },
        };
        let until = Instant::now() + stalled;
        match answer {
            Some(Ok(Some(answer))) if self.hub.cross(&node, &self.node, until).await => {
                answer.map_err(|Refusal(why)| Error::Refused { peer, why })
            }
            _ => Err(lost(peer)),
        }
    }

    fn message(&self, address: SocketAddr, body: Bytes) {
        self.counters.count_message();
        let (hub, from) = (self.hub.clone(), self.node.clone());
        let nodes = lock(&hub.0).nodes.values().cloned().collect::<Vec<_>>();
        let Some(to) = nodes
            .into_iter()
            .find(|node| address_of(node.peer) == address)
        else {
            return;
        };
        let (from_peer, own) = (from.peer, self.local_addr());
        // Judged now: what was sent into a cut wire does not come out when it is healed.
        if hub.link(from_peer, to.peer).fault != Fault::None {
            return;
        }
        tokio::spawn(async move {
            let until = Instant::now() + Duration::from_secs(60);
            if hub.cross(&from, &to, until).await {
                // Best effort, as on the real network.
                let _ = to.inbox.try_send(Message {
                    from: from_peer,
                    address: own,
                    body,
                });
            }
        });
    }

    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        lock(&self.messages).take()
    }

    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        let there = self.hub.link(self.node.peer, peer).delay;
        let back = self.hub.link(peer, self.node.peer).delay;
        self.hub.node(peer).map(|_| there + back)
    }

    fn sent(&self) -> Sent {
        self.counters.sent()
    }

    fn serve(&self, handlers: Handlers) {
        self.node.handlers.send_replace(Some(handlers));
    }

    async fn close(&self) {
        if self.hub.is_plugged_in(&self.node) {
            self.hub.leave(self.node.peer);
        }
        self.node.handlers.send_replace(None);
    }
}

async fn handlers(node: &Node) -> Option<Handlers> {
    let mut handlers = node.handlers.subscribe();
    handlers.wait_for(Option::is_some).await.ok()?.clone()
}

async fn handle(
    node: Arc<Node>,
    from: PeerId,
    service: Service,
    body: Bytes,
    until: Instant,
) -> Option<Result<Bytes, Refusal>> {
    let handlers = timeout_at(until, handlers(&node)).await.ok()??;
    let Some(handler) = find(&handlers.requests, service) else {
        return Some(Err(unknown(service)));
    };
    let turn = match service.lane {
        Lane::Log => Some(node.log.lock().await),
        Lane::Urgent | Lane::Forward | Lane::Bulk => None,
    };
    let left = until.saturating_duration_since(Instant::now());
    let begun = begin(handler.handle(from, body, left)).await;
    drop(turn);
    timeout_at(until, begun).await.ok()
}

/// The receiving end of a transfer: `Some` parts are chunks, `None` is the end; a wire that just
/// falls silent was broken off.
async fn receive(
    node: Arc<Node>,
    from: PeerId,
    service: Service,
    head: Bytes,
    mut relayed: mpsc::Receiver<Option<Bytes>>,
) -> Option<Result<Bytes, Refusal>> {
    let handlers = handlers(&node).await?;
    let Some(receiver) = find(&handlers.transfers, service) else {
        return Some(Err(unknown(service)));
    };
    let (chunks, rest) = mpsc::channel(CHUNKS_WAITING);
    let relay = async move {
        loop {
            let chunk = match relayed.recv().await {
                Some(Some(chunk)) => Ok(chunk),
                Some(None) => return,
                None => Err(lost(from)),
            };
            let is_last = chunk.is_err();
            if chunks.send(chunk).await.is_err() || is_last {
                return;
            }
        }
    };
    let mut receiving = receiver.receive(from, head, rest);
    tokio::select! {
        answer = &mut receiving => Some(answer),
        () = relay => Some(receiving.await),
    }
}

fn find<T: ?Sized>(table: &[(Service, Arc<T>)], service: Service) -> Option<&Arc<T>> {
    let entry = table
        .iter()
        .find(|(known, _)| known.number == service.number);
    entry.map(|(_, handler)| handler)
}

fn unknown(service: Service) -> Refusal {
    Refusal(format!("service {} is not known here", service.number))
}

fn lost(peer: PeerId) -> Error {
    let why = "the time was up".to_owned();
    Error::NoAnswer { peer, why }
}

/// Every node has an address of its own, made from its id.
pub fn address_of(peer: PeerId) -> SocketAddr {
    let ip = (0xfd_u128 << 120) | u128::from(peer.0);
    SocketAddr::from((Ipv6Addr::from_bits(ip), 1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a whole one, so a poisoned lock is as good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
