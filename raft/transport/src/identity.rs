//! Who a node is: the cluster's CA, node certificates, join tokens.
//!
//! A node's id stands in its certificate and nowhere else: whoever holds the certificate's key is
//! that node, and only the [`Authority`] hands certificates out.
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::network::PeerId;

/// How long a node's certificate is good for. Nodes can't renew yet, so this is long on purpose
/// (DESIGN.md, "certificates live ten years").
const NODE_LIFETIME: Duration = Duration::from_secs(10 * YEAR_SECS);
/// How long the CA is good for: longer than any node it signs for years to come.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * YEAR_SECS);
/// Certificates are good from a day ago, for nodes whose clock is behind the signer's.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);
const YEAR_SECS: u64 = 365 * 24 * 3600;
/// Longest accepted signing request; a P-256 request has about 250 bytes.
const CSR_BYTES_MAX: usize = 16 * 1024;
/// Longest cluster id: `node-<20 digits>.` and the id must stay a DNS name, its label ≤ 63.
const CLUSTER_ID_BYTES_MAX: usize = 63;
/// First byte of a sealed key, so that the sealing can change one day.
const SEAL_VERSION: u8 = 1;
const TOKEN_PREFIX: &str = "YINJOIN-1-";
/// base64url of 32 bytes, without padding.
const TOKEN_PART_CHARS: usize = 43;

/// The name in a node's certificate that only this node has.
pub fn node_name(cluster_id: &str, peer: PeerId) -> String {
    format!("node-{peer}.{cluster_id}.yin.internal")
}

/// The name that every node of a cluster has.
pub fn cluster_name(cluster_id: &str) -> String {
    format!("node.{cluster_id}.yin.internal")
}

/// What is wrong with a key, certificate or request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "cluster id {0:?} cannot be part of a host name: use 1 to 63 lower-case letters, digits or \
         inner hyphens"
    )]
    ClusterId(String),
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the certificate does not name a node of cluster {0}")]
    OtherCluster(String),
    #[error("the signing request is refused: {0}")]
    Request(String),
    #[error("the sealed CA key cannot be opened: wrong seal key, other cluster, or damaged bytes")]
    Unseal,
    #[error("the CA's key does not belong to the CA's certificate")]
    KeyMismatch,
    #[error("no key or signature could be made: {0}")]
    Crypto(String),
}

/// The key that seals the CA's key; only voters hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl SealKey {
    pub fn generate() -> SealKey {
        SealKey(random())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey([hidden])")
    }
}

/// The cluster's certificate authority, unsealed. `Debug` never shows the key.
pub struct Authority {
    cluster_id: String,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new cluster's CA.
    ///
    /// # Errors
    /// [`Error::ClusterId`] when the id cannot be part of a host name.
    pub fn generate(cluster_id: &str) -> Result<Authority, Error> {
        check_cluster_id(cluster_id)?;
        let key = KeyPair::generate().map_err(crypto)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("yin cluster {cluster_id}"));
        // No CA below this one: a leaf can never sign.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_lifetime(&mut params, AUTHORITY_LIFETIME);
        let certificate = params.self_signed(&key).map_err(crypto)?.der().to_vec();
        Ok(Authority {
            cluster_id: cluster_id.to_owned(),
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Opens a sealed CA key.
    ///
    /// # Errors
    /// [`Error::Unseal`] when `seal` or `cluster_id` is another, or a bit was changed;
    /// [`Error::KeyMismatch`] when key and certificate belong to different CAs.
    pub fn unseal(
        cluster_id: &str,
        ca_certificate: &[u8],
        sealed: &[u8],
        seal: &SealKey,
    ) -> Result<Authority, Error> {
        check_cluster_id(cluster_id)?;
        let (&version, rest) = sealed.split_first().ok_or(Error::Unseal)?;
        if version != SEAL_VERSION {
            return Err(Error::Unseal);
        }
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Error::Unseal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Unseal)?;
        let mut body = body.to_vec();
        let plain = seal_cipher(seal)
            .open_in_place(nonce, seal_context(cluster_id), &mut body)
            .map_err(|_| Error::Unseal)?;
        let key = KeyPair::try_from(&*plain).map_err(crypto)?;

        let parsed = parse(ca_certificate)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Error::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(ca_certificate), key)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(Authority {
            cluster_id: cluster_id.to_owned(),
            certificate: ca_certificate.to_vec(),
            issuer,
        })
    }

