//! What the driver needs to know of an operation: how a client connects, and what it does.
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::client::{Client, Node};
use crate::scenario::Scenario;
use crate::trouble::Trouble;
use crate::world::World;

/// A kind of operation and its clients. Clones share what they are about.
pub trait Work: Clone + Send + 'static {
    /// One connection and what goes with it; it stays on its thread.
    type Client: 'static;

    fn name(&self) -> &str;

    /// Makes the `index`th client, connected.
    ///
    /// # Errors
    /// When the server cannot be reached.
    fn connect(
        &self,
        index: usize,
        seed: u64,
    ) -> impl Future<Output = Result<Self::Client, Trouble>>;

    /// Does one operation.
    ///
    /// # Errors
    /// Whatever keeps it from being a full success.
    fn perform(&self, client: &mut Self::Client) -> impl Future<Output = Result<(), Trouble>>;

    /// Is told of each operation when it has ended, for those who want more than the figures;
    /// `due` is the moment from which its latency counts.
    fn note(&self, _due: Instant, _end: Instant, _became: &Result<(), Trouble>) {}

    /// Ends an open loop before its time, for those who do not know beforehand how long they need
    /// it. Looked at before each arrival.
    fn is_enough(&self) -> bool {
        false
    }
}

/// A scenario at some nodes; connections are spread over them, and stay.
#[derive(Clone)]
pub struct Api {
    pub nodes: Vec<Node>,
    pub world: Arc<World>,
    pub scenario: Scenario,
}

impl Work for Api {
    type Client = Client;

    fn name(&self) -> &str {
        self.scenario.name()
    }

    async fn connect(&self, index: usize, seed: u64) -> Result<Client, Trouble> {
        let mut client = self.connect_to(index, index, seed).await?;
        if self.scenario.takes_two() {
            let other = self.connect_to(index + 1, index, seed).await?;
            client.other = Some(Box::new(other));
        }
        Ok(client)
    }

    async fn perform(&self, client: &mut Client) -> Result<(), Trouble> {
        let became = self.scenario.perform(&self.world, client).await;
        self.world.count_done();
        became
    }
}

impl Api {
    async fn connect_to(&self, place: usize, index: usize, seed: u64) -> Result<Client, Trouble> {
        let node = self.nodes.get(place % self.nodes.len().max(1));
        let node = node.ok_or_else(|| Trouble::Broken("no node to ask".to_owned()))?;
        let mut client = Client::new(index, node.clone(), seed);
        client.connect().await?;
        Ok(client)
    }
}
