//! A yardstick: requests between nodes over TCP and TLS 1.3, to compare QUIC with.
//!
//! Wraps a node's QUIC endpoint and takes the requests of three lanes from it; everything else
//! stays QUIC. Frames, certificates, limits and the meaning of errors are those of `transport`, so
//! that what carries the bytes is the only difference. Read [`ways`] for how this node asks,
//! [`visits`] for how it answers, [`stream`] for the bytes.
mod stream;
mod visits;
mod ways;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use transport::frame::Kind;
use transport::identity::Identity;
use transport::lane::{Fault, fits};
use transport::network::{Error, Handlers, Lane, Message, Network, PeerId, Sent, Service};
use transport::serve::Serving;
use transport::tls::{self, Sides};

use crate::visits::Host;
use crate::ways::{Dialler, Way};

/// A request is tried a second time when the first certainly did not leave this node.
const ATTEMPTS: usize = 2;
/// Longest wait that is taken at its word; so no sum of times overflows.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why TCP cannot be had beside QUIC.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on TCP {address}: {source}")]
    Socket {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("this node's identity is not usable: {0}")]
    Identity(String),
}

type Ways = HashMap<(PeerId, Lane), Arc<Way>>;

/// A node's network with urgent, log and forwarded requests over TCP. Closed by [`Network::close`]
/// or when dropped.
pub struct Tcp {
    quic: Arc<dyn Network>,
    dialler: Arc<Dialler>,
    /// `None` once closed.
    ways: Mutex<Option<Ways>>,
    serving: watch::Sender<Serving>,
    requests: AtomicU64,
}

impl Tcp {
    /// Listens on the TCP port with the number of the UDP port that `quic` listens on: where a peer
    /// lives is said once. `listen` is what `quic` was told to listen on.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn over(
        quic: Arc<dyn Network>,
        identity: &Identity,
        mut listen: SocketAddr,
    ) -> Result<Arc<Self>, BindError> {
        let Sides { server, client } = tls::sides(identity).map_err(BindError::Identity)?;
        if listen.port() == 0 {
            listen.set_port(quic.local_addr().port());
        }
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|source| BindError::Socket {
            address: listen,
            source,
        })?;
        let serving = watch::Sender::new(Serving::Later);
        let host = Host {
            me: quic.me(),
            cluster_id: identity.cluster_id.clone(),
            acceptor: TlsAcceptor::from(Arc::<ServerConfig>::new(server)),
            serving: serving.subscribe(),
        };
        tokio::spawn(visits::accept(listener, Arc::new(host)));
        let dialler = Dialler {
            cluster_id: identity.cluster_id.clone(),
            connector: TlsConnector::from(Arc::<ClientConfig>::new(client)),
        };
        Ok(Arc::new(Self {
            quic,
            dialler: Arc::new(dialler),
            ways: Mutex::new(Some(HashMap::new())),
            serving,
            requests: AtomicU64::new(0),
        }))
    }

    async fn ask(
        &self,
        peer: PeerId,
        kind: Kind,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Fault> {
        fits(&body)?;
        let deadline = Instant::now() + within.min(WAIT_MAX);
        let mut attempt = 1;
        loop {
            let way = self.way(peer, service.lane, kind).map_err(Fault::Unsent)?;
            let address = self.quic.address(peer);
            let address =
                address.ok_or_else(|| Fault::Unsent("its address is not known".into()))?;
            let pipe = way.pipe(address, deadline).await.map_err(Fault::Unsent)?;
            let answer = pipe.ask(service.number, body.clone(), deadline).await;
            // A connection that turns out to be dead is no reason to give up.
            let is_worth_another = matches!(answer, Err(Fault::Unsent(_)))
                && attempt < ATTEMPTS
                && !pipe.is_open()
                && Instant::now() < deadline;
            if !is_worth_another {
                return answer;
            }
            attempt += 1;
        }
    }

    fn way(&self, peer: PeerId, lane: Lane, kind: Kind) -> Result<Arc<Way>, String> {
        if peer == self.quic.me() {
            return Err("that is this node itself".into());
        }
        // Every change is a whole one, so a poisoned lock is as good.
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let ways = ways.as_mut().ok_or("this node stops")?;
        let way = ways.entry((peer, lane));
        let way = way.or_insert_with(|| Arc::new(Way::new(self.dialler.clone(), peer, kind)));
        Ok(way.clone())
    }

    fn stop(&self) {
        // Handlers may hold the network themselves: letting go of them here undoes the circle.
        self.serving.send_replace(Serving::Never);
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        drop(ways.take());
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a connection for this lane begins with; `None` when the lane stays with QUIC.
fn kind(lane: Lane) -> Option<Kind> {
    match lane {
        Lane::Urgent => Some(Kind::Urgent),
        Lane::Log => Some(Kind::Log),
        Lane::Forward => Some(Kind::Forward),
        Lane::Bulk => None,
    }
}

#[async_trait]
impl Network for Tcp {
    fn me(&self) -> PeerId {
        self.quic.me()
    }

    fn local_addr(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    fn set_address(&self, peer: PeerId, address: SocketAddr) {
        self.quic.set_address(peer, address);
    }

    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.quic.address(peer)
    }

    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        let Some(kind) = kind(service.lane) else {
            return self.quic.request(peer, service, body, within).await;
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.ask(peer, kind, service, body, within).await;
        answer.map_err(|fault| fault.at(peer))
    }

    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        let transfer = self.quic.transfer(peer, service, head, chunks, stalled);
        transfer.await
    }

    fn message(&self, address: SocketAddr, body: Bytes) {
        self.quic.message(address, body);
    }

    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        self.quic.messages()
    }

    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        self.quic.round_trip(peer)
    }

    fn sent(&self) -> Sent {
        let mut sent = self.quic.sent();
        sent.requests += self.requests.load(Ordering::Relaxed);
        sent
    }

    fn serve(&self, handlers: Handlers) {
        let requests = Handlers {
            requests: handlers.requests.clone(),
            transfers: Vec::new(),
        };
        self.serving.send_if_modified(|serving| {
            let is_first = matches!(serving, Serving::Later);
            if is_first {
                *serving = Serving::Now(Arc::new(requests.into()));
            }
            is_first
        });
        self.quic.serve(handlers);
    }

    async fn close(&self) {
        self.stop();
        self.quic.close().await;
    }
}