    /// The CA's key, readable only with `seal` and only for this cluster's id.
    pub fn seal(&self, seal: &SealKey) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut body = self.issuer.key().serialize_der();
        seal_cipher(seal)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                seal_context(&self.cluster_id),
                &mut body,
            )
            .expect("a key of some hundred bytes is far below the cipher's limit");
        let mut sealed = vec![SEAL_VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        sealed
    }

    /// DER: the CA's own certificate.
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.clone()
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Signs a certificate (DER) for `peer` over the key in `csr` (DER).
    ///
    /// The request must be signed with its own key. Names and usages that it asks for are ignored:
    /// the certificate says what this cluster says.
    ///
    /// # Errors
    /// [`Error::Request`] when the request is malformed, too long or not signed by its key.
    pub fn sign(&self, csr: &[u8], peer: PeerId) -> Result<Vec<u8>, Error> {
        if csr.len() > CSR_BYTES_MAX {
            return Err(Error::Request(format!(
                "{} bytes is too long (at most {CSR_BYTES_MAX})",
                csr.len()
            )));
        }
        let request = CertificateSigningRequestParams::from_der(
            &CertificateSigningRequestDer::from(csr.to_vec()),
        )
        .map_err(|error| Error::Request(error.to_string()))?;
        let mut params = CertificateParams::new(vec![
            node_name(&self.cluster_id, peer),
            cluster_name(&self.cluster_id),
        ])
        .map_err(crypto)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("yin node {peer}"));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        set_lifetime(&mut params, NODE_LIFETIME);
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(crypto)?;
        Ok(certificate.der().to_vec())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster_id", &self.cluster_id)
            .field("key", &"[hidden]")
            .finish_non_exhaustive()
    }
}

/// A new node's key, made on the node itself and never sent, and what it asks to be signed.
#[derive(Clone)]
pub struct NewNode {
    /// DER, PKCS#8.
    pub key: Vec<u8>,
    /// DER: certificate signing request over that key.
    pub csr: Vec<u8>,
}

impl NewNode {
    /// # Errors
    /// [`Error::Crypto`] when the operating system gives no random bytes.
    pub fn generate() -> Result<NewNode, Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr = params.serialize_request(&key).map_err(crypto)?;
        Ok(NewNode {
            key: key.serialize_der(),
            csr: csr.der().to_vec(),
        })
    }
}

impl fmt::Debug for NewNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewNode { key: [hidden], .. }")
    }
}

/// One node's own certificate and key. `Debug` never shows the key.
#[derive(Clone)]
pub struct Identity {
    pub cluster_id: String,
    pub peer: PeerId,
    /// DER: the CA's certificate.
    pub ca_certificate: Vec<u8>,
    /// DER: this node's certificate.
    pub certificate: Vec<u8>,
    /// DER, PKCS#8: this node's key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cluster_id", &self.cluster_id)
            .field("peer", &self.peer)
            .field("key", &"[hidden]")
            .finish_non_exhaustive()
    }
}

/// Which node of `cluster_id` a certificate (DER) names. Says nothing about who signed it.
///
/// # Errors
/// [`Error::Certificate`] when it cannot be read, [`Error::OtherCluster`] when it names no node of
/// this cluster, or more than one.
pub fn peer_of(certificate: &[u8], cluster_id: &str) -> Result<PeerId, Error> {
    let other = || Error::OtherCluster(cluster_id.to_owned());
    let suffix = format!(".{cluster_id}.yin.internal");
    let mut peers = names(certificate)?.into_iter().filter_map(|name| {
        let digits = name.strip_suffix(&suffix)?.strip_prefix("node-")?;
        let peer = PeerId(digits.parse().ok()?);
        // `node-007` and `node-+7` would parse too: one node, one name.
        (node_name(cluster_id, peer) == name).then_some(peer)
    });
    let peer = peers.next().ok_or_else(other)?;
    if peers.next().is_some() {
        return Err(other());
    }
    Ok(peer)
}

/// Which cluster a node's certificate (DER) names. Says nothing about who signed it.
///
/// # Errors
/// [`Error::Certificate`] when it cannot be read or names no cluster.
pub fn cluster_of(certificate: &[u8]) -> Result<String, Error> {
    names(certificate)?
        .iter()
        .find_map(|name| {
            let id = name.strip_prefix("node.")?.strip_suffix(".yin.internal")?;
            check_cluster_id(id).ok()?;
            Some(id.to_owned())
        })
        .ok_or_else(|| Error::Certificate("it names no yin cluster".into()))
}

