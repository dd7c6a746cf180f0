//! Reads what replicas write to their logs and say to each other, as far as the invariants need it.
//!
//! A second reader of formats that are for ever (`raft/src/codec.rs` holds their bytes in a test):
//! what it cannot read is a violation of that promise.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;

/// Numbers of services that the invariants look into.
pub(crate) const VOTE: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct LogId {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) node: u64,
    /// A quorum gave it: the node leads in this term.
    pub(crate) committed: bool,
}

/// Sets of voters; more than one while the membership changes: then each decides.
pub(crate) type Configs = Vec<BTreeSet<u64>>;

#[derive(Deserialize)]
struct Membership {
    configs: Configs,
    #[serde(rename = "nodes")]
    _nodes: BTreeMap<u64, SocketAddr>,
}

#[derive(Deserialize)]
enum Payload<'a> {
    Blank,
    #[serde(borrow)]
    Batch(&'a [u8]),
    Membership(Membership),
}

#[derive(Deserialize)]
struct WireEntry<'a> {
    id: LogId,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct AskVote {
    vote: Vote,
    _last: Option<LogId>,
    _is_transfer: bool,
}

#[derive(Deserialize)]
struct GiveVote {
    _vote: Vote,
    _last: Option<LogId>,
    is_granted: bool,
}

#[derive(Deserialize)]
struct Marker {
    applied: Option<LogId>,
    _membership_id: Option<LogId>,
    _membership: Membership,
}

/// What an entry is, without its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    pub(crate) configs: Option<Configs>,
    pub(crate) command_bytes: usize,
}

fn body(bytes: &[u8]) -> Result<&[u8], String> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        _ => Err(format!("format unknown to the simulator: {bytes:02x?}")),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(body(bytes)?).map_err(|error| error.to_string())
}

pub(crate) fn entry(bytes: &[u8]) -> Result<Entry, String> {
    let entry: WireEntry<'_> =
        postcard::from_bytes(body(bytes)?).map_err(|error| error.to_string())?;
    let (configs, command_bytes) = match entry.payload {
        Payload::Blank => (None, 0),
        Payload::Batch(batch) => (None, batch.len()),
        Payload::Membership(membership) => (Some(membership.configs), 0),
    };
    Ok(Entry {
        id: entry.id,
        configs,
        command_bytes,
    })
}

pub(crate) fn vote(bytes: &[u8]) -> Result<Vote, String> {
    decode(bytes)
}

/// Up to where a state is applied; none before the first commit.
pub(crate) fn applied(marker: &Bytes) -> Result<Option<LogId>, String> {
    if marker.is_empty() {
        return Ok(None);
    }
    decode::<Marker>(marker).map(|marker| marker.applied)
}

/// Whom a vote is asked for.
pub(crate) fn asked_vote(bytes: &[u8]) -> Result<Vote, String> {
    decode::<AskVote>(bytes).map(|ask| ask.vote)
}

/// Whether it was given.
pub(crate) fn is_granted(bytes: &[u8]) -> Result<bool, String> {
    decode::<GiveVote>(bytes).map(|give| give.is_granted)
}
