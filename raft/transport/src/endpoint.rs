//! The network over quinn: one UDP port a node, TLS 1.3 both ways, identity checked on every
//! connection.
//!
//! A node asks over connections that it dialled ([`crate::routes`], [`crate::link`])
//! and answers on those it accepted ([`crate::serve`]), so two nodes that talk both ways
//! have two connections, and no rule is needed for who dials whom.
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::codes;
use crate::counters::Counters;
use crate::frame::MESSAGE_BYTES_MAX;
use crate::identity::Identity;
use crate::join::{self, Gate};
use crate::lane::{Fault, fits};
use crate::link::Link;
use crate::network::{Error, Handlers, Lane, Message, Network, PeerId, Sent, Service};
use crate::routes::{Dialler, Route, Routes};
use crate::serve::{self, Serving};
use crate::tls;

/// Messages that wait to be sent, all addresses together; beyond, they are dropped.
const MESSAGES_WAITING: usize = 256;
/// Messages that wait to be taken by [`Network::messages`]'s reader; beyond, they are dropped.
const INBOX: usize = 1024;
/// A message that could not be sent for this long is out of date.
const MESSAGE_TIME: Duration = Duration::from_secs(2);
/// A request is tried a second time when the first certainly did not leave this node.
const ATTEMPTS: usize = 2;
/// Longest wait that is taken at its word; so no sum of times overflows.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long closing waits for peers to be told.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What an endpoint is started with.
pub struct Options {
    /// The UDP address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where others reach this node, when that is not `listen`; port 0 stands for the listening
    /// port. Needed when `listen` is an unspecified address such as `0.0.0.0`.
    pub advertise: Option<SocketAddr>,
    pub identity: Identity,
    /// Who decides on joins; until there is one, joining nodes are told to come again.
    pub gate: Option<Arc<dyn Gate>>,
}

/// Why an endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on UDP {address}: {source}")]
    Socket {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("this node's identity is not usable: {0}")]
    Identity(String),
    #[error(
        "listening on {0} does not tell others where this node is: give the address to advertise"
    )]
    NoAdvertise(SocketAddr),
}

/// A node's network over QUIC. Made inside a tokio runtime; closed by [`Network::close`] or when
/// dropped.
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// What the endpoint's tasks share.
pub(crate) struct Shared {
    address: SocketAddr,
    dialler: Arc<Dialler>,
    routes: Routes,
    counters: Arc<Counters>,
    serving: watch::Sender<Serving>,
    gate: RwLock<Option<Arc<dyn Gate>>>,
    pub(crate) joins: Semaphore,
    inbox: mpsc::Sender<Message>,
    inbox_reader: Mutex<Option<mpsc::Receiver<Message>>>,
    outbox: Arc<Semaphore>,
    runtime: Handle,
}

impl Endpoint {
    /// Checks the identity, binds the socket and starts to accept connections. Peers' requests
    /// wait until [`Network::serve`]; joins until there is a gate.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: Options) -> Result<Arc<Endpoint>, BindError> {
        let configs = tls::configs(&options.identity).map_err(BindError::Identity)?;
        let socket_error = |source| BindError::Socket {
            address: options.listen,
            source,
        };
        let socket = UdpSocket::bind(options.listen).map_err(socket_error)?;
        let bound = socket.local_addr().map_err(socket_error)?;
        let address = advertised(bound, options.advertise)?;
        let endpoint = quinn::Endpoint::new(
            configs.endpoint,
            Some(configs.server),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(socket_error)?;
        let counters = Arc::new(Counters::new());
        let dialler = Arc::new(Dialler {
            endpoint,
            config: configs.client,
            cluster_id: options.identity.cluster_id,
            me: options.identity.peer,
            counters: counters.clone(),
        });
        let (inbox, inbox_reader) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared {
            address,
            routes: Routes::new(dialler.clone()),
            dialler,
            counters,
            serving: watch::Sender::new(Serving::Later),
            gate: RwLock::new(options.gate),
            joins: Semaphore::new(join::JOINS_AT_ONCE),
            inbox,
            inbox_reader: Mutex::new(Some(inbox_reader)),
            outbox: Arc::new(Semaphore::new(MESSAGES_WAITING)),
            runtime: Handle::current(),
        });
        tokio::spawn(serve::accept(shared.clone()));
        Ok(Arc::new(Endpoint { shared }))
    }

    /// Connections that are open or being closed, both ways.
    pub fn connections(&self) -> usize {
        self.shared.dialler.endpoint.open_connections()
    }

    /// Names who decides on joins from now on.
    pub fn set_gate(&self, gate: Arc<dyn Gate>) {
        *self.shared.gate_mut() = Some(gate);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

#[async_trait]
impl Network for Endpoint {
    fn me(&self) -> PeerId {
        self.shared.dialler.me
    }

    fn local_addr(&self) -> SocketAddr {
        self.shared.address
    }

    fn set_address(&self, peer: PeerId, address: SocketAddr) {
        if peer != self.me() {
            self.shared.routes.set_address(peer, address);
        }
    }

    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        if peer == self.me() {
            return Some(self.shared.address);
        }
        self.shared.routes.address(peer)
    }

    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        self.shared.counters.count_request(service.lane);
        let answer = self.shared.request(peer, service, body, within).await;
        answer.map_err(|fault| self.shared.error(peer, service.lane, fault))
    }

    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        self.shared.counters.count_transfer();
        let answer = async {
            fits(&head)?;
            let deadline = Instant::now() + stalled.min(WAIT_MAX);
            let link = self.shared.link(peer, deadline).await?;
            link.transfer(service, head, chunks, stalled.min(WAIT_MAX))
                .await
        };
        let answer = answer.await;
        answer.map_err(|fault| self.shared.error(peer, Lane::Bulk, fault))
    }

    fn message(&self, address: SocketAddr, body: Bytes) {
        self.shared.counters.count_message();
        self.shared.send_message(address, body);
    }

    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        let reader = self.shared.inbox_reader.lock();
        reader.unwrap_or_else(PoisonError::into_inner).take()
    }

    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        let link = self.shared.routes.current(peer)?;
        Some(link.connection.rtt())
    }

    fn sent(&self) -> Sent {
        self.shared.counters.sent()
    }

    fn serve(&self, handlers: Handlers) {
        let table = Arc::new(handlers.into());
        self.shared.serving.send_if_modified(|serving| {
            let is_first = matches!(serving, Serving::Later);
            if is_first {
                *serving = Serving::Now(table);
            }
            is_first
        });
    }

    async fn close(&self) {
        self.shared.stop();
        let told = self.shared.dialler.endpoint.wait_idle();
        if timeout(CLOSE_TIME, told).await.is_err() {
            tracing::debug!("closed before every peer had confirmed it");
        }
    }
}

