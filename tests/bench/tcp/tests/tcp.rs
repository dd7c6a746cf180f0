//! Real TCP and TLS on loopback, between nodes of one process.
#![allow(
    clippy::unwrap_used,
    reason = "helpers and handlers outside of test functions may fail the test too"
)]
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tcp::Tcp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use transport::endpoint::{Endpoint, Options};
use transport::identity::{Authority, Identity, NewNode};
use transport::network::{Error, Handler, Handlers, Lane, Network, PeerId, Refusal, Service};

const CLUSTER: &str = "demo";
/// Long enough for a busy machine, short enough to fail.
const PLENTY: Duration = Duration::from_secs(20);

const URGENT: Service = service(1, Lane::Urgent, "urgent");
const LOG: Service = service(2, Lane::Log, "log");
const FORWARD: Service = service(3, Lane::Forward, "forward");
const BULK: Service = service(4, Lane::Bulk, "bulk");
const OVER_TCP: [Service; 3] = [URGENT, LOG, FORWARD];

const fn service(number: u8, lane: Lane, name: &'static str) -> Service {
    Service { number, lane, name }
}

/// One node: what is under test, and the endpoint that it wraps.
struct Node {
    tcp: Arc<Tcp>,
    quic: Arc<Endpoint>,
}

impl Node {
    /// At `listen`, as soon as its former owner has let go of it.
    async fn at(identity: &Identity, listen: SocketAddr) -> Node {
        let end = Instant::now() + PLENTY;
        loop {
            let quic = Endpoint::bind(Options {
                listen,
                advertise: None,
                identity: identity.clone(),
                gate: None,
            });
            let why = match quic {
                Ok(quic) => match Tcp::over(quic.clone(), identity, listen).await {
                    Ok(tcp) => return Node { tcp, quic },
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < end, "{why}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn new(identity: &Identity) -> Node {
        Node::at(identity, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    fn knows(&self, other: &Node) {
        self.tcp.set_address(other.tcp.me(), other.tcp.local_addr());
    }

    async fn ask(&self, service: Service, body: &'static [u8]) -> Result<Bytes, Error> {
        self.ask_within(service, Bytes::from_static(body), PLENTY)
            .await
    }

    async fn ask_within(
        &self,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        let answer = self.tcp.request(PeerId(2), service, body, within);
        timeout(3 * PLENTY, answer).await.expect("took forever")
    }
}

fn identity(authority: &Authority, peer: u64) -> Identity {
    let node = NewNode::generate().unwrap();
    Identity {
        cluster_id: CLUSTER.into(),
        peer: PeerId(peer),
        ca_certificate: authority.certificate(),
        certificate: authority.sign(&node.csr, PeerId(peer)).unwrap(),
        key: node.key,
    }
}

/// Two nodes, of which the first knows the second and the second answers.
async fn pair(handlers: Handlers) -> (Node, Node) {
    let authority = Authority::generate(CLUSTER).unwrap();
    let one = Node::new(&identity(&authority, 1)).await;
    let two = Node::new(&identity(&authority, 2)).await;
    one.knows(&two);
    two.tcp.serve(handlers);
    (one, two)
}

struct Closure<F>(F);

#[async_trait]
impl<F, A> Handler for Closure<F>
where
    F: Fn(PeerId, Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
{
    async fn handle(&self, from: PeerId, body: Bytes, _: Duration) -> Result<Bytes, Refusal> {
        let answer = (self.0)(from, body);
        answer.await
    }
}

/// Handlers for all lanes from one function.
fn handlers<F, A>(answer: F) -> Handlers
where
    F: Fn(PeerId, Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
{
    let handler: Arc<dyn Handler> = Arc::new(Closure(answer));
    let all = OVER_TCP.into_iter().chain([BULK]);
    Handlers {
        requests: all.map(|service| (service, handler.clone())).collect(),
        transfers: Vec::new(),
    }
}

fn echo() -> Handlers {
    handlers(|_, body| async { Ok(body) })
}

fn is_unreachable(answer: &Result<Bytes, Error>) -> bool {
    matches!(answer, Err(Error::Unreachable { .. }))
}

fn is_without_answer(answer: &Result<Bytes, Error>) -> bool {
    matches!(answer, Err(Error::NoAnswer { .. }))
}

/// A peer that nobody drives any more lets go of its connections a moment later.
async fn until_unreachable(one: &Node) {
    let end = Instant::now() + PLENTY;
    while !is_unreachable(&one.ask(LOG, b"").await) {
        assert!(Instant::now() < end, "the peer stays reachable");
    }
}

#[tokio::test]
async fn three_lanes_go_over_tcp_and_the_fourth_over_quic() {
    let (one, _two) = pair(handlers(|from, body| async move {
        match &body[..] {
            b"no" => Err(Refusal("not today".into())),
            _ => Ok([from.to_string().as_bytes(), &body].concat().into()),
        }
    }))
    .await;
    for service in OVER_TCP {
        assert_eq!(one.ask(service, b"yes").await.unwrap(), "1yes");
        let refused = Error::Refused {
            peer: PeerId(2),
            why: "not today".into(),
        };
        assert_eq!(one.ask(service, b"no").await, Err(refused));
    }
    assert_eq!(one.quic.sent().requests, 0);
    assert_eq!(one.ask(BULK, b"yes").await.unwrap(), "1yes");
    assert_eq!(one.quic.sent().requests, 1);
    assert_eq!(one.tcp.sent().requests, 7);
}

#[tokio::test]
async fn large_and_small_bodies_come_through_whole() {
    let (one, _two) = pair(echo()).await;
    let sizes = (0..200_usize).map(|n| if n % 20 == 0 { 1 << 20 } else { n * 97 });
    let bodies: Vec<Bytes> = sizes
        .enumerate()
        .map(|(n, size)| vec![n.to_le_bytes()[0]; size].into())
        .collect();
    for service in [LOG, FORWARD] {
        let asks = bodies
            .iter()
            .map(|body| one.ask_within(service, body.clone(), PLENTY));
        let answers: Vec<Bytes> = join_all(asks)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert!(answers == bodies, "{}", service.name);
    }
    let too_long = Bytes::from(vec![0; (64 << 20) + 1]);
    let answer = one.ask_within(LOG, too_long, PLENTY).await;
    assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
}

#[tokio::test]
async fn the_log_begins_in_order_and_answers_in_order() {
    const COUNT: u32 = 500;
    let begun = Arc::new(Mutex::new(Vec::new()));
    let seen = begun.clone();
    let (one, _two) = pair(handlers(move |_, body| {
        let number = u32::from_be_bytes(body[..].try_into().unwrap());
        seen.lock().unwrap().push(number);
        async move {
            // Later ones are done sooner.
            sleep(Duration::from_millis(u64::from(9 - number % 10))).await;
            Ok(body)
        }
    }))
    .await;
    // The connection first: who waits for a dial may be woken in any order.
    let first = Bytes::copy_from_slice(&0_u32.to_be_bytes());
    one.ask_within(LOG, first, PLENTY).await.unwrap();
    let (one, answered) = (Arc::new(one), Arc::new(Mutex::new(vec![0])));
    let mut asked = JoinSet::new();
    for number in 1..COUNT {
        let (one, answered) = (one.clone(), answered.clone());
        asked.spawn(async move {
            let body = Bytes::copy_from_slice(&number.to_be_bytes());
            one.ask_within(LOG, body, PLENTY).await.unwrap();
            answered.lock().unwrap().push(number);
        });
    }
    asked.join_all().await;
    let expected: Vec<u32> = (0..COUNT).collect();
    assert_eq!(*begun.lock().unwrap(), expected);
    assert_eq!(*answered.lock().unwrap(), expected);
}

#[tokio::test]
async fn others_are_handled_side_by_side() {
    for service in [URGENT, FORWARD] {
        let second = Arc::new(Semaphore::new(0));
        let (one, _two) = pair(handlers(move |_, body| {
            let second = second.clone();
            async move {
                if body == "first" {
                    second.acquire().await.unwrap().forget();
                } else {
                    second.add_permits(1);
                }
                Ok(body)
            }
        }))
        .await;
        let (first, second) = tokio::join!(one.ask(service, b"first"), one.ask(service, b"second"));
        assert_eq!(
            (first.unwrap(), second.unwrap()),
            ("first".into(), "second".into())
        );
    }
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_and_the_next_is_answered() {
    let (one, _two) = pair(handlers(|_, body| async move {
        if body == "hang" {
            std::future::pending::<()>().await;
        }
        Ok(body)
    }))
    .await;
    for service in OVER_TCP {
        one.ask(service, b"dialled").await.unwrap();
        let started = Instant::now();
        let short = Duration::from_millis(100);
        let answer = one.ask_within(service, "hang".into(), short).await;
        assert!(is_without_answer(&answer), "{answer:?}");
        assert!(started.elapsed() >= short && started.elapsed() < PLENTY / 2);
        assert_eq!(one.ask(service, b"next").await.unwrap(), "next");
    }
}

#[tokio::test]
async fn nobody_and_this_node_itself_are_unreachable_at_once() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let one = Node::new(&identity(&authority, 1)).await;
    let started = Instant::now();
    for peer in [1, 2] {
        let answer = one.tcp.request(PeerId(peer), LOG, Bytes::new(), PLENTY);
        assert!(is_unreachable(&answer.await));
    }
    // Where nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    one.tcp.set_address(PeerId(2), address);
    assert!(is_unreachable(&one.ask(LOG, b"").await));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn whoever_is_asked_and_closes_leaves_the_fate_unknown() {
    let asked = Arc::new(Semaphore::new(0));
    let arrived = asked.clone();
    let (one, two) = pair(handlers(move |_, _| {
        arrived.add_permits(1);
        std::future::pending()
    }))
    .await;
    let close = async {
        asked.acquire_many(3).await.unwrap().forget();
        two.tcp.close().await;
    };
    let started = Instant::now();
    let asks = OVER_TCP.map(|service| one.ask(service, b""));
    let (answers, ()) = tokio::join!(join_all(asks), close);
    assert!(started.elapsed() < PLENTY / 2, "only the deadlines told");
    for answer in answers {
        assert!(is_without_answer(&answer), "{answer:?}");
    }
    until_unreachable(&one).await;
    assert!(is_unreachable(
        &two.tcp.request(PeerId(1), LOG, Bytes::new(), PLENTY).await
    ));
}

#[tokio::test]
async fn a_peer_that_died_is_unreachable_and_found_again() {
    let authority = Authority::generate(CLUSTER).unwrap();
    let one = Node::new(&identity(&authority, 1)).await;
    let second = identity(&authority, 2);
    // A runtime of its own dies without a word, as a killed process does.
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (report, reported) = blocking::channel();
    let first_life = second.clone();
    doomed.spawn(async move {
        let two = Node::new(&first_life).await;
        two.tcp.serve(echo());
        report.send(two.tcp.local_addr()).unwrap();
        std::future::pending::<()>().await;
        drop(two);
    });
    let address = reported.recv().unwrap();
    one.tcp.set_address(PeerId(2), address);
    assert_eq!(one.ask(LOG, b"before").await.unwrap(), "before");
    let shut_down = move || doomed.shutdown_timeout(PLENTY);
    tokio::task::spawn_blocking(shut_down).await.unwrap();
    until_unreachable(&one).await;

    let two = Node::at(&second, address).await;
    two.tcp.serve(echo());
    let started = Instant::now();
    while one.ask(LOG, b"after").await.is_err() {
        assert!(started.elapsed() < PLENTY, "not found again");
    }
}

#[tokio::test]
async fn strangers_are_not_heard_and_not_asked() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = handled.clone();
    let (one, two) = pair(handlers(move |_, body| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(body) }
    }))
    .await;
    // Of another cluster with the same name, and one that claims to be the peer itself.
    let other = Authority::generate(CLUSTER).unwrap();
    let stranger = Node::new(&identity(&other, 1)).await;
    stranger.knows(&two);
    let answer = stranger.ask(LOG, b"").await;
    assert!(is_unreachable(&answer), "{answer:?}");
    // At the second node's address lives the third.
    let elsewhere = Node::new(&identity(&other, 2)).await;
    elsewhere.tcp.serve(echo());
    one.knows(&elsewhere);
    let answer = one.ask(LOG, b"").await;
    assert!(is_unreachable(&answer), "{answer:?}");
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    // Back at its place it is asked again.
    one.knows(&two);
    assert_eq!(one.ask(LOG, b"hello").await.unwrap(), "hello");
}
