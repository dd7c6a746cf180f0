//! A network whose owner believes to be another node than its certificate says.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use transport::endpoint::Endpoint;
use transport::network::{Error, Handlers, Message, Network, PeerId, Sent, Service};

/// Node 3's endpoint in the hands of a gossip that believes to be another.
pub(crate) struct Impostor {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) claims: PeerId,
}

#[async_trait]
impl Network for Impostor {
    fn me(&self) -> PeerId {
        self.claims
    }
    fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }
    fn set_address(&self, peer: PeerId, address: SocketAddr) {
        self.endpoint.set_address(peer, address);
    }
    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.endpoint.address(peer)
    }
    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        self.endpoint.request(peer, service, body, within).await
    }
    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        self.endpoint
            .transfer(peer, service, head, chunks, stalled)
            .await
    }
    fn message(&self, address: SocketAddr, body: Bytes) {
        self.endpoint.message(address, body);
    }
    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        self.endpoint.messages()
    }
    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        self.endpoint.round_trip(peer)
    }
    fn sent(&self) -> Sent {
        self.endpoint.sent()
    }
    fn serve(&self, handlers: Handlers) {
        self.endpoint.serve(handlers);
    }
    async fn close(&self) {
        self.endpoint.close().await;
    }
}
