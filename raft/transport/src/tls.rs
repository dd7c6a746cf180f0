//! Keys and rules of the handshake, in one place.
//!
//! TLS 1.3 only, ring only, no session tickets: every connection shows its certificates afresh.
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig,
    TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use sha2::{Digest as _, Sha256};

use crate::identity::{self, Identity, peer_of};

/// Nodes that know each other: certificates both ways.
pub(crate) const PROTOCOL: &[u8] = b"yin/1";
/// The one protocol that admits a peer without a certificate.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"yin-join/1";

/// A connection on which nothing arrives for this long is dead.
const IDLE: Duration = Duration::from_secs(5);
/// So a quiet connection is kept up by several pings, of which some may be lost.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Urgent requests and transfers in flight, per peer.
const BIDI_STREAMS_MAX: u32 = 4096;
/// Messages in flight, per peer.
const UNI_STREAMS_MAX: u32 = 256;
/// What one stream may have in flight: 8 MiB fill 500 Mbit/s at 130 ms.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// What one peer may make this node hold unread: room for 32 streams that nobody reads, so that some
/// stalled transfers never hold up votes.
const RECEIVE_WINDOW_BYTES: u32 = 32 * STREAM_WINDOW_BYTES;
/// What this node holds of sent but unconfirmed bytes, per peer.
const SEND_WINDOW_BYTES: u64 = 32 << 20;
/// First guess of the round trip, so that a lost first packet is repeated after 0.3 s and not
/// after a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// What rustls needs to know to be this node, whatever carries it.
pub struct Sides {
    /// Admits peers without a certificate, of whom nothing may be read on [`PROTOCOL`].
    pub server: rustls::ServerConfig,
    pub client: rustls::ClientConfig,
}

/// What quinn needs to know to be this node.
pub(crate) struct Configs {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
}

/// Makes quinn's configurations from `identity`.
pub(crate) fn configs(identity: &Identity) -> Result<Configs, String> {
    let Sides { server, client } = sides(identity)?;
    let mut server_config =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).map_err(text)?));
    server_config.transport_config(transport());
    Ok(Configs {
        endpoint: endpoint(identity),
        server: server_config,
        client: client_config(client)?,
    })
}

/// Checks that the parts of `identity` belong together and makes rustls's configurations from it.
///
/// # Errors
/// What does not fit, in words.
pub fn sides(identity: &Identity) -> Result<Sides, String> {
    let provider = provider();
    let authority = CertificateDer::from(identity.ca_certificate.clone());
    let certificate = CertificateDer::from(identity.certificate.clone());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|error| format!("the CA certificate cannot be used: {error}"))?;
    let roots = Arc::new(roots);
    // Joining peers have no certificate yet. Who comes without one on any other protocol is shut
    // out after the handshake, before a byte is read (serve.rs).
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| format!("the CA certificate cannot be used: {error}"))?;
    verifier
        .verify_client_cert(&certificate, &[], UnixTime::now())
        .map_err(|error| format!("this node's certificate is not valid: {error}"))?;
    let named = peer_of(&identity.certificate, &identity.cluster_id).map_err(text)?;
    if named != identity.peer {
        return Err(format!(
            "this node's certificate is node {named}'s, not node {}'s",
            identity.peer
        ));
    }

    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(text)?
        .with_client_cert_verifier(verifier)
        // The CA goes along for those who join: they know only its digest.
        .with_single_cert(vec![certificate.clone(), authority], key.clone_key())
        .map_err(|error| format!("this node's key and certificate do not fit: {error}"))?;
    server.alpn_protocols = vec![PROTOCOL.to_vec(), JOIN_PROTOCOL.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(text)?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .map_err(|error| format!("this node's key and certificate do not fit: {error}"))?;
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Sides { server, client })
}

/// Makes quinn's configuration from rustls's.
pub(crate) fn client_config(client: rustls::ClientConfig) -> Result<ClientConfig, String> {
    let crypto = QuicClientConfig::try_from(client).map_err(text)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    Ok(config)
}

/// The one provider of cryptography, named and never taken from the process's default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The reset key is the same after a restart, made from the node's key: packets of connections that
/// the old process had are then answered with a stateless reset, and the peer reconnects at once
/// instead of after the idle time.
fn endpoint(identity: &Identity) -> EndpointConfig {
    let mut hash = Sha256::new();
    hash.update(b"yin stateless reset\0");
    hash.update(&identity.key);
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &hash.finalize());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Connection ids without a mark of the process that made them: quinn's own generator knows its ids
/// again by a key of the process, and would drop what the process before it is still sent.
struct RandomIds;

const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&identity::random::<CONNECTION_ID_BYTES>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE).expect("five seconds are a valid idle time");
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .initial_rtt(INITIAL_RTT)
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// The certificate that the other end showed, if it showed one.
pub(crate) fn shown_certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    chain.into_iter().next()
}

/// Which node of the cluster the other end proved to be.
pub(crate) fn proven_peer(
    connection: &quinn::Connection,
    cluster_id: &str,
) -> Result<crate::network::PeerId, identity::Error> {
    let certificate = shown_certificate(connection)
        .ok_or_else(|| identity::Error::Certificate("none was shown".into()))?;
    peer_of(&certificate, cluster_id)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
