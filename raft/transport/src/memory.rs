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
    /// `None` until the node serves; closed when it stops.
    handlers: watch::Sender<Option<Handlers>>,
    inbox: mpsc::Sender<Message>,
    /// Log requests of all peers are handled one after the other.
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
        self.wire().nodes.insert(peer, node.clone());
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
        self.wire().nodes.remove(&peer);
    }

    /// Changes the direction from `from` to `to`.
    pub fn set_link(&self, from: PeerId, to: PeerId, link: Link) {
        self.wire().links.insert((from, to), link);
    }

    /// Cuts both directions between two nodes, silently.
    pub fn cut(&self, one: PeerId, other: PeerId) {
        let cut = Link {
            fault: Fault::Silent,
            delay: Duration::ZERO,
        };
        self.set_link(one, other, cut);
        self.set_link(other, one, cut);
    }

    /// Makes every direction whole and fast again.
    pub fn heal(&self) {
        self.wire().links.clear();
    }

    fn link(&self, from: PeerId, to: PeerId) -> Link {
        self.wire()
            .links
            .get(&(from, to))
            .copied()
            .unwrap_or_default()
    }

    fn node(&self, peer: PeerId) -> Option<Arc<Node>> {
        self.wire().nodes.get(&peer).cloned()
    }

    fn is_plugged_in(&self, node: &Arc<Node>) -> bool {
        let wire = self.wire();
        let current = wire.nodes.get(&node.peer);
        current.is_some_and(|current| Arc::ptr_eq(current, node))
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        // Every change is a whole one, so a poisoned lock is as good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Gets one thing across, or says what a sender would see. `until` is when it gives up.
    async fn cross(&self, peer: PeerId, until: Instant) -> Result<Arc<Node>, Error> {
        let unreachable = |why: &str| Error::Unreachable {
            peer,
            why: why.to_owned(),
        };
        if !self.hub.is_plugged_in(&self.node) || peer == self.node.peer {
            return Err(unreachable("not connected"));
        }
        let link = self.hub.link(self.node.peer, peer);
        if link.fault == Fault::Unreachable {
            return Err(unreachable("cut"));
        }
        let node = self
            .hub
            .node(peer)
            .ok_or_else(|| unreachable("no such node"))?;
        if link.fault == Fault::Silent || timeout_at(until, sleep(link.delay)).await.is_err() {
            return Err(vanished(peer, until).await);
        }
        Ok(node)
    }

    /// The way back of an answer.
    async fn cross_back(&self, node: &Arc<Node>, until: Instant) -> Result<(), Error> {
        let link = self.hub.link(node.peer, self.node.peer);
        let both = self.hub.is_plugged_in(node) && self.hub.is_plugged_in(&self.node);
        if !both || link.fault != Fault::None || timeout_at(until, sleep(link.delay)).await.is_err()
        {
            return Err(vanished(node.peer, until).await);
        }
        Ok(())
    }
}

impl Node {
    async fn handlers(&self) -> Option<Handlers> {
        let mut handlers = self.handlers.subscribe();
        let ready = handlers.wait_for(Option::is_some).await;
        ready.ok()?.clone()
    }

