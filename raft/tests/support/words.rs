//! A few commands to fill a log with, and how to count what they did.
use std::sync::atomic::{AtomicU64, Ordering};

use model::cluster::{Found, Identity, NodeInfo};
use model::command::{Operation, Reply, RequestId};
use model::id::UserId;
use model::message::{self, Part, SendMessage};
use model::token::TokenHash;
use model::user::Register;

use crate::clock::Clock;
use crate::replica::{Proposal, Reading};

pub(crate) const EPOCH: u32 = 7;
pub(crate) const POSITION_KEY: [u8; 32] = [9; 32];
const TOKEN: TokenHash = TokenHash([1; 32]);

static REQUESTS: AtomicU64 = AtomicU64::new(1);

/// A request that was never made before, as of `clock`.
pub(crate) fn proposal(clock: &impl Clock, operation: Operation) -> Proposal {
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_be_bytes());
    Proposal {
        request: RequestId(request),
        issued: clock.now(),
        actor: Some(TOKEN),
        operation,
    }
}

pub(crate) fn found() -> Operation {
    Operation::Found(Found {
        identity: Identity {
            cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
            epoch: EPOCH,
            position_key: POSITION_KEY,
            ca_certificate: vec![1],
            sealed_ca_key: vec![2],
        },
        node: NodeInfo {
            incarnation: [1; 16],
            zone: String::new(),
        },
    })
}

/// A user of that name; the one called `ann` gets the token that all proposals carry.
pub(crate) fn register(name: &str) -> Operation {
    let token = if name == "ann" {
        TOKEN
    } else {
        let mut token = [0; 32];
        token[..name.len()].copy_from_slice(name.as_bytes());
        TokenHash(token)
    };
    Operation::Register(Register {
        name: name.to_owned(),
        password_hash: "none".to_owned(),
        token,
    })
}

pub(crate) fn user_of(reply: &Reply) -> UserId {
    match reply {
        Reply::Registered { user } => *user,
        other => panic!("no registration: {other:?}"),
    }
}

/// Adds one message: sent twice, it would be there twice.
pub(crate) fn say(to: UserId, text: &str) -> Operation {
    Operation::SendMessage(SendMessage {
        to,
        text: text.to_owned(),
    })
}

/// All that was said to `to` by `from`, in order.
pub(crate) fn said(reading: &Reading, from: UserId, to: UserId) -> Vec<String> {
    let messages = message::between(&reading.view, from, to, Part::Latest, 100_000)
        .unwrap()
        .unwrap_or_default();
    messages.into_iter().map(|message| message.text).collect()
}
