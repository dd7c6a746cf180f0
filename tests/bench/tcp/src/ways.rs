//! How this node asks: one connection a lane and peer, dialled on demand, one dial at a time.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use transport::frame::{Broken, Kind};
use transport::identity::node_name;
use transport::lane::{Pipe, Waiting};
use transport::network::PeerId;
use transport::writer::Outgoing;

use crate::stream::{Reader, Stream, prepare, proven_peer, write_frames};

// The times are those of QUIC's dials.
const DIAL_TIME: Duration = Duration::from_millis(1500);
/// While a peer that could not be reached is dialled again, requests wait no longer than this.
const PATIENCE: Duration = Duration::from_millis(200);
/// After a failed dial the next waits this long, doubled up to [`BACKOFF_MAX`]; meanwhile requests
/// fail at once.
const BACKOFF_MIN: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(200);

/// Makes connections as this node.
pub(crate) struct Dialler {
    pub(crate) cluster_id: String,
    pub(crate) connector: TlsConnector,
}

impl Dialler {
    async fn dial(&self, address: SocketAddr, peer: PeerId, kind: Kind) -> Result<Pipe, String> {
        let dialling = timeout(DIAL_TIME, self.connect(address, peer, kind));
        let stream = dialling
            .await
            .map_err(|_| format!("{address} does not answer"))?
            .map_err(|error| format!("{address}: {error}"))?;
        let (_, session) = stream.get_ref();
        let proven = proven_peer(session, &self.cluster_id)?;
        if proven != peer {
            return Err(format!("node {proven} lives there, not node {peer}"));
        }
        let (pipe, frames) = Pipe::new();
        tokio::spawn(run(stream, frames, pipe.waiting()));
        Ok(pipe)
    }

    /// Connects, says what the connection is for, and hears it again from a peer that has judged
    /// this node's certificate: TLS calls the handshake complete before that.
    async fn connect(
        &self,
        address: SocketAddr,
        peer: PeerId,
        kind: Kind,
    ) -> Result<Stream, Box<dyn std::error::Error + Send + Sync>> {
        let socket = prepare(TcpStream::connect(address).await?)?;
        let name = ServerName::try_from(node_name(&self.cluster_id, peer))?;
        let mut stream = Stream::from(self.connector.connect(name, socket).await?);
        stream.write_all(&[kind as u8]).await?;
        stream.flush().await?;
        let heard = stream.read_u8().await?;
        if heard != kind as u8 {
            return Err(format!("a connection of kind {heard} was given").into());
        }
        Ok(stream)
    }
}

/// Writes requests and hands answers out until the connection breaks or the pipe is dropped.
async fn run(stream: Stream, frames: mpsc::Receiver<Outgoing>, waiting: Arc<Waiting>) {
    let (read, write) = split(stream);
    let mut reader = Reader::new(read);
    let keep = |frame: &Outgoing| waiting.is_about_to_be_written(frame.number);
    let read = async {
        while let Some(frame) = reader.next().await? {
            waiting.answer(frame)?;
        }
        Err(Broken::Lost("the peer ended the stream".into()))
    };
    let why = tokio::select! {
        written = write_frames(write, frames, keep) => match written {
            // The pipe was dropped: nobody waits for anything.
            Ok(()) => "no longer needed".to_owned(),
            Err(error) => error.to_string(),
        },
        read = read => match read {
            Ok(()) => String::new(),
            Err(Broken::Malformed(why) | Broken::Lost(why)) => why,
        },
    };
    waiting.fail_all(&why);
}

type Dial = Shared<BoxFuture<'static, Result<Arc<Pipe>, String>>>;

/// The way to one peer for one lane.
pub(crate) struct Way {
    dialler: Arc<Dialler>,
    peer: PeerId,
    kind: Kind,
    state: Mutex<State>,
}

struct State {
    /// Where the connection or the dial goes; `None` before the first.
    address: Option<SocketAddr>,
    failures: u32,
    phase: Phase,
}

enum Phase {
    Idle,
    Dialling(Dial),
    Up(Arc<Pipe>),
    Down { until: Instant, why: String },
}

enum Found {
    Pipe(Arc<Pipe>),
    /// What to wait for, and how long.
    Dial(Dial, Duration),
}

impl Way {
    pub(crate) fn new(dialler: Arc<Dialler>, peer: PeerId, kind: Kind) -> Self {
        Self {
            dialler,
            peer,
            kind,
            state: Mutex::new(State {
                address: None,
                failures: 0,
                phase: Phase::Idle,
            }),
        }
    }

    /// The pipe to `address`, dialled if there is none, until `deadline`. Fails at once when the
    /// last dial failed a moment ago. A pipe to another address is let go of.
    pub(crate) async fn pipe(
        self: &Arc<Self>,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Arc<Pipe>, String> {
        match self.find(address)? {
            Found::Pipe(pipe) => Ok(pipe),
            Found::Dial(dial, patience) => {
                let until = deadline.min(Instant::now() + patience);
                let dialled = timeout_at(until, dial).await;
                dialled.unwrap_or_else(|_| Err("still dialling".into()))
            }
        }
    }

    fn find(self: &Arc<Self>, address: SocketAddr) -> Result<Found, String> {
        let mut state = self.state();
        if state.address != Some(address) {
            *state = State {
                address: Some(address),
                failures: 0,
                phase: Phase::Idle,
            };
        }
        let dial = match &state.phase {
            Phase::Up(pipe) if pipe.is_open() => return Ok(Found::Pipe(pipe.clone())),
            Phase::Down { until, why } if Instant::now() < *until => return Err(why.clone()),
            Phase::Dialling(dial) => dial.clone(),
            Phase::Idle | Phase::Up(_) | Phase::Down { .. } => {
                let dial = self.start_dial(address);
                state.phase = Phase::Dialling(dial.clone());
                dial
            }
        };
        let patience = if state.failures > 0 {
            PATIENCE
        } else {
            DIAL_TIME
        };
        Ok(Found::Dial(dial, patience))
    }

    /// Dials in a task of its own: those who wait may go away.
    fn start_dial(self: &Arc<Self>, address: SocketAddr) -> Dial {
        let way = self.clone();
        let task = tokio::spawn(async move {
            let dialled = way.dialler.dial(address, way.peer, way.kind).await;
            way.conclude(address, dialled.map(Arc::new))
        });
        let dial = async {
            task.await
                .unwrap_or_else(|_| Err("the dial broke off".into()))
        };
        dial.boxed().shared()
    }

    fn conclude(
        &self,
        address: SocketAddr,
        dialled: Result<Arc<Pipe>, String>,
    ) -> Result<Arc<Pipe>, String> {
        let mut state = self.state();
        if state.address != Some(address) {
            return Err("the peer moved meanwhile".into());
        }
        match &dialled {
            Ok(pipe) => {
                state.failures = 0;
                state.phase = Phase::Up(pipe.clone());
            }
            Err(why) => {
                let backoff = (BACKOFF_MIN * 2_u32.pow(state.failures.min(8))).min(BACKOFF_MAX);
                state.failures = state.failures.saturating_add(1);
                tracing::debug!(%address, why, failures = state.failures, "no TCP connection");
                state.phase = Phase::Down {
                    until: Instant::now() + backoff,
                    why: why.clone(),
                };
            }
        }
        dialled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one, so a poisoned lock is as good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
