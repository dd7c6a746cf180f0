//! The types that openraft is run with. None of them leaves this crate.
//!
//! An entry's payload is a batch of commands as bytes: it is encoded once, by the leader that
//! proposes it, and decoded once per replica, when it is applied. The log, the network and openraft
//! in between only move the bytes.
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use model::command::Reply;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::machine::Machine;

openraft::declare_raft_types!(
    /// One group, standard Raft leader ids: at most one leader in a term.
    pub(crate) Types:
        D = Batch,
        R = Replies,
        NodeId = u64,
        Node = Member,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<Types, Machine>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::EntryPayload<Batch, u64, Member>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;

/// The id of the entry at `index` that was proposed in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The index of an id; none counts as zero, as index 0 is the membership that a cluster starts with.
pub(crate) fn index_of(id: Option<&LogId>) -> u64 {
    id.map_or(0, LogId::index)
}

/// Encoded commands that share one entry; see [`crate::codec`] for the bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} bytes)", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// openraft asks for these since another crate of the workspace may switch its `serde` feature on.
// They are never used as a format: [`crate::codec`] is.
impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

/// What the state machine answered to each command of a batch, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

impl fmt::Display for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replies({})", self.0.len())
    }
}

/// What the membership knows of a node besides its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
}

#[cfg(test)]
impl Default for Member {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }
}
