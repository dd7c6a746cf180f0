//! Requests between two nodes on loopback: QUIC with mutual TLS, as forwarded writes go.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use transport::endpoint::{Endpoint, Options};
use transport::identity::{Authority, Identity, NewNode};
use transport::network::{Handler, Handlers, Lane, Network, PeerId, Refusal, Service};

const CLUSTER: &str = "micro";
const WITHIN: Duration = Duration::from_secs(60);
const ECHO: Service = Service {
    number: 1,
    lane: Lane::Forward,
    name: "echo",
};
/// About what a forwarded like is.
const BODY: [u8; 128] = [7; 128];

struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, _from: PeerId, body: Bytes, _left: Duration) -> Result<Bytes, Refusal> {
        Ok(body)
    }
}

#[divan::bench(args = [1, 64], sample_count = 500)]
fn request(bencher: Bencher, in_flight: usize) {
    let runtime = Runtime::new().expect("a runtime starts");
    let (one, two) = runtime.block_on(async { pair() });
    runtime.block_on(ask(&one));
    bencher
        .counter(ItemsCount::new(in_flight))
        .bench_local(|| runtime.block_on(many(&one, in_flight)));
    runtime.block_on(async {
        one.close().await;
        two.close().await;
    });
}

async fn many(from: &Arc<Endpoint>, count: usize) {
    if count == 1 {
        return ask(from).await;
    }
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let from = Arc::clone(from);
        requests.spawn(async move { ask(&from).await });
    }
    while let Some(answered) = requests.join_next().await {
        answered.expect("no request panics");
    }
}

async fn ask(from: &Endpoint) {
    let body = Bytes::from_static(&BODY);
    let answer = from.request(PeerId(2), ECHO, body, WITHIN).await;
    assert_eq!(answer.as_deref(), Ok(BODY.as_slice()));
}

/// Two nodes that know each other; the second answers.
fn pair() -> (Arc<Endpoint>, Arc<Endpoint>) {
    let authority = Authority::generate(CLUSTER).expect("an authority is made");
    let [one, two] = [1, 2].map(|peer| {
        let node = NewNode::generate().expect("a key is made");
        let certificate = authority.sign(&node.csr, PeerId(peer));
        let bound = Endpoint::bind(Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            identity: Identity {
                cluster_id: CLUSTER.to_owned(),
                peer: PeerId(peer),
                ca_certificate: authority.certificate(),
                certificate: certificate.expect("the request is our own"),
                key: node.key,
            },
            gate: None,
        });
        bound.expect("loopback has a free port")
    });
    one.set_address(two.me(), two.local_addr());
    two.set_address(one.me(), one.local_addr());
    two.serve(Handlers {
        requests: vec![(ECHO, Arc::new(Echo))],
        transfers: Vec::new(),
    });
    (one, two)
}
