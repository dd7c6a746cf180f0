//! Letting nodes in: who joins gets an id that was never used, and a certificate for it.
//!
//! Any node may be asked. The id comes from the log; the certificate is signed by a node that holds
//! the key that seals the CA's key, which voters do: one that does not passes the request on.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use model::cluster::{AdmitNode, NodeInfo};
use model::command::{Operation, Reply, RequestId};
use model::id::NodeId;
use model::time::Timestamp;
use model::token::TokenHash;
use raft::clock::Clock;
use raft::replica::{Consistency, Proposal, Replica};
use serde::{Deserialize, Serialize};
use transport::identity::{Authority, SealKey};
use transport::join::{Gate, JoinGrant, JoinRequest};
use transport::network::{Handler, Lane, Network, PeerId, Refusal, Service};

use crate::directory::Directory;

/// Asks a node to admit a new or replaced node.
pub(crate) const ADMIT: Service = Service {
    number: 64,
    lane: Lane::Forward,
    name: "admit",
};
/// Tells a node where a member lives, so that it is in the membership under that address.
pub(crate) const HELLO: Service = Service {
    number: 65,
    lane: Lane::Forward,
    name: "hello",
};
/// Hands the seal key to a node that is about to vote.
pub(crate) const SEAL: Service = Service {
    number: 66,
    lane: Lane::Forward,
    name: "seal",
};

const WITHIN: Duration = Duration::from_secs(10);

/// What [`ADMIT`] carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// A join that came in elsewhere.
    Join(JoinRequest),
    /// The sender lost its data and comes back as a new node.
    Replace(Replace),
}

/// A node's request for a new id in place of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replace {
    pub(crate) csr: Vec<u8>,
    pub(crate) incarnation: [u8; 16],
    pub(crate) zone: String,
    pub(crate) request: [u8; 16],
}

/// By what right, and for whom.
struct Claim {
    token: Option<TokenHash>,
    replaces: Option<NodeId>,
    csr: Vec<u8>,
    node: NodeInfo,
    request: [u8; 16],
}

/// Admits nodes, on whichever node was asked.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) cluster_id: String,
    pub(crate) replica: Replica,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<dyn Clock>,
}

fn refuse(error: impl std::fmt::Display) -> Refusal {
    Refusal(error.to_string())
}

impl Admission {
    /// Signs here if this node can, else lets a voter do it.
    async fn decide(&self, ask: Ask, claim: Claim) -> Result<JoinGrant, Refusal> {
        match self.directory.seal_key().map_err(refuse)? {
            Some(seal) => self.admit_here(claim, &seal).await,
            None => self.pass_on(&ask).await,
        }
    }

    async fn admit_here(&self, claim: Claim, seal: &SealKey) -> Result<JoinGrant, Refusal> {
        let reading = self
            .replica
            .read(Consistency::Linearizable, WITHIN)
            .await
            .map_err(refuse)?;
        let identity = model::cluster::identity(&reading.view)
            .map_err(refuse)?
            .ok_or_else(|| refuse("the cluster is not founded yet: try again in a moment"))?;
        let authority = Authority::unseal(
            &self.cluster_id,
            &identity.ca_certificate,
            &identity.sealed_ca_key,
            seal,
        )
        .map_err(refuse)?;
        let written = self
            .replica
            .write(
                Proposal {
                    request: RequestId(claim.request),
                    issued: self.issued(),
                    actor: None,
                    operation: Operation::AdmitNode(AdmitNode {
                        token: claim.token,
                        replaces: claim.replaces,
                        node: claim.node,
                    }),
                },
                WITHIN,
            )
            .await
            .map_err(refuse)?;
        let node = match written.reply {
            Reply::Admitted { node } => node,
            Reply::Rejected(rejection) => return Err(refuse(rejection)),
            other => return Err(refuse(format!("unexpected answer {other:?}"))),
        };
        let certificate = authority.sign(&claim.csr, PeerId(node.0)).map_err(refuse)?;
        tracing::info!(node = node.0, replaces = ?claim.replaces, "admitted a node");
        Ok(JoinGrant {
            cluster_id: self.cluster_id.clone(),
            peer: PeerId(node.0),
            ca_certificate: identity.ca_certificate,
            certificate,
            peers: self.peers(),
        })
    }

    /// The same for every repeat of a join, whichever node is asked: a request is recognised by its
    /// id and its time of issue, and a node that joins has no clock that anyone trusts yet.
    fn issued(&self) -> Timestamp {
        const STEP_MS: u64 = 20 * 60 * 1_000;
        Timestamp(self.clock.now().0 / STEP_MS * STEP_MS)
    }

    /// The members and where they live.
    fn peers(&self) -> Vec<(PeerId, String)> {
        let status = self.replica.status();
        status
            .addresses
            .iter()
            .map(|(node, address)| (PeerId(node.0), address.to_string()))
            .collect()
    }

    async fn pass_on(&self, ask: &Ask) -> Result<JoinGrant, Refusal> {
        let body = Bytes::from(postcard::to_stdvec(ask).map_err(refuse)?);
        let status = self.replica.status();
        let mut last = refuse("no voter is known yet: try again in a moment");
        for voter in status
            .voters
            .iter()
            .filter(|id| id.0 != self.network.me().0)
        {
            match self
                .network
                .request(PeerId(voter.0), ADMIT, body.clone(), WITHIN)
                .await
            {
                Ok(grant) => return postcard::from_bytes(&grant).map_err(refuse),
                Err(error) => last = refuse(error),
            }
        }
        Err(last)
    }
}

