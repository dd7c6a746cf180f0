//! The replicated state machine over the state seam: committed entries in, one atomic commit per
//! round of them out.
//!
//! It knows that an entry carries commands, not what they do. Replies and events leave only after
//! the commit, so that whoever hears of a change can read it.
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use model::apply::apply_all;
use model::command::{Command, Reply};
use model::error::Fault;
use model::event::Event;
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use storage::state::StateStore;
use tokio::sync::broadcast;

use crate::codec;
use crate::life::Alive;
use crate::options::Room;
use crate::progress::Progress;
use crate::replica::Applied;
use crate::snapshot::{Builder, Durability, SnapshotData, SnapshotOf};
use crate::types::{
    Batch, LogId, Payload, Replies, SnapshotMeta, StoredMembership, Types, index_of,
};

/// Encoded commands that are applied and committed at once, at most.
const ROUND_BYTES: usize = 1 << 20;
/// Encoded commands that are applied where they come in; more go to a thread that may block.
/// A handful takes less time than waking a thread, and on an idle node that is most of a write.
const INLINE_BYTES: usize = 4 << 10;

/// What the machine shares with the rest of the replica; outlives restarts of the machine.
pub(crate) struct Bench {
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) progress: Progress,
    pub(crate) events: broadcast::Sender<Arc<Applied>>,
    pub(crate) room: Option<Room>,
    /// Encoded bytes of all entries that were applied here since the start.
    pub(crate) applied_bytes: AtomicU64,
}

pub(crate) struct Machine {
    bench: Arc<Bench>,
    meta: SnapshotMeta,
    alive: Alive,
}

impl Machine {
    /// Takes up where the state stands.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn open(bench: Arc<Bench>, alive: Alive) -> Result<Self, Fault> {
        let meta = codec::decode_marker(&bench.state.read()?.marker)?;
        bench.progress.advance(index_of(meta.last_log_id.as_ref()));
        Ok(Self { bench, meta, alive })
    }

    async fn commit(&mut self, round: Round) -> io::Result<()> {
        let Some(last) = round.last else {
            return Ok(());
        };
        let membership = round
            .membership
            .unwrap_or(self.meta.last_membership.clone());
        let work = Work {
            state: Arc::clone(&self.bench.state),
            batches: round.batches,
            marker: codec::encode_marker(Some(last), &membership),
        };
        let done = if round.bytes <= INLINE_BYTES {
            // openraft does not notice when a panic ends its worker; on the other threads it is
            // caught anyway.
            catch_unwind(AssertUnwindSafe(|| work.run()))
                .unwrap_or_else(|_| Err(Fault("applying a command panicked".to_owned())))
                .map_err(io::Error::other)?
        } else {
            self.bench.durability.work(move || work.run()).await?
        };
        self.meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: membership,
        };
        let bytes = u64::try_from(round.bytes).unwrap_or(u64::MAX);
        self.bench.applied_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bench.progress.advance(last.index());
        self.publish(last.index(), done.events, false);
        answer(round.responders, done.replies)
    }

    fn publish(&self, index: u64, events: Vec<Event>, is_replaced: bool) {
        if events.is_empty() && !is_replaced {
            return;
        }
        // No listener is no fault.
        let _ = self.bench.events.send(Arc::new(Applied {
            index,
            events,
            is_replaced,
        }));
    }

    fn builder(&self) -> Builder {
        Builder {
            durability: Arc::clone(&self.bench.durability),
            alive: self.alive.clone(),
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.meta.last_log_id, self.meta.last_membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut round = Round::default();
        while let Some((entry, responder)) = entries.try_next().await? {
            round.push(entry.log_id, entry.payload, responder);
            if round.bytes >= ROUND_BYTES {
                self.commit(std::mem::take(&mut round)).await?;
            }
        }
        self.commit(round).await
    }

    /// Defers a snapshot while the disk is low: it would take what little room is left.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let is_low = self.bench.room.as_ref().is_some_and(|is_low| is_low());
        if is_low && !force {
            tracing::warn!("snapshot deferred: the disk is nearly full");
            return None;
        }
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        let durability = Arc::clone(&self.bench.durability);
        let id = snapshot.info.id.clone();
        let install = move || durability.install(&snapshot);
        let installed = self.bench.durability.work(install).await?;
        if installed != *meta {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("snapshot {id} holds {installed:?} and was said to hold {meta:?}"),
            ));
        }
        self.meta = installed;
        let index = index_of(self.meta.last_log_id.as_ref());
        tracing::info!(snapshot = id, index, "snapshot installed");
        metrics::counter!("yin_raft_snapshots_installed_total").increment(1);
        self.bench.progress.advance(index);
        self.publish(index, Vec::new(), true);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf>> {
        self.bench.durability.current().await
    }
}

/// Entries that are committed together.
#[derive(Default)]
struct Round {
    last: Option<LogId>,
    /// The newest membership among them.
    membership: Option<StoredMembership>,
    /// One for each entry; entries without commands have none.
    batches: Vec<Option<Batch>>,
    responders: Vec<Option<ApplyResponder<Types>>>,
    bytes: usize,
}

impl Round {
    fn push(&mut self, id: LogId, payload: Payload, responder: Option<ApplyResponder<Types>>) {
        self.last = Some(id);
        self.responders.push(responder);
        self.batches.push(match payload {
            Payload::Blank => None,
            Payload::Normal(batch) => {
                self.bytes += batch.0.len();
                Some(batch)
            }
            Payload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(id), membership));
                None
            }
        });
    }
}

/// The part of a round that reads, computes and writes.
struct Work {
    state: Arc<dyn StateStore>,
    batches: Vec<Option<Batch>>,
    marker: Bytes,
}

struct Done {
    /// For each entry of the round.
    replies: Vec<Replies>,
    events: Vec<Event>,
}

impl Work {
    /// # Errors
    /// When this machine cannot read or write its state, or cannot read a command: it must stop,
    /// as the other replicas may well be able to.
    fn run(self) -> Result<Done, Fault> {
        let mut counts = Vec::with_capacity(self.batches.len());
        let mut commands: Vec<Command> = Vec::new();
        for batch in &self.batches {
            let before = commands.len();
            if let Some(batch) = batch {
                commands.append(&mut codec::decode_batch(batch)?);
            }
            counts.push(commands.len() - before);
        }
        if commands.is_empty() {
            self.state
                .commit(model::overlay::Changes::new(), self.marker)?;
            let replies = counts.iter().map(|_| Replies::default()).collect();
            return Ok(Done {
                replies,
                events: Vec::new(),
            });
        }
        let applied = apply_all(&self.state.read()?.view, commands)?;
        self.state.commit(applied.changes, self.marker)?;
        Ok(Done {
            replies: share_out(applied.replies, &counts)?,
            events: applied.events,
        })
    }
}

/// Gives each entry the replies to its own commands.
fn share_out(replies: Vec<Reply>, counts: &[usize]) -> Result<Vec<Replies>, Fault> {
    if replies.len() != counts.iter().sum::<usize>() {
        return Err(Fault(
            "the model did not answer every command exactly once".to_owned(),
        ));
    }
    let mut replies = replies.into_iter();
    Ok(counts
        .iter()
        .map(|count| Replies(replies.by_ref().take(*count).collect()))
        .collect())
}

fn answer(responders: Vec<Option<ApplyResponder<Types>>>, replies: Vec<Replies>) -> io::Result<()> {
    for (responder, replies) in responders.into_iter().zip(replies) {
        if let Some(responder) = responder {
            responder.send(replies);
        }
    }
    Ok(())
}