    async fn handle(
        self: Arc<Self>,
        from: PeerId,
        service: Service,
        body: Bytes,
        until: Instant,
    ) -> Option<Result<Bytes, Refusal>> {
        let handlers = timeout_at(until, self.handlers()).await.ok()??;
        let found = handlers
            .requests
            .iter()
            .find(|(known, _)| known.number == service.number);
        let Some((_, handler)) = found else {
            return Some(Err(Refusal(format!(
                "service {} is not known here",
                service.name
            ))));
        };
        let turn = match service.lane {
            Lane::Log => Some(self.log.lock().await),
            Lane::Urgent | Lane::Forward | Lane::Bulk => None,
        };
        let left = until.saturating_duration_since(Instant::now());
        let answer = timeout(left, handler.handle(from, body, left)).await.ok();
        drop(turn);
        answer
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
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.insert(peer, address);
    }

    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.get(&peer).copied()
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
        let node = self.cross(peer, until).await?;
        // As in the real network the handler goes on when the caller goes away.
        let handling = node.clone().handle(self.node.peer, service, body, until);
        let answer = match tokio::spawn(handling).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => return Err(vanished(peer, until).await),
        };
        self.cross_back(&node, until).await?;
        answer.map_err(|Refusal(why)| Error::Refused { peer, why })
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
        let node = self.cross(peer, Instant::now() + stalled).await?;
        let (parts, relayed) = mpsc::channel(CHUNKS_WAITING);
        let mut answer = tokio::spawn(receive(
            node.clone(),
            self.node.peer,
            service,
            head,
            relayed,
        ));
        let send = async {
            loop {
                let next = timeout(stalled, chunks.recv()).await;
                let part = next.map_err(|_| lost(peer, "no chunk to send for too long"))?;
                let is_last = part.is_none();
                self.cross(peer, Instant::now() + stalled).await?;
                match timeout(stalled, parts.send(part)).await {
                    Ok(Ok(())) if !is_last => {}
                    // The receiver that wants no more is about to answer.
                    Ok(_) => return Ok(()),
                    Err(_elapsed) => return Err(lost(peer, "the time was up")),
                }
            }
        };
        let early = tokio::select! {
            answer = &mut answer => Some(answer),
            sent = send => { sent?; None }
        };
        let until = Instant::now() + stalled;
        let answer = match early {
            Some(answer) => Ok(answer),
            None => timeout_at(until, answer).await,
        };
        let Ok(Ok(Some(answer))) = answer else {
            return Err(vanished(peer, until).await);
        };
        self.cross_back(&node, until).await?;
        answer.map_err(|Refusal(why)| Error::Refused { peer, why })
    }

    fn message(&self, address: SocketAddr, body: Bytes) {
        self.counters.count_message();
        let SocketAddr::V6(v6) = address else { return };
        let [.., a, b, c, d] = v6.ip().segments();
        let peer = [a, b, c, d]
            .iter()
            .fold(0, |id, &part| (id << 16) | u64::from(part));
        let peer = PeerId(peer);
        let link = self.hub.link(self.node.peer, peer);
        let node = self
            .hub
            .node(peer)
            .filter(|_| self.hub.is_plugged_in(&self.node));
        let (Some(node), Fault::None) = (node, link.fault) else {
            return;
        };
        let message = Message {
            from: self.node.peer,
            address: self.local_addr(),
            body,
        };
        tokio::spawn(async move {
            sleep(link.delay).await;
            // Best effort, as on the real network.
            let _ = node.inbox.try_send(message);
        });
    }

    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.take()
    }

    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        let there = self.hub.link(self.node.peer, peer);
        let back = self.hub.link(peer, self.node.peer);
        self.hub.node(peer).map(|_| there.delay + back.delay)
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

/// The receiving end of a transfer: `Some` parts are chunks, `None` is the end; a wire that just
/// falls silent was broken off.
async fn receive(
    node: Arc<Node>,
    from: PeerId,
    service: Service,
    head: Bytes,
    mut relayed: mpsc::Receiver<Option<Bytes>>,
) -> Option<Result<Bytes, Refusal>> {
    let handlers = node.handlers().await?;
    let found = handlers
        .transfers
        .iter()
        .find(|(known, _)| known.number == service.number);
    let Some((_, receiver)) = found else {
        return Some(Err(Refusal(format!(
            "service {} is not known here",
            service.name
        ))));
    };
    let (chunks, rest) = mpsc::channel(CHUNKS_WAITING);
    let relay = async move {
        loop {
            let chunk = match relayed.recv().await {
                Some(Some(chunk)) => Ok(chunk),
                Some(None) => return,
                None => Err(lost(from, "the transfer broke off")),
            };
            let is_last = chunk.is_err();
            if chunks.send(chunk).await.is_err() || is_last {
                return;
            }
        }
    };
    let receiving = receiver.receive(from, head, rest);
    tokio::pin!(receiving);
    tokio::select! {
        answer = &mut receiving => return Some(answer),
        () = relay => {}
    }
    Some(receiving.await)
}

/// Waits like somebody who gets no answer.
async fn vanished(peer: PeerId, until: Instant) -> Error {
    sleep_until(until).await;
    lost(peer, "the time was up")
}

fn lost(peer: PeerId, why: &str) -> Error {
    Error::NoAnswer {
        peer,
        why: why.to_owned(),
    }
}

/// Every node has an address of its own, made from its id.
pub fn address_of(peer: PeerId) -> SocketAddr {
    let ip = (0xfd_u128 << 120) | u128::from(peer.0);
    SocketAddr::from((Ipv6Addr::from_bits(ip), 1))
}