impl From<&JoinRequest> for Claim {
    fn from(request: &JoinRequest) -> Self {
        Self {
            token: Some(TokenHash(transport::identity::hash_secret(&request.secret))),
            replaces: None,
            csr: request.csr.clone(),
            node: NodeInfo {
                incarnation: request.incarnation,
                zone: request.zone.clone(),
            },
            request: request.request,
        }
    }
}

#[async_trait]
impl Gate for Admission {
    async fn admit(&self, request: JoinRequest) -> Result<JoinGrant, Refusal> {
        let claim = Claim::from(&request);
        self.decide(Ask::Join(request), claim).await
    }
}

#[async_trait]
impl Handler for Admission {
    async fn handle(&self, from: PeerId, body: Bytes, _left: Duration) -> Result<Bytes, Refusal> {
        let ask: Ask = postcard::from_bytes(&body).map_err(refuse)?;
        let claim = match &ask {
            Ask::Join(request) => Claim::from(request),
            Ask::Replace(replace) => Claim {
                token: None,
                replaces: Some(NodeId(from.0)),
                csr: replace.csr.clone(),
                node: NodeInfo {
                    incarnation: replace.incarnation,
                    zone: replace.zone.clone(),
                },
                request: replace.request,
            },
        };
        // What a peer was asked for it must do itself: passing on again could go in circles, and
        // would lose who wants to be replaced.
        let seal = self.directory.seal_key().map_err(refuse)?.ok_or_else(|| {
            refuse("this node does not vote and cannot admit others: ask a voter")
        })?;
        let grant = self.admit_here(claim, &seal).await?;
        postcard::to_stdvec(&grant).map(Bytes::from).map_err(refuse)
    }
}

/// Answers [`HELLO`].
pub(crate) struct Hello {
    pub(crate) replica: Replica,
}

#[async_trait]
impl Handler for Hello {
    async fn handle(&self, from: PeerId, body: Bytes, left: Duration) -> Result<Bytes, Refusal> {
        let address: SocketAddr = postcard::from_bytes(&body).map_err(refuse)?;
        let node = NodeId(from.0);
        let reading = self
            .replica
            .read(Consistency::Linearizable, left)
            .await
            .map_err(refuse)?;
        let nodes = model::cluster::nodes(&reading.view).map_err(refuse)?;
        match nodes.get(&node) {
            None => return Err(refuse("this cluster never admitted that node")),
            Some(known) if known.is_retired => {
                return Err(refuse(
                    "that node id was retired: empty its data directory and join as a new node",
                ));
            }
            Some(_) => {}
        }
        settle(&self.replica, node, address).await.map_err(refuse)?;
        Ok(Bytes::new())
    }
}

/// Makes `node` a member that lives at `address`.
pub(crate) async fn settle(
    replica: &Replica,
    node: NodeId,
    address: SocketAddr,
) -> Result<(), raft::replica::Error> {
    match replica.status().addresses.get(&node) {
        Some(known) if *known == address => Ok(()),
        Some(_) => replica.set_address(node, address).await,
        None => replica.add_learner(node, address).await,
    }
}

/// Answers [`SEAL`].
pub(crate) struct Seal {
    pub(crate) cluster_id: String,
    pub(crate) replica: Replica,
    pub(crate) directory: Arc<Directory>,
}

#[async_trait]
impl Handler for Seal {
    async fn handle(&self, from: PeerId, body: Bytes, left: Duration) -> Result<Bytes, Refusal> {
        if !self.replica.status().voters.contains(&NodeId(from.0)) {
            return Err(refuse("only a voter may hand over the seal key"));
        }
        let bytes: [u8; 32] = body
            .as_ref()
            .try_into()
            .map_err(|_| refuse("a seal key has 32 bytes"))?;
        let key = SealKey(bytes);
        let reading = self
            .replica
            .read(Consistency::Session(None), left)
            .await
            .map_err(refuse)?;
        let identity = model::cluster::identity(&reading.view)
            .map_err(refuse)?
            .ok_or_else(|| refuse("this node does not know its cluster yet"))?;
        // A key that does not open the CA would lock this node out of admitting others.
        Authority::unseal(
            &self.cluster_id,
            &identity.ca_certificate,
            &identity.sealed_ca_key,
            &key,
        )
        .map_err(refuse)?;
        self.directory.save_seal_key(&key).map_err(refuse)?;
        Ok(Bytes::new())
    }
}

/// Gives the seal key to a node that is about to vote; it keeps it when this returns.
///
/// # Errors
/// When this node has no seal key, or the other does not take it.
pub(crate) async fn hand_seal_key(
    network: &dyn Network,
    directory: &Directory,
    to: NodeId,
) -> Result<()> {
    let key = directory
        .seal_key()?
        .context("this voter has no seal.json: copy it from another voter's data directory")?;
    network
        .request(
            PeerId(to.0),
            SEAL,
            Bytes::copy_from_slice(&key.0),
            Duration::from_secs(5),
        )
        .await
        .context("handing over the seal key")?;
    Ok(())
}
