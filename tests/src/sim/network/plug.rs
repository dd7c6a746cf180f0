//! A node's end of the wire.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use transport::memory::address_of;
use transport::network::{
    Error, Handlers, Lane, Message, Network, PeerId, Receiver, Refusal, Sent, Service,
};
use transport::order::begin;

use super::{Load, Net, Outcome, lost};
use crate::sim::wire;

/// One life of a node on the network.
pub(crate) struct Plug {
    net: Net,
    node: u64,
    life: u64,
    addresses: Mutex<BTreeMap<PeerId, SocketAddr>>,
    handlers: watch::Sender<Option<Handlers>>,
    /// Log requests of one peer begin one after the other.
    turns: Mutex<BTreeMap<u64, Arc<tokio::sync::Mutex<()>>>>,
}

impl Plug {
    pub(super) fn new(net: Net, node: u64, life: u64) -> Self {
        Self {
            net,
            node,
            life,
            addresses: Mutex::default(),
            handlers: watch::Sender::new(None),
            turns: Mutex::default(),
        }
    }

    pub(super) fn node(&self) -> u64 {
        self.node
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    async fn handlers(&self) -> Option<Handlers> {
        let mut handlers = self.handlers.subscribe();
        handlers.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn turn(&self, from: u64) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(from).or_default())
    }

    /// The side of the one who is asked.
    pub(super) async fn answer(
        self: Arc<Self>,
        from: u64,
        call: u64,
        service: Service,
        body: Bytes,
        left: Duration,
    ) {
        let until = Instant::now() + left;
        let vote = (service.number == wire::VOTE)
            .then(|| wire::asked_vote(&body).ok())
            .flatten();
        let answer = timeout_at(until, self.handle(from, service, body, until)).await;
        let outcome = match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err("it was late"),
        };
        self.reply(from, call, outcome, vote);
    }

    async fn handle(
        &self,
        from: u64,
        service: Service,
        body: Bytes,
        until: Instant,
    ) -> Option<Result<Bytes, Refusal>> {
        let handlers = self.handlers().await?;
        let known = handlers
            .requests
            .iter()
            .find(|(known, _)| known.number == service.number);
        let Some((_, handler)) = known else {
            return Some(Err(Refusal("no such service".to_owned())));
        };
        let turn = self.turn(from);
        let turn = match service.lane {
            Lane::Log => Some(turn.lock().await),
            Lane::Urgent | Lane::Forward | Lane::Bulk => None,
        };
        let left = until.saturating_duration_since(Instant::now());
        let begun = begin(handler.handle(PeerId(from), body, left)).await;
        drop(turn);
        Some(begun.await)
    }

    /// The side of the one who is sent a transfer.
    pub(super) async fn receive(
        self: Arc<Self>,
        from: u64,
        call: u64,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Result<Bytes, Error>>,
    ) {
        let Some(handlers) = self.handlers().await else {
            return;
        };
        let known: Option<Arc<dyn Receiver>> = handlers
            .transfers
            .iter()
            .find(|(known, _)| known.number == service.number)
            .map(|(_, receiver)| Arc::clone(receiver));
        let answer = match known {
            Some(receiver) => receiver.receive(PeerId(from), head, chunks).await,
            None => Err(Refusal("no such service".to_owned())),
        };
        self.reply(from, call, Ok(answer), None);
    }

    fn reply(&self, to: u64, call: u64, outcome: Outcome, vote: Option<wire::Vote>) {
        let load = Load::Answer {
            call,
            outcome,
            vote,
        };
        self.net.send(self, to, load);
    }

    async fn unreachable(&self, peer: PeerId, within: Duration) -> Error {
        let dial = Duration::from_millis(self.net.dial_ms()).min(within);
        if !dial.is_zero() {
            sleep(dial).await;
        }
        Error::Unreachable {
            peer,
            why: "no connection".to_owned(),
        }
    }
}

fn conclude(peer: PeerId, outcome: Outcome) -> Result<Bytes, Error> {
    match outcome {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Refusal(why))) => Err(Error::Refused { peer, why }),
        Err(why) => Err(lost(peer, why)),
    }
}

/// Forgets a call when whoever made it stops waiting; breaks its stream off, if it has one.
struct Forget<'a> {
    plug: &'a Plug,
    call: u64,
    stream_to: Option<u64>,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.plug.net.forget(self.call);
        if let Some(to) = self.stream_to {
            let load = Load::Abort { call: self.call };
            self.plug.net.send(self.plug, to, load);
        }
    }
}

async fn waited(peer: PeerId, answer: oneshot::Receiver<Outcome>) -> Result<Bytes, Error> {
    match answer.await {
        Ok(outcome) => conclude(peer, outcome),
        Err(_) => Err(lost(peer, "this node is gone")),
    }
}

#[async_trait]
impl Network for Plug {
    fn me(&self) -> PeerId {
        PeerId(self.node)
    }

    fn local_addr(&self) -> SocketAddr {
        address_of(PeerId(self.node))
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
        let ask = |call| Load::Ask {
            call,
            service,
            body,
            left: within,
        };
        let Some((call, answer)) = self.net.call(self, peer.0, ask) else {
            return Err(self.unreachable(peer, within).await);
        };
        let _forget = Forget {
            plug: self,
            call,
            stream_to: None,
        };
        match timeout(within, waited(peer, answer)).await {
            Ok(answer) => answer,
            Err(_) => Err(lost(peer, "the time was up")),
        }
    }

    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        mut chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        let begin = |call| Load::Head {
            call,
            service,
            head,
        };
        let Some((call, answer)) = self.net.call(self, peer.0, begin) else {
            return Err(self.unreachable(peer, stalled).await);
        };
        let mut forget = Forget {
            plug: self,
            call,
            stream_to: Some(peer.0),
        };
        let sending = async {
            loop {
                let Ok(chunk) = timeout(stalled, chunks.recv()).await else {
                    return;
                };
                let is_last = chunk.is_none();
                self.net.send(self, peer.0, Load::Chunk { call, chunk });
                if is_last {
                    return;
                }
                // As fast as a slow line: so that a crash finds it half way.
                sleep(Duration::from_millis(1)).await;
            }
        };
        let answered = waited(peer, answer);
        tokio::pin!(answered);
        tokio::select! {
            biased;
            early = &mut answered => {
                if !matches!(early, Err(Error::NoAnswer { .. })) {
                    forget.stream_to = None;
                }
                return early;
            }
            () = sending => {}
        }
        let answer = timeout(stalled, answered).await;
        if matches!(answer, Ok(Ok(_) | Err(Error::Refused { .. }))) {
            forget.stream_to = None;
        }
        answer.unwrap_or_else(|_| Err(lost(peer, "the time was up")))
    }

    fn message(&self, _address: SocketAddr, _body: Bytes) {
        // Gossip gives hints only, and the simulator does without it.
    }

    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        None
    }

    fn round_trip(&self, _peer: PeerId) -> Option<Duration> {
        None
    }

    fn sent(&self) -> Sent {
        Sent::default()
    }

    fn serve(&self, handlers: Handlers) {
        self.handlers.send_replace(Some(handlers));
    }

    async fn close(&self) {
        self.net.unplug(self.node);
    }
}
