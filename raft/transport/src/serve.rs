//! The answering side: who may connect, and what becomes of their streams.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::codes;
use crate::endpoint::Shared;
use crate::frame::{
    BODY_BYTES_MAX, Broken, Frame, FrameReader, HEADER_BYTES, Kind, MESSAGE_BYTES_MAX, Outcome,
    VERSION,
};
use crate::join;
use crate::link::priority;
use crate::network::{Handler, Handlers, Lane, Message, PeerId, Receiver, Refusal, Service};
use crate::order::begin;
use crate::tls;
use crate::transfer;
use crate::writer::{Outgoing, write_frames};

/// How long a stranger may take for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Handshakes at once from addresses that have not shown yet that they receive what is sent there;
/// beyond, they have to show it first.
const UNPROVEN_HANDSHAKES: usize = 64;
/// How long a message may take to arrive.
const MESSAGE_TIME: Duration = Duration::from_secs(5);
/// Forwarded requests handled at once, per peer's stream. When all are taken nothing more is read:
/// the sender's stream fills up and its callers wait.
pub const FORWARD_AT_ONCE: usize = 1024;
/// Log requests handled at once, per peer's stream.
pub const LOG_AT_ONCE: usize = 64;
/// Answers that wait for their stream.
pub const ANSWERS_WAITING: usize = 1024;

/// What this node answers to, by service number.
pub struct Table {
    requests: HashMap<u8, (Service, Arc<dyn Handler>)>,
    transfers: HashMap<u8, (Service, Arc<dyn Receiver>)>,
}

impl From<Handlers> for Table {
    fn from(handlers: Handlers) -> Table {
        let number = |service: &Service| service.number;
        let requests = handlers.requests.into_iter();
        let transfers = handlers.transfers.into_iter();
        Table {
            requests: requests.map(|entry| (number(&entry.0), entry)).collect(),
            transfers: transfers.map(|entry| (number(&entry.0), entry)).collect(),
        }
    }
}

/// Whether handlers are there.
#[derive(Clone)]
pub enum Serving {
    /// Not yet: requests wait.
    Later,
    Now(Arc<Table>),
    /// No more.
    Never,
}

impl Serving {
    /// The handlers, as soon as there are any; `None` once there will be none.
    pub async fn table(mut serving: watch::Receiver<Serving>) -> Option<Arc<Table>> {
        let serving = serving
            .wait_for(|serving| !matches!(serving, Serving::Later))
            .await;
        match serving.ok()?.clone() {
            Serving::Now(table) => Some(table),
            Serving::Later | Serving::Never => None,
        }
    }
}

/// Accepts connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    let unproven = Arc::new(Semaphore::new(UNPROVEN_HANDSHAKES));
    while let Some(incoming) = shared.dialler().endpoint.accept().await {
        let permit = unproven.clone().try_acquire_owned().ok();
        if permit.is_none() && !incoming.remote_address_validated() {
            // Costs this node nothing to remember, and a forged address never answers.
            if let Err(error) = incoming.retry() {
                tracing::debug!(%error, "handshake dropped");
            }
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Some((connection, protocol)) = shake_hands(incoming).await {
                drop(permit);
                admit(shared, connection, &protocol).await;
            }
        });
    }
}

async fn shake_hands(incoming: Incoming) -> Option<(Connection, Vec<u8>)> {
    let address = incoming.remote_address();
    let connection = match timeout(HANDSHAKE_TIME, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "handshake failed");
            return None;
        }
        Err(_elapsed) => {
            tracing::debug!(%address, "handshake took too long");
            return None;
        }
    };
    let data = connection
        .handshake_data()?
        .downcast::<HandshakeData>()
        .ok()?;
    Some((connection, data.protocol?))
}

/// Decides what a connection may do. Nothing has been read from it yet.
async fn admit(shared: Arc<Shared>, connection: Connection, protocol: &[u8]) {
    if protocol == tls::JOIN_PROTOCOL {
        join::serve(&shared, connection).await;
        return;
    }
    let dialler = shared.dialler();
    let peer = match tls::proven_peer(&connection, &dialler.cluster_id) {
        Ok(peer) if peer == dialler.me => Err("that is this node's own id".to_owned()),
        Ok(peer) => Ok(peer),
        Err(error) => Err(error.to_string()),
    };
    match peer {
        Ok(peer) => {
            shared.counters().connections_accepted.increment(1);
            serve(shared, connection, peer).await;
        }
        Err(why) => {
            shared.counters().connections_refused.increment(1);
            tracing::warn!(address = %connection.remote_address(), why, "connection refused");
            connection.close(codes::STRANGER, why.as_bytes());
        }
    }
}

