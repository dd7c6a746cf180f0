//! Carries chitchat's messages over the network seam, so that nobody without a certificate gets in.
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable as _, Serializable as _};
use tokio::sync::mpsc;
use transport::network::{Message, Network};

/// chitchat's transport: one socket, over the node's own endpoint.
pub(crate) struct NetworkTransport {
    network: Arc<dyn Network>,
}

impl NetworkTransport {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Self { network }
    }
}

#[async_trait]
impl Transport for NetworkTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let messages = self
            .network
            .messages()
            .ok_or_else(|| anyhow::anyhow!("somebody took this network's messages before"))?;
        Ok(Box::new(NetworkSocket {
            network: self.network.clone(),
            messages,
        }))
    }
}

struct NetworkSocket {
    network: Arc<dyn Network>,
    messages: mpsc::Receiver<Message>,
}

#[async_trait]
impl Socket for NetworkSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.network
            .message(to, Bytes::from(message.serialize_to_vec()));
        Ok(())
    }

    /// Cancel-safe: nothing is awaited after a message was taken.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let Some(message) = self.messages.recv().await else {
                // The network was closed first: wait to be told to stop.
                return std::future::pending().await;
            };
            match ChitchatMessage::deserialize(&mut message.body.as_ref()) {
                Ok(decoded) => return Ok((message.address, decoded)),
                // An error here would end gossip for good.
                Err(error) => {
                    tracing::warn!(peer = %message.from, %error, "dropping a gossip message");
                }
            }
        }
    }
}
