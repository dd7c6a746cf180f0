//! One dialled connection: how this node asks its peer.
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::codes;
use crate::counters::Counters;
use crate::frame::{FrameReader, HEADER_BYTES, Kind, VERSION};
use crate::lane::{Fault, Pipe, read_outcome};
use crate::network::{Lane, PeerId, Service};
use crate::writer::{Outgoing, Sending};

/// What goes first when a connection is full.
pub(crate) mod priority {
    pub(crate) const URGENT: i32 = 10;
    pub(crate) const LOG: i32 = 5;
    pub(crate) const FORWARD: i32 = 0;
    pub(crate) const MESSAGE: i32 = -5;
    pub(crate) const BULK: i32 = -10;
}

/// Requests in a row that may time out on a silent connection before it is given up.
const TIMEOUTS_MAX: u32 = 3;
/// A connection on which something arrived this recently is not silent, however short the requests'
/// time was.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// A connection to a peer that has proved who it is.
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) connection: Connection,
    pub(crate) counters: Arc<Counters>,
    log: OnceCell<Pipe>,
    forward: OnceCell<Pipe>,
    silence: Mutex<Silence>,
}

/// What is known of a connection that gives no answers.
struct Silence {
    timeouts: u32,
    datagrams: u64,
    heard: Instant,
}

impl Link {
    pub(crate) fn new(peer: PeerId, connection: Connection, counters: Arc<Counters>) -> Link {
        Link {
            peer,
            connection,
            counters,
            log: OnceCell::new(),
            forward: OnceCell::new(),
            silence: Mutex::new(Silence {
                timeouts: 0,
                datagrams: 0,
                heard: Instant::now(),
            }),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// True when the other end would not have this node, so that dialling at once again is of no
    /// use. A handshake looks complete on this side before the other has judged the certificate.
    pub(crate) fn is_rejected(&self) -> bool {
        match self.connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) => close.error_code == codes::STRANGER,
            Some(ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_)) => true,
            _ => false,
        }
    }

    /// Why the connection was closed, in words.
    pub(crate) fn why_closed(&self) -> String {
        self.connection
            .close_reason()
            .map_or_else(|| "open".into(), |reason| reason.to_string())
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn request(
        &self,
        service: Service,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Fault> {
        let started = Instant::now();
        let answer = match service.lane {
            Lane::Urgent => {
                self.ask_alone(Kind::Urgent, priority::URGENT, service, body, deadline)
                    .await
            }
            Lane::Bulk => {
                self.ask_alone(Kind::Bulk, priority::BULK, service, body, deadline)
                    .await
            }
            Lane::Log => {
                let open = self.open_pipe(Lane::Log, Kind::Log, priority::LOG);
                let pipe = self.log.get_or_try_init(|| open);
                let pipe = in_time(deadline, pipe).await?;
                pipe.ask(service.number, body, deadline).await
            }
            Lane::Forward => {
                let open = self.open_pipe(Lane::Forward, Kind::Forward, priority::FORWARD);
                let pipe = self.forward.get_or_try_init(|| open);
                let pipe = in_time(deadline, pipe).await?;
                pipe.ask(service.number, body, deadline).await
            }
        };
        self.note(started, &answer);
        answer
    }

    /// Keeps an eye on silence: closes the connection when requests time out one after the other
    /// and nothing at all arrives. A slow handler is no reason: acknowledgements arrive meanwhile.
    pub(crate) fn note<T>(&self, started: Instant, answer: &Result<T, Fault>) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(_) | Err(Fault::Refused(_)) => {
                silence.timeouts = 0;
                return;
            }
            Err(Fault::Unsent(_) | Fault::Lost(_)) => return,
            Err(Fault::TimedOut) => {}
        }
        let now = Instant::now();
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if datagrams != silence.datagrams {
            silence.datagrams = datagrams;
            silence.heard = now;
        }
        if silence.heard >= started {
            silence.timeouts = 0;
            return;
        }
        silence.timeouts += 1;
        if silence.timeouts >= TIMEOUTS_MAX && now - silence.heard >= SILENCE_MIN {
            tracing::warn!(peer = %self.peer, timeouts = silence.timeouts, "connection is silent, dropping it");
            self.connection.close(codes::SILENT, b"no answer");
        }
    }

    /// Sends one message on a stream of its own.
    pub(crate) async fn message(&self, body: Bytes) -> Result<(), String> {
        let mut stream = self
            .connection
            .open_uni()
            .await
            .map_err(|error| error.to_string())?;
        // Fails on a closed stream only, and then so does the next write.
        let _ = stream.set_priority(priority::MESSAGE);
        let mut pieces = [Bytes::from_static(&[VERSION]), body];
        stream
            .write_all_chunks(&mut pieces)
            .await
            .map_err(|error| error.to_string())?;
        stream.finish().map_err(|error| error.to_string())
    }

    /// A stream for one request.
    async fn ask_alone(
        &self,
        kind: Kind,
        priority: i32,
        service: Service,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Fault> {
        let (stream, receive) = in_time(deadline, async {
            let opened = self.connection.open_bi().await;
            opened.map_err(|error| Fault::Unsent(error.to_string()))
        })
        .await?;
        let lane = self.counters.lane(service.lane);
        let mut sending = Sending::new(stream, priority);
        let exchange = async {
            let frame = Outgoing {
                code: service.number,
                number: 0,
                deadline: Some(deadline),
                body,
            };
            let sent = sending.begin(kind, frame).await;
            let sent = sent.map_err(|error| Fault::Lost(error.to_string()))?;
            lane.bytes_sent.increment(sent as u64);
            sending.finish();
            let mut reader = FrameReader::new(receive);
            self.read_answer(&mut reader, service.lane).await
        };
        let answer = timeout_at(deadline, exchange)
            .await
            .unwrap_or(Err(Fault::TimedOut));
        if matches!(answer, Ok(_) | Err(Fault::Refused(_))) {
            sending.complete();
        }
        answer
    }

    /// Reads the one answer that a stream of its own brings.
    pub(crate) async fn read_answer(
        &self,
        reader: &mut FrameReader,
        lane: Lane,
    ) -> Result<Bytes, Fault> {
        let outcome = match reader.next().await {
            Ok(Some(frame)) => {
                let bytes = HEADER_BYTES + frame.body.len();
                self.counters
                    .lane(lane)
                    .bytes_received
                    .increment(bytes as u64);
                read_outcome(&frame)
            }
            Ok(None) => Ok(Err(Fault::Lost("the peer ended the stream".into()))),
            Err(broken) => Err(broken),
        };
        outcome.unwrap_or_else(|broken| {
            if let crate::frame::Broken::Malformed(why) = &broken {
                self.connection.close(codes::MALFORMED, why.as_bytes());
            }
            Err(Fault::Lost(broken.to_string()))
        })
    }

    async fn open_pipe(&self, lane: Lane, kind: Kind, priority: i32) -> Result<Pipe, Fault> {
        Pipe::open(
            &self.connection,
            lane,
            kind,
            priority,
            self.counters.clone(),
        )
        .await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Does nothing on a connection that is closed already.
        self.connection.close(codes::BYE, b"");
    }
}

/// Waits for what comes before a request is sent.
async fn in_time<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout_at(deadline, step).await.unwrap_or_else(|_| {
        Err(Fault::Unsent(
            "its time was up before a stream was free".into(),
        ))
    })
}