impl Shared {
    pub(crate) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn gate(&self) -> Option<Arc<dyn Gate>> {
        let gate = self.gate.read();
        gate.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn gate_mut(&self) -> RwLockWriteGuard<'_, Option<Arc<dyn Gate>>> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handlers, as soon as there are any; `None` once the endpoint is closed.
    pub(crate) async fn table(&self) -> Option<Arc<serve::Table>> {
        Serving::table(self.serving.subscribe()).await
    }

    /// Gives a message to whoever reads them.
    pub(crate) fn deliver(&self, message: Message) {
        if self.inbox.try_send(message).is_err() {
            self.counters.messages_untaken.increment(1);
        }
    }

    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Fault> {
        fits(&body)?;
        let deadline = Instant::now() + within.min(WAIT_MAX);
        let mut attempt = 1;
        loop {
            let link = self.link(peer, deadline).await?;
            let answer = link.request(service, body.clone(), deadline).await;
            // A connection that turns out to be dead is no reason to give up.
            let is_worth_another = matches!(answer, Err(Fault::Unsent(_)))
                && attempt < ATTEMPTS
                && !link.is_open()
                && Instant::now() < deadline;
            if !is_worth_another {
                return answer;
            }
            attempt += 1;
        }
    }

    async fn link(&self, peer: PeerId, deadline: Instant) -> Result<Arc<Link>, Fault> {
        if peer == self.dialler.me {
            return Err(Fault::Unsent("that is this node itself".into()));
        }
        let route = self.routes.to_peer(peer);
        let route = route.ok_or_else(|| Fault::Unsent("its address is not known".into()))?;
        route.link(deadline).await.map_err(Fault::Unsent)
    }

    fn error(&self, peer: PeerId, lane: Lane, fault: Fault) -> Error {
        // The handler's own words are an answer too, so not an error of the network.
        if !matches!(fault, Fault::Refused(_)) {
            self.counters.lane(lane).errors.increment(1);
        }
        fault.at(peer)
    }

    fn send_message(&self, address: SocketAddr, body: Bytes) {
        let permit = self.outbox.clone().try_acquire_owned();
        let route = self.routes.to_address(address);
        let (Ok(permit), Some(route)) = (permit, route) else {
            self.counters.messages_unsent.increment(1);
            return;
        };
        if body.len() >= MESSAGE_BYTES_MAX {
            tracing::warn!(%address, bytes = body.len(), "message is too long, dropped");
            self.counters.messages_unsent.increment(1);
            return;
        }
        let counters = self.counters.clone();
        self.runtime.spawn(async move {
            let sent = timeout(MESSAGE_TIME, post(&route, body)).await;
            match sent.unwrap_or_else(|_| Err("took too long".into())) {
                Ok(()) => counters.messages_sent.increment(1),
                Err(why) => {
                    tracing::debug!(%address, why, "message dropped");
                    counters.messages_unsent.increment(1);
                }
            }
            drop(permit);
        });
    }

    fn stop(&self) {
        // Handlers may hold the network themselves: letting go of them here undoes the circle.
        self.serving.send_replace(Serving::Never);
        *self.gate_mut() = None;
        self.dialler.endpoint.close(codes::BYE, b"the node stops");
        self.routes.clear();
    }
}

async fn post(route: &Arc<Route>, body: Bytes) -> Result<(), String> {
    let link = route.link(Instant::now() + MESSAGE_TIME).await?;
    link.message(body).await
}

fn advertised(bound: SocketAddr, advertise: Option<SocketAddr>) -> Result<SocketAddr, BindError> {
    match advertise {
        Some(address) if address.ip().is_unspecified() => Err(BindError::NoAdvertise(address)),
        Some(mut address) => {
            if address.port() == 0 {
                address.set_port(bound.port());
            }
            Ok(address)
        }
        None if bound.ip().is_unspecified() => Err(BindError::NoAdvertise(bound)),
        None => Ok(bound),
    }
}
