//! What replicas say to each other: one struct per question and answer, all encoded by
//! [`crate::codec`].
use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use model::command::{Operation, Reply, RequestId};
use model::time::Timestamp;
use model::token::TokenHash;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use transport::network::{Lane, Service};

use crate::codec::{self, Malformed, Raw, WireLogId, WireVote};
use crate::types::{LogId, Types, Vote};

/// The numbers of this crate's services, 1 to 31. They are for ever.
pub(crate) mod service {
    use super::{Lane, Service};

    pub(crate) const VOTE: Service = service(1, Lane::Urgent, "raft-vote");
    pub(crate) const PRE_VOTE: Service = service(2, Lane::Urgent, "raft-pre-vote");
    pub(crate) const HEARTBEAT: Service = service(3, Lane::Urgent, "raft-heartbeat");
    pub(crate) const APPEND: Service = service(4, Lane::Log, "raft-append");
    // 5 was one write.
    pub(crate) const READ_INDEX: Service = service(6, Lane::Forward, "raft-read-index");
    pub(crate) const ADMIN: Service = service(7, Lane::Forward, "raft-admin");
    pub(crate) const SNAPSHOT: Service = service(8, Lane::Bulk, "raft-snapshot");
    pub(crate) const TRANSFER: Service = service(9, Lane::Urgent, "raft-transfer-leader");
    pub(crate) const PEEK: Service = service(10, Lane::Urgent, "raft-peek");
    pub(crate) const WRITES: Service = service(11, Lane::Forward, "raft-writes");

    const fn service(number: u8, lane: Lane, name: &'static str) -> Service {
        Service { number, lane, name }
    }
}

/// Asks for a vote, or what the answer would be.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskVote {
    pub(crate) vote: WireVote,
    last: Option<WireLogId>,
    is_transfer: bool,
}

impl From<VoteRequest<Types>> for AskVote {
    fn from(request: VoteRequest<Types>) -> Self {
        Self {
            vote: request.vote.into(),
            last: request.last_log_id.map(WireLogId::from),
            is_transfer: request.leadership_transfer,
        }
    }
}

impl From<AskVote> for VoteRequest<Types> {
    fn from(ask: AskVote) -> Self {
        let mut request = Self::new(ask.vote.into(), ask.last.map(LogId::from));
        request.leadership_transfer = ask.is_transfer;
        request
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GiveVote {
    vote: WireVote,
    last: Option<WireLogId>,
    is_granted: bool,
}

impl From<VoteResponse<Types>> for GiveVote {
    fn from(response: VoteResponse<Types>) -> Self {
        Self {
            vote: response.vote.into(),
            last: response.last_log_id.map(WireLogId::from),
            is_granted: response.vote_granted,
        }
    }
}

impl From<GiveVote> for VoteResponse<Types> {
    fn from(give: GiveVote) -> Self {
        Self::new(
            Vote::from(give.vote),
            give.last.map(LogId::from),
            give.is_granted,
        )
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WireAppend<'a> {
    vote: WireVote,
    previous: Option<WireLogId>,
    commit: Option<WireLogId>,
    #[serde(borrow)]
    entries: Vec<Raw<'a>>,
}

pub(crate) fn encode_append(request: &AppendEntriesRequest<Types>) -> Bytes {
    let entries: Vec<Bytes> = request.entries.iter().map(codec::encode_entry).collect();
    codec::encode(&WireAppend {
        vote: request.vote.into(),
        previous: request.prev_log_id.map(WireLogId::from),
        commit: request.leader_commit.map(WireLogId::from),
        entries: entries.iter().map(|entry| Raw(entry)).collect(),
    })
}

/// A follower's side of an append.
#[derive(Debug)]
pub(crate) struct Append {
    /// The node that says it leads.
    pub(crate) leader: u64,
    pub(crate) request: AppendEntriesRequest<Types>,
}

pub(crate) fn decode_append(bytes: &Bytes) -> Result<Append, Malformed> {
    let wire: WireAppend<'_> = codec::decode("an append", bytes)?;
    let entries = wire
        .entries
        .iter()
        .map(|entry| codec::decode_entry(&bytes.slice_ref(entry.0)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Append {
        leader: wire.vote.node(),
        request: AppendEntriesRequest {
            vote: wire.vote.into(),
            prev_log_id: wire.previous.map(LogId::from),
            entries,
            leader_commit: wire.commit.map(LogId::from),
        },
    })
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Appended {
    All,
    UpTo(Option<WireLogId>),
    Conflict,
    HigherVote(WireVote),
}

impl From<AppendEntriesResponse<Types>> for Appended {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(id) => Self::UpTo(id.map(WireLogId::from)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<Types> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::All => Self::Success,
            Appended::UpTo(id) => Self::PartialSuccess(id.map(LogId::from)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

/// Goes before the stream of a snapshot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotHead<'a> {
    pub(crate) vote: WireVote,
    /// Bytes of the stream.
    pub(crate) bytes: u64,
    #[serde(borrow)]
    pub(crate) marker: Raw<'a>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotTaken {
    pub(crate) vote: WireVote,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: WireVote,
    pub(crate) to: u64,
    pub(crate) last: Option<WireLogId>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transferred {
    Done,
    VoteChanged {
        expected: WireVote,
        actual: WireVote,
    },
    NotFlushed {
        expected: Option<WireLogId>,
        actual: Option<WireLogId>,
    },
}

/// A write that came in at another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) request: RequestId,
    pub(crate) issued: Timestamp,
    pub(crate) actor: Option<TokenHash>,
    pub(crate) operation: Operation,
}

/// What became of one attempt to write, here or at another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteOutcome {
    /// Committed at `index`.
    Done { reply: Reply, index: u64 },
    /// Certainly not done: another node leads, or none.
    NotLeader { leader: Option<u64> },
    /// Certainly not done, though this node leads.
    Refused { why: String, retry_after_ms: u64 },
    /// It may be in the log, now or later.
    Unknown { why: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReadIndex {
    /// Everything that was committed when the question was asked is at or below this.
    At(u64),
    NotLeader {
        leader: Option<u64>,
    },
    NoQuorum,
}

/// A change of the membership, or of who leads; each may safely be asked for twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Admin {
    AddLearner { node: u64, address: SocketAddr },
    SetVoters { voters: BTreeSet<u64> },
    Remove { node: u64 },
    SetAddress { node: u64, address: SocketAddr },
    TransferLeader { to: Option<u64> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AdminOutcome {
    Done,
    NotLeader {
        leader: Option<u64>,
    },
    Refused {
        why: String,
    },
    Unknown {
        why: String,
    },
    /// Certainly not done, since something else is under way that ends by itself.
    Later {
        why: String,
    },
}

/// What a node tells a leader that asks how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peek {
    pub(crate) now: Timestamp,
    pub(crate) is_disk_low: bool,
}
