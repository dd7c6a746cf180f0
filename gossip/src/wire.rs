//! Carries chitchat's messages over the cluster's network, and throws out the ones that cannot be
//! true.
//!
//! chitchat believes what it is told. The network knows who speaks: so a message is only let in
//! when its sender speaks under its own id.
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatId, ChitchatMessage, Deserializable as _, Serializable as _};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use transport::network::{Message, Network, PeerId};

/// chitchat's header: magic number (2), version (1), kind (1).
const HEADER_BYTES: usize = 4;
/// Kinds of messages that begin with a digest: all nodes that the sender knows.
const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
/// Three numbers follow each node in a digest.
const DIGEST_NUMBERS: usize = 3;

/// chitchat's transport. Can be opened again after its socket is gone.
pub(crate) struct Wire {
    network: Arc<dyn Network>,
    inbox: Arc<Mutex<mpsc::Receiver<Message>>>,
}

impl Wire {
    pub(crate) fn new(network: Arc<dyn Network>, inbox: mpsc::Receiver<Message>) -> Wire {
        Wire {
            network,
            inbox: Arc::new(Mutex::new(inbox)),
        }
    }

    /// True when no message will ever come again.
    pub(crate) fn is_closed(&self) -> bool {
        let inbox = self.inbox.try_lock();
        inbox.is_ok_and(|inbox| inbox.is_closed())
    }
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let inbox = self.inbox.clone().lock_owned().await;
        Ok(Box::new(Outlet {
            network: self.network.clone(),
            inbox,
        }))
    }
}

struct Outlet {
    network: Arc<dyn Network>,
    inbox: OwnedMutexGuard<mpsc::Receiver<Message>>,
}

#[async_trait]
impl Socket for Outlet {
    /// Never waits: the network drops what it cannot send.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        // A seed, or where this node lived under an earlier id.
        if to == self.network.local_addr() {
            return Ok(());
        }
        let body = message.serialize_to_vec();
        self.network.message(to, body.into());
        Ok(())
    }

    /// May be dropped at any time: only waiting is done here.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let message = self.inbox.recv().await.context("the network is closed")?;
            match open(&message) {
                Ok(inside) => return Ok((message.address, inside)),
                Err(error) => {
                    tracing::warn!(from = %message.from, address = %message.address, %error, "gossip ignored");
                }
            }
        }
    }
}

fn open(message: &Message) -> anyhow::Result<ChitchatMessage> {
    check(message)?;
    ChitchatMessage::deserialize(&mut &message.body[..])
}

/// Who sends a digest stands in it, under its own id. Others may stand in it at the same place: a
/// node that lost its data comes back under a new id where the old one lived.
fn check(message: &Message) -> anyhow::Result<()> {
    let Some((header, mut digest)) = message.body.split_at_checked(HEADER_BYTES) else {
        bail!("too short");
    };
    if !matches!(header[3], SYN | SYN_ACK) {
        return Ok(());
    }
    let mut is_own = false;
    for _ in 0..u16::deserialize(&mut digest)? {
        let id = ChitchatId::deserialize(&mut digest)?;
        for _ in 0..DIGEST_NUMBERS {
            u64::deserialize(&mut digest)?;
        }
        let peer = peer(&id).with_context(|| format!("{:?} is not a node id", id.node_id))?;
        is_own |= peer == message.from;
    }
    if !is_own {
        bail!("node {} does not speak under its own id", message.from);
    }
    Ok(())
}

/// The node that a chitchat id stands for.
pub(crate) fn peer(id: &ChitchatId) -> Option<PeerId> {
    let peer = PeerId(id.node_id.parse().ok()?);
    // One node, one name.
    (peer.to_string() == *id.node_id).then_some(peer)
}