/// What a new node is started with: pins the CA, proves the right to join. Written
/// `YINJOIN-1-<base64url sha256 of the CA certificate>-<base64url secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub ca_digest: [u8; 32],
    pub secret: [u8; 32],
}

impl JoinToken {
    /// A new token with a random secret for the cluster of this CA (DER).
    pub fn generate(ca_certificate: &[u8]) -> JoinToken {
        JoinToken {
            ca_digest: Sha256::digest(ca_certificate).into(),
            secret: random(),
        }
    }

    /// What the cluster keeps instead of the secret: its SHA-256.
    pub fn hash(&self) -> [u8; 32] {
        hash_secret(&self.secret)
    }
}

/// SHA-256 of a join token's secret, to compare with [`JoinToken::hash`].
pub fn hash_secret(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = URL_SAFE_NO_PAD.encode(self.ca_digest);
        let secret = URL_SAFE_NO_PAD.encode(self.secret);
        write!(f, "{TOKEN_PREFIX}{digest}-{secret}")
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken([hidden])")
    }
}

/// What is wrong with a join token. Never repeats the token: it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "this is not a join token: it must begin with {TOKEN_PREFIX}; copy the whole line that the \
         cluster printed"
    )]
    Prefix,
    #[error(
        "the join token has {0} characters instead of {whole}: a part of it is missing or doubled; \
         copy the whole line that the cluster printed",
        whole = TOKEN_PREFIX.len() + 2 * TOKEN_PART_CHARS + 1
    )]
    Length(usize),
    #[error(
        "the join token's {0} is damaged (only letters, digits, '-' and '_' belong there); copy \
         the whole line that the cluster printed"
    )]
    Part(&'static str),
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        let text = text.trim();
        let rest = text.strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Prefix)?;
        // The alphabet contains '-' itself, so the parts are told apart by their length.
        if rest.len() != 2 * TOKEN_PART_CHARS + 1 || !rest.is_ascii() {
            return Err(TokenError::Length(text.chars().count()));
        }
        let (digest, rest) = rest.split_at(TOKEN_PART_CHARS);
        let secret = rest
            .strip_prefix('-')
            .ok_or(TokenError::Part("separator"))?;
        Ok(JoinToken {
            ca_digest: decode_part(digest).ok_or(TokenError::Part("first half"))?,
            secret: decode_part(secret).ok_or(TokenError::Part("second half"))?,
        })
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has random bytes; nothing is safe without");
    bytes
}

/// Reads a certificate without judging it.
pub(crate) fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(Error::Certificate("bytes follow its end".into())),
        Err(error) => Err(Error::Certificate(error.to_string())),
    }
}

/// Whether a certificate (DER) is over the key of a signing request (DER).
pub(crate) fn is_for_request(certificate: &[u8], csr: &[u8]) -> bool {
    let Ok(certificate) = parse(certificate) else {
        return false;
    };
    let Ok((_, csr)) = X509CertificationRequest::from_der(csr) else {
        return false;
    };
    certificate.public_key().raw == csr.certification_request_info.subject_pki.raw
}

fn names(certificate: &[u8]) -> Result<Vec<String>, Error> {
    let parsed = parse(certificate)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| Error::Certificate(error.to_string()))?;
    Ok(names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}

fn check_cluster_id(id: &str) -> Result<(), Error> {
    let is_label = !id.is_empty()
        && id.len() <= CLUSTER_ID_BYTES_MAX
        && !id.starts_with('-')
        && !id.ends_with('-')
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_label {
        Ok(())
    } else {
        Err(Error::ClusterId(id.to_owned()))
    }
}

fn set_lifetime(params: &mut CertificateParams, lifetime: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + lifetime).into();
    let mut serial: [u8; 16] = random();
    serial[0] &= 0x7f; // a serial number is positive
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

fn seal_cipher(seal: &SealKey) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &seal.0).expect("the key has 32 bytes");
    LessSafeKey::new(key)
}

/// Binds a sealed key to its cluster.
fn seal_context(cluster_id: &str) -> Aad<Vec<u8>> {
    Aad::from([b"yin ca key\0", cluster_id.as_bytes()].concat())
}

fn decode_part(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn crypto(error: rcgen::Error) -> Error {
    Error::Crypto(error.to_string())
}
