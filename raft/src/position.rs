//! Session positions: how far in the log a client has seen.

/// How far a client has seen: everything up to `index` of the log of `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub epoch: u32,
    pub index: u64,
}

/// Why a position that a client sent is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the session position is not one of this cluster's: drop it and ask without")]
    Forged,
    #[error("the session position is of an earlier life of this cluster (it was restored from a backup): drop it and log in again")]
    OldEpoch,
}
// Position::encode(&self, key: &[u8; 32]) -> String   (`v1.<base64url(epoch u32 be, index u64 be, 16 byte HMAC-SHA256)>`)
// Position::decode(text: &str, key: &[u8;32], epoch: u32) -> Result<Position, Invalid>
