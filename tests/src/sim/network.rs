//! The wire between nodes: what is sent comes late, in another order, after its sender's death, or
//! not at all.
//!
//! It keeps what QUIC keeps: nothing is doubled or damaged, requests of the log lane and the parts
//! of a transfer keep their order, and a node that died has no open connections any more. Packets
//! move only when the driver says so, between the turns of the nodes.
mod link;
mod plug;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use transport::network::{Error, Lane, PeerId, Refusal, Service};

pub(crate) use self::link::{Cut, Link};
pub(crate) use self::plug::Plug;
use super::clock;
use super::dice::Dice;
use super::invariants::Watch;
use super::trace::{Trace, note, stamp};
use super::wire;

/// Chunks of one transfer that wait for their receiver.
const CHUNKS_WAITING: usize = 4_096;

/// What a request or a transfer came to, for the one who asked.
type Outcome = Result<Result<Bytes, Refusal>, &'static str>;

/// Something on its way.
enum Load {
    Ask {
        call: u64,
        service: Service,
        body: Bytes,
        left: Duration,
    },
    Answer {
        call: u64,
        outcome: Outcome,
        /// Whose vote was asked for, if it was one.
        vote: Option<wire::Vote>,
    },
    Head {
        call: u64,
        service: Service,
        head: Bytes,
    },
    /// None: that was all.
    Chunk {
        call: u64,
        chunk: Option<Bytes>,
    },
    Abort {
        call: u64,
    },
}

struct Packet {
    from: u64,
    to: u64,
    /// Which life of the receiver it is for.
    life: u64,
    load: Load,
}

/// A node that is plugged in.
struct Socket {
    life: u64,
    handle: Handle,
    plug: Arc<Plug>,
}

/// The network. Clones share it.
#[derive(Clone)]
pub(crate) struct Net {
    trace: Trace,
    watch: Watch,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dice: Dice,
    /// What every link is like that is not said to be otherwise.
    usual: Link,
    links: BTreeMap<(u64, u64), Link>,
    sockets: BTreeMap<u64, Socket>,
    /// By when they arrive, then in the order in which they were sent.
    packets: BTreeMap<(u64, u64), Packet>,
    /// What a cut holds back.
    held: Vec<Packet>,
    sent: u64,
    calls: u64,
    lives: u64,
    waiting: BTreeMap<u64, (u64, oneshot::Sender<Outcome>)>,
    /// By call: where its chunks go, and who sends them.
    streams: BTreeMap<u64, (u64, mpsc::Sender<Result<Bytes, Error>>)>,
    /// When the last packet of an ordered lane arrives.
    ordered: BTreeMap<(u64, u64), u64>,
}

