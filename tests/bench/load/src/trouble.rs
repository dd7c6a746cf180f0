//! Why an operation does not count as done.

/// An operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The contract's own no: HTTP 200 with another `status_code` than 0.
    #[error("status_code {0}")]
    Code(i64),
    /// HTTP said no.
    #[error("HTTP {0}")]
    Http(u16),
    /// No connection, or it broke off.
    #[error("connection: {0}")]
    Broken(String),
    /// No answer within [`crate::client::ANSWER_MAX`].
    #[error("no answer in time")]
    Late,
    /// An answer that must not be: a broken promise or no JSON of the contract.
    #[error("wrong answer: {0}")]
    Wrong(&'static str),
}
