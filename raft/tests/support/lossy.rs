//! A network that loses answers: what was asked was done, and nobody hears of it.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use transport::memory::MemoryNetwork;
use transport::network::{Error, Handlers, Message, Network, PeerId, Sent, Service};

pub(crate) struct Lossy {
    inner: Arc<MemoryNetwork>,
    /// Of 100 answers to forwarded writes, this many are lost.
    percent: AtomicU64,
    dice: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl Lossy {
    pub(crate) fn new(inner: Arc<MemoryNetwork>) -> Self {
        let seed = inner.me().0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            inner,
            percent: AtomicU64::new(0),
            dice: AtomicU64::new(seed),
            lost: AtomicU64::new(0),
        }
    }

    pub(crate) fn lose(&self, percent: u64) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    fn is_lost(&self, service: Service) -> bool {
        let dice = self
            .dice
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let roll = (mixed ^ (mixed >> 27)) % 100;
        service == crate::message::service::WRITES && roll < self.percent.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Network for Lossy {
    fn me(&self) -> PeerId {
        self.inner.me()
    }
    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
    fn set_address(&self, peer: PeerId, address: SocketAddr) {
        self.inner.set_address(peer, address);
    }
    fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.inner.address(peer)
    }
    async fn request(
        &self,
        peer: PeerId,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        let answer = self.inner.request(peer, service, body, within).await;
        if self.is_lost(service) && answer.is_ok() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            let why = "the answer was lost".to_owned();
            return Err(Error::NoAnswer { peer, why });
        }
        answer
    }
    async fn transfer(
        &self,
        peer: PeerId,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Error> {
        self.inner
            .transfer(peer, service, head, chunks, stalled)
            .await
    }
    fn message(&self, address: SocketAddr, body: Bytes) {
        self.inner.message(address, body);
    }
    fn messages(&self) -> Option<mpsc::Receiver<Message>> {
        self.inner.messages()
    }
    fn round_trip(&self, peer: PeerId) -> Option<Duration> {
        self.inner.round_trip(peer)
    }
    fn sent(&self) -> Sent {
        self.inner.sent()
    }
    fn serve(&self, handlers: Handlers) {
        self.inner.serve(handlers);
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
