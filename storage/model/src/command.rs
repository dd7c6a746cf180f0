//! What goes in by the log, and what comes back.
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::comment::{AddComment, Comment, DeleteComment};
use crate::error::Rejection;
use crate::favorite::{Like, Unlike};
use crate::id::{MessageId, NodeId, UserId, VideoId};
use crate::message::SendMessage;
use crate::relation::{Follow, Unfollow};
use crate::sweep::{RetireBlob, Sweep};
use crate::time::Timestamp;
use crate::token::TokenHash;
use crate::user::{Login, Logout, Register};
use crate::video::Publish;

/// Made at random by the entry node, once for all retries of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 16]);

/// One operation with all that is not a function of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub request: RequestId,
    /// When the entry node first saw the request, by its own clock: bounds how long repeats of it
    /// are recognised.
    pub issued: Timestamp,
    /// Set by the leader as it proposes, so that one clock counts.
    pub stamp: Timestamp,
    /// Who asks, by the hash of their token; checked again when the command is applied.
    pub actor: Option<TokenHash>,
    pub operation: Operation,
}

/// The log's vocabulary. The order of variants is the log's format: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    Register(Register),
    Login(Login),
    Logout(Logout),
    Publish(Publish),
    Like(Like),
    Unlike(Unlike),
    AddComment(AddComment),
    DeleteComment(DeleteComment),
    Follow(Follow),
    Unfollow(Unfollow),
    SendMessage(SendMessage),
    RetireBlob(RetireBlob),
    Sweep(Sweep),
    Found(cluster::Found),
    CreateJoinToken(cluster::CreateJoinToken),
    AdmitNode(cluster::AdmitNode),
    RetireNode(cluster::RetireNode),
    Configure(cluster::Configure),
}

/// What the state machine answers. The order of variants is a stored format: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Rejected(Rejection),
    Registered {
        user: UserId,
    },
    LoggedIn {
        user: UserId,
    },
    Published {
        video: VideoId,
        published: Timestamp,
    },
    Commented {
        comment: Comment,
    },
    Sent {
        message: MessageId,
        created: Timestamp,
    },
    Admitted {
        node: NodeId,
    },
    /// How much a sweep removed; zero means that nothing was due.
    Swept {
        removed: u64,
    },
}