/// Takes a peer's streams until its connection ends.
async fn serve(shared: Arc<Shared>, connection: Connection, peer: PeerId) {
    let forward = Arc::new(Semaphore::new(FORWARD_AT_ONCE));
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, receive)) = stream else { break };
                let visit = Visit {
                    shared: shared.clone(),
                    connection: connection.clone(),
                    peer,
                    forward: forward.clone(),
                };
                tokio::spawn(visit.serve(send, receive));
            }
            stream = connection.accept_uni() => {
                let Ok(receive) = stream else { break };
                tokio::spawn(receive_message(shared.clone(), connection.clone(), peer, receive));
            }
        }
    }
    tracing::debug!(%peer, why = ?connection.close_reason(), "connection ended");
}

async fn receive_message(
    shared: Arc<Shared>,
    connection: Connection,
    peer: PeerId,
    mut stream: RecvStream,
) {
    let bytes = match timeout(MESSAGE_TIME, stream.read_to_end(MESSAGE_BYTES_MAX + 1)).await {
        Ok(Ok(bytes)) => Bytes::from(bytes),
        Ok(Err(quinn::ReadToEndError::TooLong)) => {
            let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
            connection.close(codes::MALFORMED, why.as_bytes());
            return;
        }
        // Best effort: who sent it sends another.
        Ok(Err(quinn::ReadToEndError::Read(_))) | Err(_) => return,
    };
    if bytes.first() != Some(&VERSION) {
        connection.close(codes::MALFORMED, b"message version is not known here");
        return;
    }
    shared.counters().messages_received.increment(1);
    let remote = connection.remote_address();
    // A socket for both kinds of addresses shows IPv4 as a part of IPv6.
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    shared.deliver(Message {
        from: peer,
        // What the cluster knows is better than what a packet says: it may have crossed a NAT.
        address: shared.routes().address(peer).unwrap_or(remote),
        body: bytes.slice(1..),
    });
}

/// One stream that a peer opened.
struct Visit {
    shared: Arc<Shared>,
    connection: Connection,
    peer: PeerId,
    forward: Arc<Semaphore>,
}

/// A request and when its sender stops waiting.
pub struct Arrived {
    frame: Frame,
    deadline: Instant,
}

impl From<Frame> for Arrived {
    /// It has arrived now.
    fn from(frame: Frame) -> Arrived {
        let left = Duration::from_millis(frame.left_ms.into());
        Arrived {
            frame,
            deadline: Instant::now() + left,
        }
    }
}

impl Visit {
    async fn serve(self, send: SendStream, receive: RecvStream) {
        let connection = self.connection.clone();
        let served = self.dispatch(send, FrameReader::new(receive)).await;
        if let Err(Broken::Malformed(why)) = served {
            tracing::warn!(peer = %self.peer, why, "malformed frame, closing the connection");
            connection.close(codes::MALFORMED, why.as_bytes());
        }
    }

    async fn dispatch(&self, send: SendStream, mut reader: FrameReader) -> Result<(), Broken> {
        let kind = reader.kind().await?;
        let (lane, priority) = match kind {
            Kind::Urgent => (Lane::Urgent, priority::URGENT),
            Kind::Log => (Lane::Log, priority::LOG),
            Kind::Forward => (Lane::Forward, priority::FORWARD),
            Kind::Bulk | Kind::Transfer => (Lane::Bulk, priority::BULK),
        };
        // Fails on a closed stream only, and then so does the answer.
        let _ = send.set_priority(priority);
        let Some(table) = self.shared.table().await else {
            return Ok(());
        };
        match kind {
            Kind::Urgent | Kind::Bulk => self.serve_one(lane, table, send, reader).await,
            Kind::Log => self.serve_log(table, send, reader).await,
            Kind::Forward => self.serve_forward(table, send, reader).await,
            Kind::Transfer => self.serve_transfer(table, send, reader).await,
        }
    }

    async fn serve_one(
        &self,
        lane: Lane,
        table: Arc<Table>,
        send: SendStream,
        mut reader: FrameReader,
    ) -> Result<(), Broken> {
        let Some(arrived) = self.next(lane, &mut reader).await? else {
            return Ok(());
        };
        let answer = table.answer(self.peer, arrived).await;
        self.answer_one(lane, send, answer).await;
        Ok(())
    }

    /// Begins requests in the order in which they come, none waiting for the one before it, and
    /// answers in that order.
    async fn serve_log(
        &self,
        table: Arc<Table>,
        send: SendStream,
        mut reader: FrameReader,
    ) -> Result<(), Broken> {
        let answers = self.start_answers(Lane::Log, send);
        let mut under_way = FuturesOrdered::new();
        let mut is_open = true;
        while is_open || !under_way.is_empty() {
            let has_place = under_way.len() < LOG_AT_ONCE;
            tokio::select! {
                biased;
                Some(answer) = under_way.next(), if !under_way.is_empty() => {
                    if answers.send(answer).await.is_err() {
                        break; // the connection is gone
                    }
                }
                request = self.next(Lane::Log, &mut reader), if is_open && has_place => {
                    match request? {
                        Some(request) => {
                            let (table, peer) = (Arc::clone(&table), self.peer);
                            let answer = async move { table.answer(peer, request).await };
                            under_way.push_back(begin(answer).await);
                        }
                        None => is_open = false,
                    }
                }
            }
        }
        Ok(())
    }

