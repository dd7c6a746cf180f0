//! What the tests share: clusters, nodes, handlers made of closures, a wire that can be cut.
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use transport::endpoint::{BindError, Endpoint, Options};
use transport::identity::{Authority, Identity, NewNode, cluster_name};
use transport::network::{
    Error, Handler, Handlers, Lane, Network, PeerId, Receiver, Refusal, Service,
};

pub(crate) const CLUSTER: &str = "demo";
pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Long enough for a busy machine, short enough to fail.
pub(crate) const PLENTY: Duration = Duration::from_secs(20);

pub(crate) const URGENT: Service = service(1, Lane::Urgent, "urgent");
pub(crate) const LOG: Service = service(2, Lane::Log, "log");
pub(crate) const FORWARD: Service = service(3, Lane::Forward, "forward");
pub(crate) const BULK: Service = service(4, Lane::Bulk, "bulk");
pub(crate) const LANES: [Service; 4] = [URGENT, LOG, FORWARD, BULK];

pub(crate) const fn service(number: u8, lane: Lane, name: &'static str) -> Service {
    Service { number, lane, name }
}

pub(crate) struct Cluster {
    pub(crate) authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        Cluster {
            authority: Authority::generate(CLUSTER).unwrap(),
        }
    }

    pub(crate) fn identity(&self, peer: u64) -> Identity {
        let node = NewNode::generate().unwrap();
        Identity {
            cluster_id: CLUSTER.into(),
            peer: PeerId(peer),
            ca_certificate: self.authority.certificate(),
            certificate: self.authority.sign(&node.csr, PeerId(peer)).unwrap(),
            key: node.key,
        }
    }

    pub(crate) fn node(&self, peer: u64) -> Arc<Endpoint> {
        bind(self.identity(peer), LOOPBACK).unwrap()
    }

    /// Two nodes that know each other; the second answers.
    pub(crate) fn pair(&self, handlers: Handlers) -> (Arc<Endpoint>, Arc<Endpoint>) {
        let (one, two) = (self.node(1), self.node(2));
        meet(&[&one, &two]);
        two.serve(handlers);
        (one, two)
    }
}

pub(crate) fn bind(identity: Identity, listen: SocketAddr) -> Result<Arc<Endpoint>, BindError> {
    Endpoint::bind(Options {
        listen,
        advertise: None,
        identity,
        gate: None,
    })
}

/// Binds an address that its former owner may be about to let go of.
pub(crate) async fn bind_again(identity: &Identity, listen: SocketAddr) -> Arc<Endpoint> {
    let end = Instant::now() + PLENTY;
    loop {
        match bind(identity.clone(), listen) {
            Ok(endpoint) => return endpoint,
            Err(error) if Instant::now() > end => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

pub(crate) fn meet(nodes: &[&Arc<Endpoint>]) {
    for one in nodes {
        for other in nodes {
            one.set_address(other.me(), other.local_addr());
        }
    }
}

pub(crate) async fn ask(
    from: &Endpoint,
    to: u64,
    service: Service,
    body: &[u8],
) -> Result<Bytes, Error> {
    let body = Bytes::copy_from_slice(body);
    from.request(PeerId(to), service, body, PLENTY).await
}

/// Fails the test when `future` takes forever.
pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    timeout(3 * PLENTY, future).await.expect("took forever")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PLENTY;
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;
type Chunks = mpsc::Receiver<Result<Bytes, Error>>;

struct Closure<F>(F);

#[async_trait]
impl<F: Fn(PeerId, Bytes, Duration) -> Answer + Send + Sync + 'static> Handler for Closure<F> {
    async fn handle(&self, from: PeerId, body: Bytes, left: Duration) -> Result<Bytes, Refusal> {
        (self.0)(from, body, left).await
    }
}

#[async_trait]
impl<F: Fn(PeerId, Bytes, Chunks) -> Answer + Send + Sync + 'static> Receiver for Closure<F> {
    async fn receive(&self, from: PeerId, head: Bytes, chunks: Chunks) -> Result<Bytes, Refusal> {
        (self.0)(from, head, chunks).await
    }
}

/// Handlers for all lanes from one function.
pub(crate) fn handlers<F, A>(answer: F) -> Handlers
where
    F: Fn(PeerId, Bytes, Duration) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
{
    let handler: Arc<dyn Handler> = Arc::new(Closure(
        move |from: PeerId, body: Bytes, left: Duration| -> Answer {
            Box::pin(answer(from, body, left))
        },
    ));
    Handlers {
        requests: LANES.map(|lane| (lane, handler.clone())).to_vec(),
        transfers: Vec::new(),
    }
}

/// A receiver of transfers under [`BULK`].
pub(crate) fn receiver<F, A>(receive: F) -> Handlers
where
    F: Fn(PeerId, Bytes, Chunks) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
{
    let receiver: Arc<dyn Receiver> = Arc::new(Closure(
        move |from: PeerId, head: Bytes, chunks: Chunks| -> Answer {
            Box::pin(receive(from, head, chunks))
        },
    ));
    Handlers {
        requests: Vec::new(),
        transfers: vec![(BULK, receiver)],
    }
}

pub(crate) fn echo() -> Handlers {
    handlers(|_, body, _| async move { Ok(body) })
}

/// A QUIC client of nobody's making: `identity` may be missing, the protocol is free.
pub(crate) async fn raw_client(
    cluster: &Cluster,
    identity: Option<&Identity>,
    protocol: &[u8],
    to: SocketAddr,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(cluster.authority.certificate().into()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
            let chain = vec![identity.certificate.clone().into()];
            config.with_client_auth_cert(chain, key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let config = QuicClientConfig::try_from(config).unwrap();
    let mut endpoint = quinn::Endpoint::client(LOOPBACK).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let connecting = endpoint.connect(to, &cluster_name(CLUSTER)).unwrap();
    connecting.await
}

/// Why the other end closed, once it has.
pub(crate) async fn closed_with(connection: &quinn::Connection) -> (u64, String) {
    match bounded(connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => (
            close.error_code.into_inner(),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        other => panic!("not closed by the application: {other}"),
    }
}

/// A UDP wire to one address, that can be cut without anyone being told.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    _task: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Wire {
        let near = UdpSocket::bind(LOOPBACK).await.unwrap();
        let far = UdpSocket::bind(LOOPBACK).await.unwrap();
        let address = near.local_addr().unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = is_cut.clone();
        let task = tokio::spawn(async move {
            let mut client = None;
            let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                // Errors of UDP sockets are lost packets.
                tokio::select! {
                    got = near.recv_from(&mut there) => if let Ok((n, from)) = got {
                        client = Some(from);
                        if !cut.load(Ordering::SeqCst) {
                            let _ = far.send_to(&there[..n], target).await;
                        }
                    },
                    got = far.recv_from(&mut back) => if let (Ok((n, _)), Some(client)) = (got, client)
                        && !cut.load(Ordering::SeqCst)
                    {
                        let _ = near.send_to(&back[..n], client).await;
                    },
                }
            }
        });
        Wire {
            address,
            is_cut,
            _task: task,
        }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}
