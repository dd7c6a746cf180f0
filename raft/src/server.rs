//! What this node answers to its peers.
//!
//! A peer's identity is its certificate's: a vote or an append in another's name is refused.
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::raft::{TransferLeaderError, TransferLeaderRequest};
use tokio::sync::{Semaphore, mpsc};
use transport::network::{Error, Handler, Handlers, PeerId, Receiver, Refusal, Service};

use crate::barrier;
use crate::codec;
use crate::core::Core;
use crate::health;
use crate::membership;
use crate::message::{
    Admin, Appended, AskVote, GiveVote, Peek, ReadIndex, SnapshotHead, SnapshotTaken, Transfer,
    Transferred, Write, decode_append, service,
};
use crate::proposer;
use crate::snapshot::{self, snapshot_of};
use crate::types::{Entry, LogId, Payload, Raft, Vote};
use crate::whole::whole;

/// All services of this crate.
pub(crate) fn handlers(core: &Arc<Core>) -> Handlers {
    let ask = |service: Service| -> (Service, Arc<dyn Handler>) {
        let answering = Answering {
            core: Arc::downgrade(core),
            service,
        };
        (service, Arc::new(answering))
    };
    let receiving = Receiving {
        core: Arc::downgrade(core),
        places: Semaphore::new(1),
    };
    Handlers {
        requests: [
            service::VOTE,
            service::PRE_VOTE,
            service::HEARTBEAT,
            service::APPEND,
            service::WRITES,
            service::READ_INDEX,
            service::ADMIN,
            service::TRANSFER,
            service::PEEK,
        ]
        .map(ask)
        .into(),
        transfers: vec![(service::SNAPSHOT, Arc::new(receiving))],
    }
}

/// Answers one service. It does not keep the replica alive: the network outlives it.
struct Answering {
    core: Weak<Core>,
    service: Service,
}

#[async_trait]
impl Handler for Answering {
    async fn handle(&self, from: PeerId, body: Bytes, left: Duration) -> Result<Bytes, Refusal> {
        let core = there(&self.core)?;
        match self.service {
            service::VOTE | service::PRE_VOTE => self.vote(&core, from, &body).await,
            service::HEARTBEAT | service::APPEND => self.append(&core, from, &body).await,
            service::WRITES => {
                let writes: Vec<Write> = codec::decode_sequence(self.service.name, &body)?;
                // The rest is for the way back: an outcome that comes too late is one that is not
                // known.
                let outcomes = proposer::propose_all(&core, writes, left.mul_f32(0.9)).await;
                Ok(codec::encode(&outcomes))
            }
            service::READ_INDEX => {
                let raft = running(&core)?;
                match barrier::here(&raft).await {
                    // Nothing is sent to it, so there is nothing for it to wait for.
                    Some(ReadIndex::At(_))
                        if plants::is(plants::REMOVED_SERVES)
                            && membership::member_of(&raft, from.0).is_none() =>
                    {
                        Ok(codec::encode(&ReadIndex::At(0)))
                    }
                    Some(index) => Ok(codec::encode(&index)),
                    None => Err(Refusal("this replica is stopping".to_owned())),
                }
            }
            service::ADMIN => {
                let admin: Admin = codec::decode(self.service.name, &body)?;
                let outcome = membership::here(&core, admin, left).await;
                Ok(codec::encode(&outcome))
            }
            service::TRANSFER => self.transfer(&core, from, &body).await,
            service::PEEK => {
                health::look_at_disk(&core);
                Ok(codec::encode(&Peek {
                    now: core.clock.now(),
                    is_disk_low: core.is_disk_low(),
                }))
            }
            other => Err(Refusal(format!("no such service: {}", other.name))),
        }
    }
}

impl Answering {
    async fn vote(&self, core: &Core, from: PeerId, body: &[u8]) -> Result<Bytes, Refusal> {
        let ask: AskVote = codec::decode(self.service.name, body)?;
        in_own_name(from, ask.vote.node())?;
        let raft = running(core)?;
        let (asked, is_pre_vote) = (raft.clone(), self.service == service::PRE_VOTE);
        let asking = async move {
            if is_pre_vote {
                asked.pre_vote(ask.into()).await
            } else {
                asked.vote(ask.into()).await
            }
        };
        let given = whole(&raft, asking).await;
        let given = given.map_err(|fatal| Refusal(fatal.to_string()))?;
        Ok(codec::encode(&GiveVote::from(given)))
    }