    /// Many requests at once.
    async fn serve_forward(
        &self,
        table: Arc<Table>,
        send: SendStream,
        mut reader: FrameReader,
    ) -> Result<(), Broken> {
        let answers = self.start_answers(Lane::Forward, send);
        loop {
            let permit = self.forward.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let Some(request) = self.next(Lane::Forward, &mut reader).await? else {
                return Ok(());
            };
            let (table, answers, peer) = (table.clone(), answers.clone(), self.peer);
            tokio::spawn(async move {
                let answer = table.answer(peer, request).await;
                // Fails when the connection is gone; then nobody waits.
                let _ = answers.send(answer).await;
                drop(permit);
            });
        }
    }

    async fn serve_transfer(
        &self,
        table: Arc<Table>,
        send: SendStream,
        mut reader: FrameReader,
    ) -> Result<(), Broken> {
        let Some(Arrived { frame, .. }) = self.next(Lane::Bulk, &mut reader).await? else {
            return Ok(());
        };
        let answer = match table.transfers.get(&frame.code) {
            Some((_, receiver)) => {
                let bytes = &self.shared.counters().lane(Lane::Bulk).bytes_received;
                let received = |count: usize| bytes.increment(count as u64);
                transfer::receive(receiver.clone(), self.peer, frame, &mut reader, received)
                    .await
                    .map_err(Broken::Malformed)?
            }
            None => {
                reader.stop();
                Err(no_service(frame.code))
            }
        };
        self.answer_one(Lane::Bulk, send, outgoing(0, answer)).await;
        Ok(())
    }

    async fn next(&self, lane: Lane, reader: &mut FrameReader) -> Result<Option<Arrived>, Broken> {
        let Some(frame) = reader.next().await? else {
            return Ok(None);
        };
        let lane = self.shared.counters().lane(lane);
        lane.handled.increment(1);
        let bytes = HEADER_BYTES + frame.body.len();
        lane.bytes_received.increment(bytes as u64);
        Ok(Some(frame.into()))
    }

    /// Starts the task that writes a shared stream's answers.
    fn start_answers(&self, lane: Lane, mut send: SendStream) -> mpsc::Sender<Outgoing> {
        let (answers, queue) = mpsc::channel(ANSWERS_WAITING);
        let (shared, peer) = (self.shared.clone(), self.peer);
        tokio::spawn(async move {
            let bytes = &shared.counters().lane(lane).bytes_sent;
            let written = |count: usize| bytes.increment(count as u64);
            if let Err(error) = write_frames(&mut send, queue, |_| true, written).await {
                tracing::debug!(%peer, %error, "answers cannot be written");
            }
        });
        answers
    }

    async fn answer_one(&self, lane: Lane, mut send: SendStream, answer: Outgoing) {
        let (queue, frames) = mpsc::channel(1);
        queue
            .try_send(answer)
            .expect("the queue is new and has room for one");
        drop(queue);
        let bytes = &self.shared.counters().lane(lane).bytes_sent;
        let written = |count: usize| bytes.increment(count as u64);
        if let Err(error) = write_frames(&mut send, frames, |_| true, written).await {
            tracing::debug!(peer = %self.peer, %error, "nobody waits for the answer");
        }
    }
}

impl Table {
    /// Lets the handler answer, as long as the sender waits.
    pub async fn answer(&self, from: PeerId, request: Arrived) -> Outgoing {
        let Arrived { frame, deadline } = request;
        let Some((service, handler)) = self.requests.get(&frame.code) else {
            return outgoing(frame.number, Err(no_service(frame.code)));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, handler.handle(from, frame.body, left)).await {
            Ok(answer) => outgoing(frame.number, answer),
            Err(_elapsed) => {
                tracing::debug!(%from, service = service.name, ?left, "handler was late");
                Outgoing {
                    code: Outcome::Late as u8,
                    number: frame.number,
                    deadline: None,
                    body: Bytes::new(),
                }
            }
        }
    }
}

fn no_service(number: u8) -> Refusal {
    Refusal(format!(
        "service {number} is not known here; is one of the nodes of another release?"
    ))
}

fn outgoing(number: u64, answer: Result<Bytes, Refusal>) -> Outgoing {
    let answer = match answer {
        Ok(body) if body.len() > BODY_BYTES_MAX => Err(Refusal(format!(
            "the answer has {} bytes, more than the {BODY_BYTES_MAX} of a frame",
            body.len()
        ))),
        answer => answer,
    };
    let (code, body) = match answer {
        Ok(body) => (Outcome::Answer, body),
        Err(Refusal(words)) => (Outcome::Refusal, Bytes::from(words)),
    };
    Outgoing {
        code: code as u8,
        number,
        deadline: None,
        body,
    }
}
