//! The two ways a command can fail: it is refused, or this machine cannot tell.
use serde::{Deserialize, Serialize};

/// Why the state machine said no. The same on every replica, so it is a reply, not a fault.
///
/// The order of variants is the log's format: append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    #[error("the token is not valid: log in again")]
    InvalidToken,
    #[error("this user name is taken: choose another")]
    NameTaken,
    #[error("no such user")]
    UserNotFound,
    #[error("no such video")]
    VideoNotFound,
    #[error("no such comment under this video")]
    CommentNotFound,
    #[error("only the author of the comment or of the video may delete it")]
    NotTheAuthor,
    #[error("you cannot follow yourself")]
    CannotFollowSelf,
    #[error("you cannot send a message to yourself")]
    CannotMessageSelf,
    #[error("messages go to friends only here: follow each other first")]
    FriendsOnly,
    #[error("the password was changed meanwhile: log in again")]
    PasswordChanged,
    #[error("this upload took too long and was swept: upload it again")]
    BlobRetired,
    #[error("this request is older than the time in which repeats are recognised: send it anew")]
    RequestExpired,
    #[error("the join token is unknown, used up or expired: make a new one with `yin token`")]
    InvalidJoinToken,
    #[error("no such node")]
    NodeNotFound,
    #[error("this cluster was founded before")]
    AlreadyFounded,
    #[error("this setting does not exist or the value does not fit it: {0}")]
    InvalidSetting(String),
}

/// The view could not be read or a record not be understood: a fault of this machine, never of the
/// command. It stops the replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica cannot read its state: {0}")]
pub struct Fault(pub String);

/// What a rule may answer: `?` carries both up to [`crate::apply`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Fault(#[from] Fault),
}
