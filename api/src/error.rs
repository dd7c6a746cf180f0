//! The one map from everything that can go wrong to what a client is told.
//!
//! A code is for ever: clients may keep it. [`Code::ALL`] is the table; it is printed by a test and
//! kept in DESIGN.md.
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::error::{Fault, Rejection};
use raft::position;
use storage::blob;

use crate::seam::GivenUp;

/// A stable error code, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    ParameterMissing = 1001,
    ParameterNotUtf8 = 1002,
    NumberInvalid = 1003,
    TextInvalid = 1004,
    ActionUnknown = 1005,
    BodyMalformed = 1006,
    ConsistencyUnknown = 1007,
    TokenMissing = 2001,
    TokenInvalid = 2002,
    CredentialsWrong = 2003,
    NameTaken = 2004,
    PasswordChanged = 2005,
    PositionForged = 2006,
    PositionOldEpoch = 2007,
    PositionFuture = 2008,
    UserNotFound = 3001,
    VideoNotFound = 3002,
    CommentNotFound = 3003,
    NotTheAuthor = 3004,
    CannotFollowSelf = 3005,
    CannotMessageSelf = 3006,
    FriendsOnly = 3007,
    NotAVideo = 3008,
    BlobRetired = 3009,
    RequestExpired = 3010,
    Administration = 3011,
    PathUnknown = 4001,
    MethodUnknown = 4002,
    TooLarge = 4003,
    TooOften = 4004,
    TooSlow = 4005,
    RangeUnsatisfiable = 4006,
    FileNotFound = 4007,
    Unavailable = 5001,
    OutcomeUnknown = 5002,
    Stopped = 5003,
    Overloaded = 5004,
    BlobsUnavailable = 5005,
    DiskLow = 5006,
    Internal = 5007,
}

impl Code {
    /// Every code, in order.
    pub const ALL: &[Self] = &[
        Self::ParameterMissing,
        Self::ParameterNotUtf8,
        Self::NumberInvalid,
        Self::TextInvalid,
        Self::ActionUnknown,
        Self::BodyMalformed,
        Self::ConsistencyUnknown,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::CredentialsWrong,
        Self::NameTaken,
        Self::PasswordChanged,
        Self::PositionForged,
        Self::PositionOldEpoch,
        Self::PositionFuture,
        Self::UserNotFound,
        Self::VideoNotFound,
        Self::CommentNotFound,
        Self::NotTheAuthor,
        Self::CannotFollowSelf,
        Self::CannotMessageSelf,
        Self::FriendsOnly,
        Self::NotAVideo,
        Self::BlobRetired,
        Self::RequestExpired,
        Self::Administration,
        Self::PathUnknown,
        Self::MethodUnknown,
        Self::TooLarge,
        Self::TooOften,
        Self::TooSlow,
        Self::RangeUnsatisfiable,
        Self::FileNotFound,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::Stopped,
        Self::Overloaded,
        Self::BlobsUnavailable,
        Self::DiskLow,
        Self::Internal,
    ];

