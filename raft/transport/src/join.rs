//! The join protocol: the one ALPN that admits a peer without a certificate.
//!
//! One connection, one stream: the version byte and the request, then the version byte, a code and
//! the answer. The new node knows the cluster by the digest of its CA alone, and trusts nothing
//! that does not lead there; the cluster knows the new node by the token's secret.
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use quinn::Connection;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::codes;
use crate::endpoint::Shared;
use crate::identity::{self, JoinToken, cluster_of, peer_of};
use crate::network::{PeerId, Refusal};
use crate::tls;

/// Joins that a node deals with at the same time.
pub(crate) const JOINS_AT_ONCE: usize = 8;
/// How long one join may take on the answering side.
const JOIN_TIME: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// A grant names every node of the cluster.
const GRANT_BYTES_MAX: usize = 1 << 20;
/// How long the handshake with one address may take.
const DIAL_TIME: Duration = Duration::from_secs(3);
/// Pause after all addresses were asked in vain.
const PAUSE: Duration = Duration::from_millis(250);
/// The name put into the handshake; nobody has it, and nobody looks.
const ANY_NODE: &str = "join.yin.internal";

/// Layout of requests and answers.
const VERSION: u8 = 1;
/// The answer's code. The numbers are for ever.
const GRANTED: u8 = 0;
const REFUSED: u8 = 1;
const LATER: u8 = 2;

/// What a new node asks with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The join token's secret.
    pub secret: [u8; 32],
    /// DER: certificate signing request with the new node's own key.
    pub csr: Vec<u8>,
    pub incarnation: [u8; 16],
    pub zone: String,
    /// Made at random once per join, so that a lost answer can be asked for again.
    pub request: [u8; 16],
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("secret", &"[hidden]")
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    pub cluster_id: String,
    pub peer: PeerId,
    /// DER.
    pub ca_certificate: Vec<u8>,
    /// DER.
    pub certificate: Vec<u8>,
    /// The cluster's nodes, id and `host:port`.
    pub peers: Vec<(PeerId, String)>,
}

/// Decides on joins, wherever in the cluster the request came in.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    async fn admit(&self, request: JoinRequest) -> Result<JoinGrant, Refusal>;
}

/// Why a node could not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("no address to join at was given: name at least one node of the cluster as host:port")]
    NoAddress,
    #[error(
        "{address} does not belong to the cluster that this join token was made for ({why}); \
         check the address and the token"
    )]
    WrongCluster { address: String, why: String },
    #[error("the cluster refused: {0}")]
    Refused(String),
    #[error("{address} gave an answer that cannot be used: {why}")]
    BadAnswer { address: String, why: String },
    #[error("no node answered in time; {0}; check the addresses and UDP between the machines")]
    NoAnswer(String),
}

/// Asks the nodes at `addresses` (`host:port`) in turn, until one answers or `within` is over.
///
/// The grant has been checked: it leads to the token's CA and names this node's key. Asking again
/// with the same `request` gives the same grant.
///
/// # Errors
/// See [`JoinError`]. After [`JoinError::NoAnswer`] the cluster may have granted.
pub async fn join(
    addresses: &[String],
    token: &JoinToken,
    request: JoinRequest,
    within: Duration,
) -> Result<JoinGrant, JoinError> {
    if addresses.is_empty() {
        return Err(JoinError::NoAddress);
    }
    let deadline = Instant::now() + within;
    let mut message = vec![VERSION];
    message.extend(postcard::to_allocvec(&request).expect("a join request is plain data"));
    loop {
        let mut failures = Vec::new();
        let mut wrong = None;
        for address in addresses {
            let asked = ask(address, token, &request, &message);
            match timeout_at(deadline, asked).await {
                Ok(Ok(grant)) => return Ok(grant),
                Ok(Err(Failure::Final(error @ JoinError::WrongCluster { .. }))) => {
                    wrong = Some(error);
                }
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(why))) => failures.push(format!("{address}: {why}")),
                Err(_elapsed) => failures.push(format!("{address}: no answer")),
            }
        }
        // Another address may be right, but when none is, asking again does not help.
        if let Some(wrong) = wrong
            && failures.is_empty()
        {
            return Err(wrong);
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(JoinError::NoAnswer(failures.join("; ")));
        }
        sleep_until(Instant::now() + PAUSE).await;
    }
}

