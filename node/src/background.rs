//! What a node does unasked: keeps its place in the membership, follows the membership plan when it
//! leads, tells others how it stands, and sweeps.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::sweeper::Sweeper;
use bytes::Bytes;
use gossip::members::{Members, Told};
use model::command::{Operation, Reply, RequestId};
use model::id::NodeId;
use model::sweep::Sweep;
use raft::clock::Clock;
use raft::replica::{Consistency, Proposal, Replica, Role, Status};
use storage::disk::Reserve;
use storage::state::RocksState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transport::network::{Network, PeerId};

use crate::admission::{HELLO, hand_seal_key, settle};
use crate::directory::Directory;
use crate::plan::{self, Standing, Step};
use crate::{random, room};

/// How often the plan is looked at.
const PLAN_EVERY: Duration = Duration::from_millis(500);
/// How often a node tells of itself.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How often the engine's figures are read.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How often the leader looks for orphaned blobs.
const SWEEP_BLOBS_EVERY: Duration = Duration::from_secs(600);
/// How often the leader sweeps what has expired.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How much one sweep removes at most, so that it never holds up others' writes for long.
const SWEEP_LIMIT: u32 = 1_000;

/// All that the background loops share.
#[derive(Clone)]
pub(crate) struct Background {
    pub(crate) me: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) replica: Replica,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) members: watch::Receiver<Arc<Members>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: CancellationToken,
}