impl Net {
    pub(crate) fn new(trace: Trace, watch: Watch, dice: Dice, usual: Link) -> Self {
        Self {
            trace,
            watch,
            inner: Arc::new(Mutex::new(Inner {
                dice,
                usual,
                links: BTreeMap::new(),
                sockets: BTreeMap::new(),
                packets: BTreeMap::new(),
                held: Vec::new(),
                sent: 0,
                calls: 0,
                lives: 0,
                waiting: BTreeMap::new(),
                streams: BTreeMap::new(),
                ordered: BTreeMap::new(),
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic ends the run.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plugs a node in, whose tasks run on `handle`.
    pub(crate) fn plug(&self, node: u64, handle: Handle) -> Arc<Plug> {
        let mut inner = self.lock();
        inner.lives += 1;
        let life = inner.lives;
        let plug = Arc::new(Plug::new(self.clone(), node, life));
        let socket = Socket {
            life,
            handle,
            plug: Arc::clone(&plug),
        };
        inner.sockets.insert(node, socket);
        plug
    }

    /// Unplugs a node, as its death does. What it sent is still on its way.
    pub(crate) fn unplug(&self, node: u64) {
        let mut inner = self.lock();
        inner.sockets.remove(&node);
        inner.waiting.retain(|_, (owner, _)| *owner != node);
        let broken: Vec<u64> = inner
            .streams
            .iter()
            .filter(|(_, (sender, _))| *sender == node)
            .map(|(call, _)| *call)
            .collect();
        for call in broken {
            inner.abort(call, node);
        }
    }

    pub(crate) fn set_link(&self, from: u64, to: u64, link: Link) {
        self.lock().links.insert((from, to), link);
    }

    pub(crate) fn link(&self, from: u64, to: u64) -> Link {
        self.lock().link(from, to)
    }

    /// Every link is as usual again; what cuts held back is on its way once more.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.links.clear();
        for packet in std::mem::take(&mut inner.held) {
            inner.put(packet);
        }
    }

    /// Hands over what has arrived by now.
    pub(crate) fn deliver(&self) {
        loop {
            let packet = {
                let mut inner = self.lock();
                let now = clock::now_ms();
                match inner.packets.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            self.arrive(packet);
        }
    }

    fn arrive(&self, packet: Packet) {
        let (from, to) = (packet.from, packet.to);
        let what = packet.load.describe();
        let (handle, plug) = {
            let mut inner = self.lock();
            match inner.link(from, to).cut {
                Cut::No => {}
                Cut::Holding => {
                    note!(self.trace, "hold {from}>{to} {what}");
                    inner.held.push(packet);
                    return;
                }
                Cut::Silent | Cut::Refusing => {
                    note!(self.trace, "drop {from}>{to} {what}");
                    inner.break_stream(&packet.load);
                    return;
                }
            }
            match inner.sockets.get(&to) {
                Some(socket) if socket.life == packet.life => {
                    (socket.handle.clone(), Arc::clone(&socket.plug))
                }
                _ => {
                    note!(self.trace, "late {from}>{to} {what}");
                    return;
                }
            }
        };
        note!(self.trace, "come {from}>{to} {what}");
        self.hand_over(packet, &handle, plug);
    }

    fn hand_over(&self, packet: Packet, handle: &Handle, plug: Arc<Plug>) {
        let from = packet.from;
        match packet.load {
            Load::Ask {
                call,
                service,
                body,
                left,
            } => {
                handle.spawn(plug.answer(from, call, service, body, left));
            }
            Load::Answer {
                call,
                outcome,
                vote,
            } => {
                if let (Some(vote), Ok(Ok(body))) = (vote, &outcome)
                    && wire::is_granted(body) == Ok(true)
                {
                    self.watch.granted(from, vote);
                }
                if let Some((_, waiter)) = self.lock().waiting.remove(&call) {
                    // Whoever gave up waiting does not need to know.
                    drop(waiter.send(outcome));
                }
            }
            Load::Head {
                call,
                service,
                head,
            } => {
                let (chunks, received) = mpsc::channel(CHUNKS_WAITING);
                let mut inner = self.lock();
                inner.streams.insert(call, (from, chunks));
                if !inner.waiting.contains_key(&call) {
                    // Its sender is dead or gave up: the connection tells so in time.
                    let load = Load::Abort { call };
                    inner.put(Packet {
                        from,
                        to: packet.to,
                        life: packet.life,
                        load,
                    });
                }
                drop(inner);
                handle.spawn(plug.receive(from, call, service, head, received));
            }
            Load::Chunk { call, chunk } => self.chunk(call, chunk),
            Load::Abort { .. } => self.lock().break_stream(&packet.load),
        }
    }

    fn chunk(&self, call: u64, chunk: Option<Bytes>) {
        let mut inner = self.lock();
        let Some(chunk) = chunk else {
            inner.streams.remove(&call);
            return;
        };
        let is_taken = inner
            .streams
            .get(&call)
            .is_some_and(|(_, chunks)| chunks.try_send(Ok(chunk)).is_ok());
        if !is_taken {
            inner.streams.remove(&call);
        }
    }

    /// Sends a request, or the beginning of a transfer; none when there is no way to the peer.
    fn call(
        &self,
        plug: &Plug,
        to: u64,
        load: impl FnOnce(u64) -> Load,
    ) -> Option<(u64, oneshot::Receiver<Outcome>)> {
        let mut inner = self.lock();
        let from = plug.node();
        if inner.socket_life(from) != Some(plug.life()) {
            return None;
        }
        let life = inner.socket_life(to)?;
        let link = inner.link(from, to);
        if link.cut == Cut::Refusing {
            return None;
        }
        inner.calls += 1;
        let call = inner.calls;
        let (sender, outcome) = oneshot::channel();
        inner.waiting.insert(call, (from, sender));
        if inner.dice.in_thousand(link.breaks) {
            // The connection breaks: the request may have got through, its answer does not.
            let is_through = inner.dice.roll(2) == 0;
            let own = inner.socket_life(from).unwrap_or_default();
            let load_back = Load::Answer {
                call,
                outcome: Err("the connection broke"),
                vote: None,
            };
            inner.put(Packet {
                from: to,
                to: from,
                life: own,
                load: load_back,
            });
            if !is_through {
                return Some((call, outcome));
            }
        }
        let load = load(call);
        note!(self.trace, "send {from}>{to} {}", load.describe());
        inner.put(Packet {
            from,
            to,
            life,
            load,
        });
        Some((call, outcome))
    }

    fn send(&self, plug: &Plug, to: u64, load: Load) {
        let mut inner = self.lock();
        let from = plug.node();
        if inner.socket_life(from) != Some(plug.life()) {
            return;
        }
        let Some(life) = inner.socket_life(to) else {
            return;
        };
        note!(self.trace, "send {from}>{to} {}", load.describe());
        inner.put(Packet {
            from,
            to,
            life,
            load,
        });
    }

    fn forget(&self, call: u64) {
        self.lock().waiting.remove(&call);
    }

    /// How long a dial to somebody who does not answer takes.
    fn dial_ms(&self) -> u64 {
        let mut inner = self.lock();
        if inner.dice.roll(2) == 0 {
            0
        } else {
            inner.dice.between(20, 300)
        }
    }
}

impl Inner {
    fn link(&self, from: u64, to: u64) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    fn socket_life(&self, node: u64) -> Option<u64> {
        self.sockets.get(&node).map(|socket| socket.life)
    }

    fn put(&mut self, packet: Packet) {
        let (from, to) = (packet.from, packet.to);
        let link = self.link(from, to);
        let mut at = clock::now_ms() + link.takes_ms(&mut self.dice);
        if packet.load.is_ordered() {
            let last = self.ordered.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        self.sent += 1;
        self.packets.insert((at, self.sent), packet);
    }

    /// Tells the receiver of a transfer that a part of it will not come.
    fn break_stream(&mut self, part: &Load) {
        let (Load::Chunk { call, .. } | Load::Abort { call }) = part else {
            return;
        };
        if let Some((sender, chunks)) = self.streams.remove(call) {
            // A receiver that is gone does not need to know.
            drop(chunks.try_send(Err(lost(PeerId(sender), "the stream broke"))));
        }
    }

    /// Tells the receiver of a transfer that it broke off, when it is noticed.
    fn abort(&mut self, call: u64, from: u64) {
        let receivers: Vec<(u64, u64)> = self
            .sockets
            .iter()
            .filter(|(node, _)| **node != from)
            .map(|(node, socket)| (*node, socket.life))
            .collect();
        for (to, life) in receivers {
            self.put(Packet {
                from,
                to,
                life,
                load: Load::Abort { call },
            });
        }
    }
}

impl Load {
    fn is_ordered(&self) -> bool {
        match self {
            Load::Ask { service, .. } => service.lane == Lane::Log,
            Load::Answer { .. } => false,
            Load::Head { .. } | Load::Chunk { .. } | Load::Abort { .. } => true,
        }
    }

    fn describe(&self) -> String {
        match self {
            Load::Ask {
                call,
                service,
                body,
                ..
            } => format!("#{call} {} {:08x}", service.name, stamp(body) >> 32),
            Load::Answer { call, outcome, .. } => match outcome {
                Ok(Ok(body)) => format!("#{call} answer {:08x}", stamp(body) >> 32),
                Ok(Err(Refusal(why))) => format!("#{call} refused {why}"),
                Err(why) => format!("#{call} nothing {why}"),
            },
            Load::Head { call, service, .. } => format!("#{call} {} begins", service.name),
            Load::Chunk { call, chunk } => {
                format!("#{call} chunk {:?}", chunk.as_ref().map(Bytes::len))
            }
            Load::Abort { call } => format!("#{call} breaks off"),
        }
    }
}

fn lost(peer: PeerId, why: &str) -> Error {
    Error::NoAnswer {
        peer,
        why: why.to_owned(),
    }
}