enum Failure {
    /// Asking again will not help.
    Final(JoinError),
    Passing(String),
}

async fn ask(
    address: &str,
    token: &JoinToken,
    request: &JoinRequest,
    message: &[u8],
) -> Result<JoinGrant, Failure> {
    let connection = dial(address, token).await?;
    let answer = exchange(&connection, message).await;
    connection.close(codes::BYE, b"done");
    let answer = answer.map_err(Failure::Passing)?;
    let bad = |why: String| {
        Failure::Final(JoinError::BadAnswer {
            address: address.to_owned(),
            why,
        })
    };
    let grant = match answer.as_slice() {
        [VERSION, GRANTED, grant @ ..] => {
            postcard::from_bytes(grant).map_err(|error| bad(error.to_string()))?
        }
        [VERSION, REFUSED, words @ ..] => {
            let words = String::from_utf8_lossy(words).into_owned();
            return Err(Failure::Final(JoinError::Refused(words)));
        }
        [VERSION, LATER, words @ ..] => {
            let words = String::from_utf8_lossy(words).into_owned();
            return Err(Failure::Passing(words));
        }
        _ => return Err(bad("it is of another release".into())),
    };
    let named = tls::shown_certificate(&connection)
        .and_then(|certificate| cluster_of(&certificate).ok())
        .ok_or_else(|| bad("its certificate names no cluster".into()))?;
    check(&grant, token, request, &named).map_err(bad)?;
    Ok(grant)
}

async fn dial(address: &str, token: &JoinToken) -> Result<Connection, Failure> {
    let passing = |error: String| Failure::Passing(error);
    let mut resolved = tokio::net::lookup_host(address)
        .await
        .map_err(|error| passing(format!("the name cannot be resolved: {error}")))?;
    let remote = resolved
        .next()
        .ok_or_else(|| passing("the name has no address".into()))?;
    let pin = Arc::new(Pin::new(token.ca_digest));
    let local = if remote.is_ipv6() {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    };
    let endpoint = quinn::Endpoint::client(local).map_err(|error| passing(error.to_string()))?;
    let config = client_config(pin.clone()).map_err(passing)?;
    let connecting = endpoint
        .connect_with(config, remote, ANY_NODE)
        .map_err(|error| passing(error.to_string()))?;
    let dialled = timeout(DIAL_TIME, connecting)
        .await
        .map_err(|_| passing("does not answer".into()))?;
    dialled.map_err(|error| match pin.complaint() {
        Some(why) => Failure::Final(JoinError::WrongCluster {
            address: address.to_owned(),
            why,
        }),
        None => passing(error.to_string()),
    })
}

async fn exchange(connection: &Connection, message: &[u8]) -> Result<Vec<u8>, String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(message).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    receive
        .read_to_end(GRANT_BYTES_MAX)
        .await
        .map_err(|error| error.to_string())
}

/// A node that starts with a grant for another key, node or cluster would only fail later.
fn check(
    grant: &JoinGrant,
    token: &JoinToken,
    request: &JoinRequest,
    cluster_id: &str,
) -> Result<(), String> {
    if grant.cluster_id != cluster_id {
        return Err("it is for another cluster".into());
    }
    if Sha256::digest(&grant.ca_certificate)[..] != token.ca_digest {
        return Err("its CA is not the join token's".into());
    }
    let peer = peer_of(&grant.certificate, cluster_id).map_err(|error| error.to_string())?;
    if peer != grant.peer {
        return Err(format!("its certificate is for node {peer}"));
    }
    if !identity::is_for_request(&grant.certificate, &request.csr) {
        return Err("its certificate is for another key".into());
    }
    let roots = roots(&grant.ca_certificate).map_err(|error| error.to_string())?;
    verify_chain(
        &grant.certificate.as_slice().into(),
        &roots,
        UnixTime::now(),
    )
    .map_err(|error| format!("its certificate is not valid: {error}"))
}