    async fn append(&self, core: &Core, from: PeerId, body: &Bytes) -> Result<Bytes, Refusal> {
        let append = decode_append(body)?;
        in_own_name(from, append.leader)?;
        let has_commands = |entry: &Entry| matches!(entry.payload, Payload::Normal(_));
        if core.is_disk_low() && append.request.entries.iter().any(has_commands) {
            // Not acknowledged, so not counted on. Heartbeats and what a new leader or a membership
            // change needs still go: they are small, and without them there would be no reads.
            return Err(Refusal("the disk is nearly full".to_owned()));
        }
        let raft = running(core)?;
        let asked = raft.clone();
        let asking = async move { asked.append_entries(append.request).await };
        let appended = whole(&raft, asking)
            .await
            .map_err(|fatal| Refusal(fatal.to_string()))?;
        Ok(codec::encode(&Appended::from(appended)))
    }

    async fn transfer(&self, core: &Core, from: PeerId, body: &[u8]) -> Result<Bytes, Refusal> {
        let transfer: Transfer = codec::decode(self.service.name, body)?;
        in_own_name(from, transfer.from.node())?;
        let request = TransferLeaderRequest::new(
            Vote::from(transfer.from),
            transfer.to,
            transfer.last.map(LogId::from),
        );
        let raft = running(core)?;
        let asked = raft.clone();
        let asking = async move { asked.handle_transfer_leader(request).await };
        let transferred = whole(&raft, asking)
            .await
            .map_err(|fatal| Refusal(fatal.to_string()))?;
        Ok(codec::encode(&match transferred {
            Ok(()) => Transferred::Done,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Transferred::VoteChanged {
                    expected: expected.into(),
                    actual: actual.into(),
                }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Transferred::NotFlushed {
                    expected: expected.map(Into::into),
                    actual: actual.map(Into::into),
                }
            }
        }))
    }
}

fn there(core: &Weak<Core>) -> Result<Arc<Core>, Refusal> {
    core.upgrade()
        .ok_or_else(|| Refusal("this replica has stopped".to_owned()))
}

fn running(core: &Core) -> Result<Raft, Refusal> {
    core.raft().map_err(|error| Refusal(error.to_string()))
}

fn in_own_name(from: PeerId, name: u64) -> Result<(), Refusal> {
    if from.0 == name {
        return Ok(());
    }
    tracing::warn!(peer = from.0, name, "a peer speaks in another's name");
    Err(Refusal(format!(
        "node {from} speaks in the name of node {name}"
    )))
}

/// Takes in snapshots, one at a time.
struct Receiving {
    core: Weak<Core>,
    places: Semaphore,
}

#[async_trait]
impl Receiver for Receiving {
    async fn receive(
        &self,
        from: PeerId,
        head: Bytes,
        chunks: mpsc::Receiver<Result<Bytes, Error>>,
    ) -> Result<Bytes, Refusal> {
        let announced: SnapshotHead<'_> = codec::decode(service::SNAPSHOT.name, &head)?;
        in_own_name(from, announced.vote.node())?;
        let core = there(&self.core)?;
        if core.is_disk_low() {
            return Err(Refusal("the disk is nearly full".to_owned()));
        }
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Refusal("another snapshot is coming in".to_owned()))?;
        let raft = running(&core)?;
        let marker = head.slice_ref(announced.marker.0);
        tracing::info!(
            from = from.0,
            bytes = announced.bytes,
            "a snapshot comes in"
        );
        let durability = &core.bench.durability;
        let info = snapshot::receive(durability, marker, announced.bytes, chunks)
            .await
            .map_err(Refusal)?;
        let snapshot = snapshot_of(durability, info)?;
        let (asked, vote) = (raft.clone(), announced.vote.into());
        let asking = async move { asked.install_full_snapshot(vote, snapshot).await };
        let taken = whole(&raft, asking)
            .await
            .map_err(|fatal| Refusal(fatal.to_string()))?;
        Ok(codec::encode(&SnapshotTaken {
            vote: taken.vote.into(),
        }))
    }
}