    /// `status_code` on the wire; never 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// 200 for what the request or the state is to blame for, another for transport conditions.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::PathUnknown | Self::FileNotFound => StatusCode::NOT_FOUND,
            Self::MethodUnknown => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::RangeUnsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unavailable
            | Self::OutcomeUnknown
            | Self::Stopped
            | Self::Overloaded
            | Self::BlobsUnavailable
            | Self::DiskLow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        }
    }

    /// What it means and what to do; the message of a [`Failure`] may say more precisely what.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ParameterMissing => "a required parameter is missing or empty",
            Self::ParameterNotUtf8 => "a parameter is not UTF-8",
            Self::NumberInvalid => "a parameter is no whole number from 0 to 9007199254740991",
            Self::TextInvalid => "a text is too long, empty or has control characters",
            Self::ActionUnknown => "this action_type does not exist",
            Self::BodyMalformed => "the body is not what its Content-Type says, or it broke off",
            Self::ConsistencyUnknown => "X-Yin-Consistency must be local, session or linearizable",
            Self::TokenMissing => "a token is needed: log in and send it as `token`",
            Self::TokenInvalid => "the token is not valid: log in again",
            Self::CredentialsWrong => "wrong user name or password",
            Self::NameTaken => "this user name is taken: choose another",
            Self::PasswordChanged => "the password was changed meanwhile: log in again",
            Self::PositionForged => {
                "X-Yin-Session is not one of this cluster's: drop it and ask without"
            }
            Self::PositionOldEpoch => {
                "X-Yin-Session is of an earlier life of this cluster: drop it and log in again"
            }
            Self::PositionFuture => {
                "X-Yin-Session is ahead of everything this cluster has: drop it and ask without"
            }
            Self::UserNotFound => "no such user",
            Self::VideoNotFound => "no such video",
            Self::CommentNotFound => "no such comment under this video",
            Self::NotTheAuthor => "only the author of the comment or of the video may delete it",
            Self::CannotFollowSelf => "you cannot follow yourself",
            Self::CannotMessageSelf => "you cannot send a message to yourself",
            Self::FriendsOnly => "messages go to friends only here: follow each other first",
            Self::NotAVideo => "the file is not a video that can be played: send MP4, MOV or WebM",
            Self::BlobRetired => "this upload took too long and was swept: upload it again",
            Self::RequestExpired => "this request took too long to be taken up: send it anew",
            Self::Administration => "this belongs to the cluster's administration",
            Self::PathUnknown => "there is nothing under this path",
            Self::MethodUnknown => "this path does not answer to this method",
            Self::TooLarge => "the body is too large",
            Self::TooOften => "too many requests: wait a moment",
            Self::TooSlow => "the body came too slowly",
            Self::RangeUnsatisfiable => "the range lies outside of the file",
            Self::FileNotFound => "no such file",
            Self::Unavailable => "the cluster cannot do this right now: try again in a moment",
            Self::OutcomeUnknown => {
                "it is not known whether this was done: look before you repeat it"
            }
            Self::Stopped => "this node has stopped working: use another node",
            Self::Overloaded => "this node has too much to do: try again in a moment",
            Self::BlobsUnavailable => {
                "videos cannot be stored or fetched right now: try again later"
            }
            Self::DiskLow => {
                "this node is short of disk space: use another node or try again later"
            }
            Self::Internal => "this node made a mistake: try again, and tell its operator",
        }
    }
}

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// For `Retry-After`; every 429 and 503 has one.
    pub(crate) retry_after: Option<Duration>,
}

/// What handlers give.
pub(crate) type Answer = Result<Response, Failure>;

const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn after(code: Code, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..code.into()
        }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            Code::ParameterMissing,
            format!("the parameter {parameter} is missing"),
        )
    }

    /// Whole seconds, rounded up; only where the status calls for it.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        let is_due = matches!(
            self.code.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        is_due.then(|| {
            let wait = self.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero()))
        })
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::new(code, code.meaning())
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection {
            Rejection::InvalidToken => Code::TokenInvalid,
            Rejection::NameTaken => Code::NameTaken,
            Rejection::UserNotFound => Code::UserNotFound,
            Rejection::VideoNotFound => Code::VideoNotFound,
            Rejection::CommentNotFound => Code::CommentNotFound,
            Rejection::NotTheAuthor => Code::NotTheAuthor,
            Rejection::CannotFollowSelf => Code::CannotFollowSelf,
            Rejection::CannotMessageSelf => Code::CannotMessageSelf,
            Rejection::FriendsOnly => Code::FriendsOnly,
            Rejection::PasswordChanged => Code::PasswordChanged,
            Rejection::BlobRetired => Code::BlobRetired,
            Rejection::RequestExpired => Code::RequestExpired,
            Rejection::InvalidJoinToken
            | Rejection::NodeNotFound
            | Rejection::AlreadyFounded
            | Rejection::InvalidSetting(_) => Code::Administration,
        };
        code.into()
    }
}

impl From<raft::replica::Error> for Failure {
    fn from(error: raft::replica::Error) -> Self {
        use raft::replica::Error;
        match error {
            Error::Unavailable { why, retry_after } => {
                tracing::debug!(why, "the replica is unavailable");
                Self::after(Code::Unavailable, retry_after)
            }
            Error::Unknown { why } => {
                tracing::info!(why, "the outcome of a write is not known");
                Code::OutcomeUnknown.into()
            }
            Error::FuturePosition => Code::PositionFuture.into(),
            Error::Stopped { why } => {
                tracing::error!(why, "the replica has stopped");
                Code::Stopped.into()
            }
        }
    }
}

impl From<position::Invalid> for Failure {
    fn from(invalid: position::Invalid) -> Self {
        match invalid {
            position::Invalid::Forged => Code::PositionForged.into(),
            position::Invalid::OldEpoch => Code::PositionOldEpoch.into(),
            position::Invalid::NotReady => Code::Unavailable.into(),
        }
    }
}