fn client_config(pin: Arc<Pin>) -> Result<quinn::ClientConfig, String> {
    let mut config = rustls::ClientConfig::builder_with_provider(pin.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(pin)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::JOIN_PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    tls::client_config(config)
}

/// Accepts a server whose certificate leads to the CA with this digest.
#[derive(Debug)]
struct Pin {
    ca_digest: [u8; 32],
    provider: Arc<CryptoProvider>,
    complaint: Mutex<Option<String>>,
}

impl Pin {
    fn new(ca_digest: [u8; 32]) -> Pin {
        Pin {
            ca_digest,
            provider: tls::provider(),
            complaint: Mutex::default(),
        }
    }

    /// What was wrong with the certificates shown, if anything was.
    fn complaint(&self) -> Option<String> {
        let complaint = self.complaint.lock();
        complaint.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        let authority = chain
            .iter()
            .find(|certificate| Sha256::digest(certificate)[..] == self.ca_digest)
            .ok_or("it shows another CA than the token's")?;
        let roots = roots(authority).map_err(|error| error.to_string())?;
        verify_chain(leaf, &roots, now).map_err(|error| error.to_string())?;
        // Which cluster it is, is not known beforehand; that it is a node of one can be seen.
        cluster_of(leaf).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(leaf, chain, now).map_err(|why| {
            *self
                .complaint
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(why);
            rustls::Error::from(CertificateError::ApplicationVerificationFailure)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn roots(authority: &[u8]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.to_vec().into())?;
    Ok(roots)
}

fn verify_chain(
    leaf: &CertificateDer<'_>,
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let leaf = ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, &[], now, algorithms)
}

/// Answers one joining node. Reads nothing but one bounded request, and not for long.
pub(crate) async fn serve(shared: &Shared, connection: Connection) {
    let Ok(_permit) = shared.joins.try_acquire() else {
        shared.counters().connections_refused.increment(1);
        connection.close(codes::BUSY, b"too many nodes join at once; try again");
        return;
    };
    let address = connection.remote_address();
    match timeout(JOIN_TIME, answer(shared, &connection)).await {
        Ok(Ok(())) => tracing::debug!(%address, "join answered"),
        Ok(Err(why)) => tracing::warn!(%address, why, "join broken off"),
        Err(_elapsed) => tracing::warn!(%address, "join took too long"),
    }
    connection.close(codes::BYE, b"");
}

async fn answer(shared: &Shared, connection: &Connection) -> Result<(), String> {
    let (mut send, mut receive) = connection.accept_bi().await.map_err(|e| e.to_string())?;
    let message = receive
        .read_to_end(REQUEST_BYTES_MAX)
        .await
        .map_err(|error| error.to_string())?;
    let request = match message.as_slice() {
        [VERSION, request @ ..] => postcard::from_bytes::<JoinRequest>(request).ok(),
        _ => None,
    };
    let (code, body) = match (request, shared.gate()) {
        (None, _) => {
            let words = "the join request cannot be read; is the new node of another release?";
            (REFUSED, words.into())
        }
        (Some(_), None) => (LATER, b"the node is still starting".to_vec()),
        (Some(request), Some(gate)) => match gate.admit(request).await {
            Ok(grant) => {
                let grant = postcard::to_allocvec(&grant).map_err(|error| error.to_string())?;
                (GRANTED, grant)
            }
            Err(Refusal(words)) => {
                tracing::warn!(address = %connection.remote_address(), words, "join refused");
                (REFUSED, words.into_bytes())
            }
        },
    };
    let mut answer = vec![VERSION, code];
    answer.extend(body);
    send.write_all(&answer).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    // Closing at once could overtake the answer.
    let read = send.stopped().await;
    read.map(|_| ()).map_err(|error| error.to_string())
}
