//! The bytes of entries, votes and markers, on disk and between peers.
//!
//! Every value begins with the version of its format, then postcard. The structs here are our own:
//! openraft's serde derives are not a stable format. A test holds the bytes of each, so that a
//! change shows; a changed format gets a new version and keeps reading the old one.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use model::command::Command;
use model::error::Fault;
use openraft::entry::RaftEntry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transport::network::Refusal;

use crate::types::{
    Batch, Entry, LogId, Member, Membership, Payload, SnapshotMeta, StoredMembership, Vote, log_id,
};

/// The version that this build writes.
pub(crate) const VERSION: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("{what} has format {found}, this build reads up to {VERSION}: upgrade this node")]
    Version { what: &'static str, found: u8 },
    #[error("{what} is malformed: {why}")]
    Bytes { what: &'static str, why: String },
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.to_string())
    }
}

/// Encodes `value` with the version in front.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    let buffer = postcard::to_extend(value, vec![VERSION])
        .expect("our own structs have no unsized or unsupported parts, so they always encode");
    buffer.into()
}

/// Decodes what [`encode`] wrote.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, Malformed> {
    let body = check_version(what, bytes)?;
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Malformed::Bytes {
            what,
            why: format!("{} bytes too many", rest.len()),
        }),
        Err(error) => Err(Malformed::Bytes {
            what,
            why: error.to_string(),
        }),
    }
}

fn check_version<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((&found, _)) => Err(Malformed::Version { what, found }),
        None => Err(Malformed::Bytes {
            what,
            why: "it is empty".to_owned(),
        }),
    }
}

/// Bytes as bytes: serde would write a plain slice one number at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireLogId {
    term: u64,
    index: u64,
}

impl From<LogId> for WireLogId {
    fn from(id: LogId) -> Self {
        Self {
            term: id.committed_leader_id().term,
            index: id.index(),
        }
    }
}

impl From<WireLogId> for LogId {
    fn from(wire: WireLogId) -> Self {
        log_id(wire.term, wire.index)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireVote {
    term: u64,
    node: u64,
    committed: bool,
}

impl WireVote {
    /// The node that this vote is for.
    pub(crate) fn node(self) -> u64 {
        self.node
    }
}

impl From<Vote> for WireVote {
    fn from(vote: Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
            committed: vote.committed,
        }
    }
}

impl From<WireVote> for Vote {
    fn from(wire: WireVote) -> Self {
        if wire.committed {
            Self::new_committed(wire.term, wire.node)
        } else {
            Self::new(wire.term, wire.node)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireMembership {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, SocketAddr>,
}

impl From<&Membership> for WireMembership {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            nodes: membership
                .nodes()
                .map(|(id, member)| (*id, member.address))
                .collect(),
        }
    }
}

impl WireMembership {
    fn into_membership(self) -> Result<Membership, Malformed> {
        // A cluster that was never started has no voters at all; openraft calls that invalid when
        // it is built and uses it as its default nevertheless.
        if self.configs.is_empty() && self.nodes.is_empty() {
            return Ok(Membership::default());
        }
        let nodes: BTreeMap<u64, Member> = self
            .nodes
            .into_iter()
            .map(|(id, address)| (id, Member { address }))
            .collect();
        Membership::new(self.configs, nodes).map_err(|error| Malformed::Bytes {
            what: "a membership",
            why: error.to_string(),
        })
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WirePayload<'a> {
    Blank,
    #[serde(borrow)]
    Batch(Raw<'a>),
    Membership(WireMembership),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WireEntry<'a> {
    id: WireLogId,
    #[serde(borrow)]
    payload: WirePayload<'a>,
}

/// What the state was made of: the last entry in it, and the membership then.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WireMarker {
    // First, so that the index can be read without the rest.
    applied: Option<WireLogId>,
    membership_id: Option<WireLogId>,
    membership: WireMembership,
}

pub(crate) fn encode_log_id(id: LogId) -> Bytes {
    encode(&WireLogId::from(id))
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, Malformed> {
    decode::<WireLogId>("a log id", bytes).map(LogId::from)
}

pub(crate) fn encode_vote(vote: Vote) -> Bytes {
    encode(&WireVote::from(vote))
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, Malformed> {
    decode::<WireVote>("a vote", bytes).map(Vote::from)
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        Payload::Blank => WirePayload::Blank,
        Payload::Normal(batch) => WirePayload::Batch(Raw(&batch.0)),
        Payload::Membership(membership) => WirePayload::Membership(membership.into()),
    };
    encode(&WireEntry {
        id: entry.log_id.into(),
        payload,
    })
}

/// Decodes an entry; a batch stays a part of `bytes`.
pub(crate) fn decode_entry(bytes: &Bytes) -> Result<Entry, Malformed> {
    let wire: WireEntry<'_> = decode("an entry", bytes)?;
    let id = wire.id.into();
    Ok(match wire.payload {
        WirePayload::Blank => Entry::new_blank(id),
        WirePayload::Batch(commands) => Entry::new_normal(id, Batch(bytes.slice_ref(commands.0))),
        WirePayload::Membership(membership) => {
            Entry::new_membership(id, membership.into_membership()?)
        }
    })
}

/// Puts values together, as a batch of commands: the version, then one value after the other.
#[derive(Debug)]
pub(crate) struct SequenceBuilder {
    buffer: Vec<u8>,
}

impl SequenceBuilder {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![VERSION],
        }
    }

    pub(crate) fn push(&mut self, value: &impl Serialize) {
        self.buffer = postcard::to_extend(value, std::mem::take(&mut self.buffer))
            .expect("our own structs have no unsized or unsupported parts, so they always encode");
    }

    /// Encoded bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn finish(self) -> Bytes {
        self.buffer.into()
    }
}

/// The commands of a batch, in order.
pub(crate) fn decode_batch(batch: &Batch) -> Result<Vec<Command>, Malformed> {
    decode_sequence("a batch of commands", &batch.0)
}

/// What a [`SequenceBuilder`] put together, in order.
pub(crate) fn decode_sequence<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<Vec<T>, Malformed> {
    let mut rest = check_version(what, bytes)?;
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, left) = postcard::take_from_bytes(rest).map_err(|error| Malformed::Bytes {
            what,
            why: error.to_string(),
        })?;
        values.push(value);
        rest = left;
    }
    Ok(values)
}

pub(crate) fn encode_marker(applied: Option<LogId>, membership: &StoredMembership) -> Bytes {
    encode(&WireMarker {
        applied: applied.map(WireLogId::from),
        membership_id: membership.log_id().map(WireLogId::from),
        membership: membership.membership().into(),
    })
}

/// Decodes a marker; an empty one is that of a state nothing was applied to.
pub(crate) fn decode_marker(bytes: &[u8]) -> Result<SnapshotMeta, Malformed> {
    if bytes.is_empty() {
        return Ok(SnapshotMeta::default());
    }
    let wire: WireMarker = decode("a marker", bytes)?;
    Ok(SnapshotMeta {
        last_log_id: wire.applied.map(LogId::from),
        last_membership: StoredMembership::new(
            wire.membership_id.map(LogId::from),
            wire.membership.into_membership()?,
        ),
    })
}

/// Only the index up to which a state was applied, for every read.
pub(crate) fn marker_index(bytes: &[u8]) -> Result<u64, Malformed> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let what = "a marker";
    let body = check_version(what, bytes)?;
    let (applied, _): (Option<WireLogId>, _) =
        postcard::take_from_bytes(body).map_err(|error| Malformed::Bytes {
            what,
            why: error.to_string(),
        })?;
    Ok(applied.map_or(0, |id| id.index))
}