impl From<blob::Error> for Failure {
    fn from(error: blob::Error) -> Self {
        tracing::warn!(%error, "the blob store failed");
        match error {
            blob::Error::NotFound { .. } => Code::FileNotFound.into(),
            blob::Error::Unavailable { .. } | blob::Error::Refused { .. } => {
                Self::after(Code::BlobsUnavailable, Duration::from_secs(5))
            }
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "the state cannot be read");
        Code::Internal.into()
    }
}

impl From<GivenUp> for Failure {
    fn from(_: GivenUp) -> Self {
        tracing::error!("work on the blocking threads was given up");
        Code::Internal.into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "this node's own files failed");
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Code::DiskLow.into()
            }
            _ => Code::Internal.into(),
        }
    }
}

impl IntoResponse for Failure {
    /// The failure itself goes along for the frame around all handlers, which knows what other
    /// fields the body of this endpoint has.
    fn into_response(self) -> Response {
        let body = crate::wire::failure_body(self.code, &self.message, "");
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, crate::wire::JSON);
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn the_table_is_for_ever() {
        let mut table =
            String::from("| status_code | name | HTTP | meaning |\n|---|---|---|---|\n");
        for code in Code::ALL {
            let http = code.status().as_u16();
            let (number, meaning) = (code.number(), code.meaning());
            table.push_str(&format!("| {number} | `{code:?}` | {http} | {meaning} |\n"));
        }
        expect_file!["../tests/contract/codes.md"].assert_eq(&table);
        let design = include_str!("../DESIGN.md");
        assert!(
            design.contains(&table),
            "DESIGN.md must carry this table:\n{table}"
        );
    }

    #[test]
    fn every_rejection_has_its_code() {
        let code = |rejection: Rejection| Failure::from(rejection).code;
        for (rejection, expected) in [
            (Rejection::InvalidToken, Code::TokenInvalid),
            (Rejection::NameTaken, Code::NameTaken),
            (Rejection::UserNotFound, Code::UserNotFound),
            (Rejection::VideoNotFound, Code::VideoNotFound),
            (Rejection::CommentNotFound, Code::CommentNotFound),
            (Rejection::NotTheAuthor, Code::NotTheAuthor),
            (Rejection::CannotFollowSelf, Code::CannotFollowSelf),
            (Rejection::CannotMessageSelf, Code::CannotMessageSelf),
            (Rejection::FriendsOnly, Code::FriendsOnly),
            (Rejection::PasswordChanged, Code::PasswordChanged),
            (Rejection::BlobRetired, Code::BlobRetired),
            (Rejection::RequestExpired, Code::RequestExpired),
            (Rejection::InvalidJoinToken, Code::Administration),
            (Rejection::NodeNotFound, Code::Administration),
            (Rejection::AlreadyFounded, Code::Administration),
            (
                Rejection::InvalidSetting("x".to_owned()),
                Code::Administration,
            ),
        ] {
            assert_eq!(code(rejection), expected);
        }
    }

    #[test]
    fn words_from_below_do_not_reach_clients() {
        let why = || "10.0.0.3 said: /var/lib/yin is full".to_owned();
        let retry_after = Duration::from_secs(3);
        use raft::replica::Error;
        let told: Vec<Failure> = vec![
            Error::Unavailable {
                why: why(),
                retry_after,
            }
            .into(),
            Error::Unknown { why: why() }.into(),
            Error::Stopped { why: why() }.into(),
            blob::Error::Unavailable { why: why() }.into(),
            blob::Error::Refused { why: why() }.into(),
            blob::Error::NotFound {
                key: "v/secret".to_owned(),
            }
            .into(),
            Fault(why()).into(),
            std::io::Error::other(why()).into(),
        ];
        for failure in &told {
            assert!(!failure.message.contains("yin is full"), "{failure:?}");
            assert!(!failure.message.contains("secret"), "{failure:?}");
        }
        assert_eq!(told[0].retry_after_s(), Some(3));
        assert_eq!(told[1].code, Code::OutcomeUnknown);
    }

    #[test]
    fn numbers_are_unique_and_rising() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert!(
            numbers.is_sorted_by(|left, right| left < right),
            "{numbers:?}"
        );
    }

    #[test]
    fn waiting_times_are_whole_seconds_and_never_zero() {
        let wait =
            |millis| Failure::after(Code::TooOften, Duration::from_millis(millis)).retry_after_s();
        assert_eq!(
            [wait(0), wait(1), wait(1_000), wait(1_001)],
            [Some(1), Some(1), Some(1), Some(2)]
        );
        assert_eq!(Failure::from(Code::Overloaded).retry_after_s(), Some(1));
        assert_eq!(Failure::from(Code::UserNotFound).retry_after_s(), None);
    }
}
