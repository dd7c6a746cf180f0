//! How this node answers: who may connect, and what becomes of their requests.
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use transport::frame::{Broken, Kind};
use transport::network::PeerId;
use transport::order::begin;
use transport::serve::{ANSWERS_WAITING, FORWARD_AT_ONCE, LOG_AT_ONCE, Serving, Table};
use transport::writer::Outgoing;

use crate::stream::{Reader, Stream, prepare, proven_peer, write_frames};

/// How long a stranger may take for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const HANDSHAKES_AT_ONCE: usize = 64;
/// After a failed accept, which is mostly a lack of file descriptors that others give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who answers.
pub(crate) struct Host {
    pub(crate) me: PeerId,
    pub(crate) cluster_id: String,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) serving: watch::Receiver<Serving>,
}

/// Takes connections until this node stops.
pub(crate) async fn accept(listener: TcpListener, host: Arc<Host>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    loop {
        let next = async {
            let permit = handshakes.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            listener.accept().await.map(|(socket, _)| (socket, permit))
        };
        let accepted = tokio::select! {
            () = host.stopped() => return,
            accepted = next => accepted,
        };
        let (socket, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no TCP connection can be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let host = host.clone();
        tokio::spawn(async move {
            let admitted = timeout(HANDSHAKE_TIME, host.admit(socket)).await;
            drop(permit);
            match admitted.unwrap_or_else(|_| Err("the handshake took too long".into())) {
                Ok((stream, peer, kind)) => tokio::select! {
                    () = host.stopped() => {}
                    () = host.serve(stream, peer, kind) => {}
                },
                Err(why) => tracing::debug!(%why, "TCP connection refused"),
            }
        });
    }
}

impl Host {
    /// Returns when this node stops.
    async fn stopped(&self) {
        let mut serving = self.serving.clone();
        // An error says that the sender is gone, which is a stop too.
        let _ = serving
            .wait_for(|serving| matches!(serving, Serving::Never))
            .await;
    }

    /// Shakes hands and judges who came; then hears what for, and says that it is well.
    async fn admit(
        &self,
        socket: TcpStream,
    ) -> Result<(Stream, PeerId, Kind), Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.acceptor.accept(prepare(socket)?).await?;
        let mut stream = Stream::from(stream);
        let (_, session) = stream.get_ref();
        let peer = proven_peer(session, &self.cluster_id)?;
        if peer == self.me {
            return Err("that is this node's own id".into());
        }
        let byte = stream.read_u8().await?;
        let kind = Kind::from_byte(byte)
            .filter(|kind| matches!(kind, Kind::Urgent | Kind::Log | Kind::Forward))
            .ok_or_else(|| format!("there are no connections of kind {byte}"))?;
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
        Ok((stream, peer, kind))
    }

    /// Answers requests until the connection ends.
    async fn serve(&self, stream: Stream, peer: PeerId, kind: Kind) {
        let Some(table) = Serving::table(self.serving.clone()).await else {
            return;
        };
        let (read, write) = split(stream);
        let (answers, queue) = mpsc::channel(ANSWERS_WAITING);
        let visit = Visit {
            peer,
            table,
            answers,
            reader: Reader::new(read),
        };
        let serve = async {
            match kind {
                Kind::Log => visit.serve_in_order().await,
                Kind::Urgent | Kind::Forward | Kind::Bulk | Kind::Transfer => {
                    visit.serve_side_by_side().await
                }
            }
        };
        // In one future, so that a node that stops lets go of the connection, whatever its handlers
        // still do. A peer that has ended the stream waits for no answer.
        tokio::select! {
            served = serve => match served {
                Ok(()) => {}
                Err(Broken::Lost(why)) => tracing::debug!(%peer, why, "TCP connection ended"),
                Err(Broken::Malformed(why)) => {
                    tracing::warn!(%peer, why, "malformed frame over TCP");
                }
            },
            written = write_frames(write, queue, |_| true) => if let Err(error) = written {
                tracing::debug!(%peer, %error, "answers cannot be written");
            },
        }
    }
}

/// One connection of a peer.
struct Visit {
    peer: PeerId,
    table: Arc<Table>,
    answers: mpsc::Sender<Outgoing>,
    reader: Reader,
}

impl Visit {
    /// Begins requests in the order in which they come, none waiting for the one before it, and
    /// answers in that order.
    async fn serve_in_order(mut self) -> Result<(), Broken> {
        let mut under_way = FuturesOrdered::new();
        let mut is_open = true;
        while is_open || !under_way.is_empty() {
            let has_place = under_way.len() < LOG_AT_ONCE;
            tokio::select! {
                biased;
                Some(answer) = under_way.next(), if !under_way.is_empty() => {
                    if self.answers.send(answer).await.is_err() {
                        break; // the connection is gone
                    }
                }
                frame = self.reader.next(), if is_open && has_place => match frame? {
                    Some(frame) => {
                        let (table, peer) = (self.table.clone(), self.peer);
                        let answer = async move { table.answer(peer, frame.into()).await };
                        under_way.push_back(begin(answer).await);
                    }
                    None => is_open = false,
                }
            }
        }
        Ok(())
    }

    /// Many requests at once, answered in any order.
    async fn serve_side_by_side(mut self) -> Result<(), Broken> {
        let at_once = Arc::new(Semaphore::new(FORWARD_AT_ONCE));
        loop {
            let permit = at_once.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let Some(frame) = self.reader.next().await? else {
                return Ok(());
            };
            let (table, answers, peer) = (self.table.clone(), self.answers.clone(), self.peer);
            tokio::spawn(async move {
                let answer = table.answer(peer, frame.into()).await;
                // Fails when the connection is gone; then nobody waits.
                let _ = answers.send(answer).await;
                drop(permit);
            });
        }
    }
}
