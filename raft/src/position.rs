//! Session positions: how far in the log a client has seen.
//!
//! A position travels through clients, so it is authenticated: a forged one would make this cluster
//! wait for an index that will never come, and one of an earlier life would promise what is gone.
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

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
    #[error(
        "the session position is of an earlier life of this cluster (it was restored from a backup): drop it and log in again"
    )]
    OldEpoch,
    /// This node has not yet received the cluster's identity, so it cannot tell; try another node.
    #[error("this node has not yet joined far enough to check session positions: ask another node")]
    NotReady,
}

/// The position that was told last and its text. Requests between two writes are told the same one
/// and bring it back, and its code costs more than all the rest of it.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Option<(Position, String)>>);

impl Told {
    /// As [`Position::encode`].
    pub(crate) fn encode(&self, position: Position, key: &[u8; 32]) -> String {
        let mut told = self.lock();
        match &*told {
            Some((last, text)) if *last == position => text.clone(),
            _ => {
                let text = position.encode(key);
                *told = Some((position, text.clone()));
                text
            }
        }
    }

    /// As [`Position::decode`].
    pub(crate) fn decode(
        &self,
        text: &str,
        key: &[u8; 32],
        epoch: u32,
    ) -> Result<Position, Invalid> {
        let told = self.lock();
        match &*told {
            Some((last, known))
                if last.epoch == epoch && is_same(known.as_bytes(), text.as_bytes()) =>
            {
                Ok(*last)
            }
            _ => {
                drop(told);
                Position::decode(text, key, epoch)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Position, String)>> {
        // Nothing under this lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PREFIX: &str = "v1.";
const BODY_BYTES: usize = 4 + 8;
const MAC_BYTES: usize = 16;

impl Position {
    /// As text: `v1.` and base64url of epoch (u32, big endian), index (u64, big endian) and the
    /// first 16 bytes of their HMAC-SHA256 under `key`.
    pub fn encode(&self, key: &[u8; 32]) -> String {
        let body = self.body();
        let mut bytes = Vec::with_capacity(BODY_BYTES + MAC_BYTES);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&mac(key, &body));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what [`Position::encode`] wrote, in the cluster whose life is `epoch`.
    ///
    /// # Errors
    /// [`Invalid::Forged`] when it was not written under `key`, [`Invalid::OldEpoch`] when it is of
    /// another life than `epoch`.
    pub fn decode(text: &str, key: &[u8; 32], epoch: u32) -> Result<Self, Invalid> {
        let encoded = text.strip_prefix(PREFIX).ok_or(Invalid::Forged)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| Invalid::Forged)?;
        if bytes.len() != BODY_BYTES + MAC_BYTES {
            return Err(Invalid::Forged);
        }
        let mut number = [0; 4];
        number.copy_from_slice(&bytes[..4]);
        let mut index = [0; 8];
        index.copy_from_slice(&bytes[4..BODY_BYTES]);
        let position = Self {
            epoch: u32::from_be_bytes(number),
            index: u64::from_be_bytes(index),
        };
        if !is_same(&mac(key, &position.body()), &bytes[BODY_BYTES..]) {
            return Err(Invalid::Forged);
        }
        if position.epoch != epoch {
            return Err(Invalid::OldEpoch);
        }
        Ok(position)
    }

    fn body(&self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..4].copy_from_slice(&self.epoch.to_be_bytes());
        body[4..].copy_from_slice(&self.index.to_be_bytes());
        body
    }
}

fn mac(key: &[u8; 32], body: &[u8]) -> [u8; MAC_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body);
    let mut mac = [0; MAC_BYTES];
    mac.copy_from_slice(&tag.as_ref()[..MAC_BYTES]);
    mac
}

/// Compares without telling by its duration where the first difference is. `ring::hmac::verify`
/// wants the whole tag, and positions carry half of it.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let difference = left
        .iter()
        .zip(right)
        .fold(0u8, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0 && right.len() == left.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_is_known_again_and_nothing_like_it() {
        let (key, told) = ([7; 32], Told::default());
        for index in [5, 5, 6] {
            let position = Position { epoch: 2, index };
            let text = told.encode(position, &key);
            assert_eq!(text, position.encode(&key));
            assert_eq!(told.decode(&text, &key, 2), Ok(position));
            assert_eq!(told.decode(&text, &key, 3), Err(Invalid::OldEpoch));
            let mut longer = text.clone();
            longer.push('A');
            for wrong in [&longer, &text[..text.len() - 1], "", "v1."] {
                assert_eq!(told.decode(wrong, &key, 2), Err(Invalid::Forged));
            }
        }
        let earlier = Position { epoch: 2, index: 5 };
        assert_eq!(told.decode(&earlier.encode(&key), &key, 2), Ok(earlier));
    }
}