impl Background {
    /// Runs `deed` again and again until the node stops; a failure is told and tried again.
    async fn every<F, D>(self, period: Duration, what: &'static str, mut deed: F)
    where
        F: FnMut(Background) -> D,
        D: Future<Output = Result<()>>,
    {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let result = tokio::select! {
                () = self.stop.cancelled() => return,
                result = deed(self.clone()) => result,
            };
            match result {
                Ok(()) => is_failing = false,
                // Once per spell: elections and restarts make this normal for a moment.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(error = format!("{error:#}"), "{what} failed; trying again");
                }
                Err(error) => tracing::debug!(error = format!("{error:#}"), "{what} still fails"),
            }
        }
    }

    /// Sees to it that the membership has this node under its present address.
    pub(crate) async fn keep_place(self) {
        self.every(
            PLAN_EVERY,
            "telling the cluster where this node lives",
            Self::place,
        )
        .await;
    }

    async fn place(self) -> Result<()> {
        let status = self.replica.status();
        if status.addresses.get(&self.me) == Some(&self.address) {
            return Ok(());
        }
        if status.role == Role::Leader {
            return Ok(settle(&self.replica, self.me, self.address).await?);
        }
        let body = Bytes::from(postcard::to_stdvec(&self.address)?);
        let mut last = anyhow::anyhow!("no other node is known yet");
        for peer in self.known_peers() {
            match self
                .network
                .request(peer, HELLO, body.clone(), Duration::from_secs(5))
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    fn known_peers(&self) -> BTreeSet<PeerId> {
        let mut peers: BTreeSet<PeerId> = self.members.borrow().keys().copied().collect();
        peers.extend(
            self.replica
                .status()
                .addresses
                .keys()
                .map(|id| PeerId(id.0)),
        );
        if let Ok(Some(who)) = self.directory.who() {
            peers.extend(who.peers.iter().map(|(peer, _)| PeerId(*peer)));
        }
        peers.remove(&PeerId(self.me.0));
        peers
    }

    /// Follows the membership plan while this node leads.
    pub(crate) async fn follow_plan(self) {
        self.every(PLAN_EVERY, "the membership plan", Self::one_step)
            .await;
    }

    async fn one_step(self) -> Result<()> {
        let status = self.replica.status();
        if status.role != Role::Leader {
            return Ok(());
        }
        let reading = self
            .replica
            .read(Consistency::Local, Duration::from_secs(1))
            .await?;
        let nodes = model::cluster::nodes(&reading.view)?;
        let settings = model::cluster::settings(&reading.view)?;
        let retired = nodes
            .iter()
            .filter(|(_, node)| node.is_retired)
            .map(|(id, _)| *id)
            .collect();
        let standing = self.standing(&status, retired, settings.voters);
        match plan::next(&standing) {
            None => Ok(()),
            Some(Step::Remove(node)) => {
                tracing::info!(node = node.0, "removing a retired node");
                Ok(self.replica.remove(node).await?)
            }
            Some(Step::SetVoters { voters, promoted }) => {
                if let Some(node) = promoted {
                    hand_seal_key(&*self.network, &self.directory, node).await?;
                }
                tracing::info!(?voters, "changing the voters");
                Ok(self.replica.set_voters(voters).await?)
            }
        }
    }

    fn standing(&self, status: &Status, retired: BTreeSet<NodeId>, voters: u32) -> Standing {
        let members = self.members.borrow();
        let mut alive: BTreeSet<NodeId> = members
            .values()
            .filter(|member| member.is_alive)
            .map(|member| NodeId(member.peer.0))
            .collect();
        alive.insert(self.me);
        Standing {
            me: self.me.0,
            voters: status.voters.iter().copied().collect(),
            learners: status.learners.iter().copied().collect(),
            replicated: status.replicated.clone(),
            last_log_index: status.last_log_index,
            retired,
            alive,
            voters_wanted: voters as usize,
        }
    }

    /// Removes what has expired by log time, while this node leads.
    pub(crate) async fn sweep(self) {
        self.every(SWEEP_EVERY, "sweeping what has expired", Self::sweep_once)
            .await;
    }

    async fn sweep_once(self) -> Result<()> {
        while self.replica.status().role == Role::Leader {
            let proposal = Proposal {
                request: RequestId(random::bytes()),
                issued: self.clock.now(),
                actor: None,
                operation: Operation::Sweep(Sweep { limit: SWEEP_LIMIT }),
            };
            let written = self
                .replica
                .write(proposal, Duration::from_secs(10))
                .await
                .context("proposing the sweep")?;
            match written.reply {
                Reply::Swept { removed } if removed >= u64::from(SWEEP_LIMIT) => {}
                _ => break,
            }
        }
        Ok(())
    }

    /// Puts the engine's own figures where `/metrics` finds them.
    pub(crate) async fn report(self, state: Arc<RocksState>) {
        self.every(REPORT_EVERY, "reporting the engine's figures", move |_| {
            state.report();
            std::future::ready(Ok(()))
        })
        .await;
    }

    /// Deletes blobs that no video names, while this node leads.
    pub(crate) async fn sweep_blobs(self, sweeper: Arc<Sweeper>) {
        self.every(SWEEP_BLOBS_EVERY, "sweeping orphaned blobs", move |node| {
            let sweeper = sweeper.clone();
            async move {
                if node.replica.status().role == Role::Leader {
                    let swept = sweeper.sweep().await?;
                    if swept.deleted > 0 {
                        tracing::info!(deleted = swept.deleted, "deleted orphaned blobs");
                    }
                }
                Ok(())
            }
        })
        .await;
    }

    /// Keeps the address book and the stored peers up to date with the membership.
    pub(crate) async fn follow_addresses(self) {
        let mut status = self.replica.watch();
        let mut known = std::collections::BTreeMap::new();
        loop {
            let addresses = status.borrow_and_update().addresses.clone();
            if addresses != known {
                for (node, address) in addresses.iter().filter(|(node, _)| **node != self.me) {
                    self.network.set_address(PeerId(node.0), *address);
                }
                if let Err(error) = self.remember(&addresses) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "storing the members' addresses"
                    );
                }
                known = addresses;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = status.changed() => if changed.is_err() { return },
            }
        }
    }

    fn remember(&self, addresses: &std::collections::BTreeMap<NodeId, SocketAddr>) -> Result<()> {
        let Some(mut who) = self.directory.who()? else {
            return Ok(());
        };
        who.peers = addresses
            .iter()
            .map(|(node, address)| (node.0, address.to_string()))
            .collect();
        self.directory.save_who(&who)
    }
}

/// What does not change in what a node tells of itself.
pub(crate) struct Teller {
    pub(crate) gossip: gossip::Gossip,
    pub(crate) replica: Replica,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) load: api::Load,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http_url: String,
    pub(crate) zone: String,
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) stop: CancellationToken,
}

impl Teller {
    /// Tells the others how this node stands, until it stops.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => self.gossip.tell(self.told()),
            }
        }
    }

    fn told(&self) -> Told {
        let status = self.replica.status();
        Told {
            http_url: self.http_url.clone(),
            zone: self.zone.clone(),
            role: role_name(status.role, *self.draining.borrow()).to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            applied: status.applied_index,
            load: u32::try_from(self.load.in_flight()).unwrap_or(u32::MAX),
            disk_free_bytes: room::look(&self.reserve).free_bytes,
            clock_ms: self.clock.now().0,
        }
    }
}

/// The word for a node's part.
pub(crate) fn role_name(role: Role, is_draining: bool) -> &'static str {
    match role {
        _ if is_draining => "draining",
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
        Role::Outside => "joining",
    }
}
