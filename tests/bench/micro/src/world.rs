//! Users and videos by number: which tokens they have, and who likes and follows whom.
//!
//! Nothing of it is kept beside the state: ids are read back from it, all else follows from the
//! numbers. So a state that was built once can be measured again.
use anyhow::Result;
use model::command::Operation;
use model::id::{UserId, VideoId};
use model::key;
use model::read::Read as _;
use model::token::TokenHash;
use model::user::Register;
use model::video::{BlobRef, Publish};
use sha2::{Digest as _, Sha256};
use storage::state::SharedView;

use crate::dice::{Dice, mix};

/// Neighbours in a [`Ring`] are so far apart among the targets: a prime, larger than any number of
/// them, so that every target is met once.
const STEP: u64 = 4_294_967_291;
/// Keeps tokens apart from all else that is mixed.
const TOKENS: u64 = 0x746f_6b65_6e73;

/// Everybody, in the order in which they came.
pub struct World {
    pub users: Vec<UserId>,
    pub videos: Vec<VideoId>,
    /// Of each user: a hash costs more than some of what is measured.
    pub tokens: Vec<TokenHash>,
}

impl World {
    /// Reads the ids, which count up.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(view: &SharedView) -> Result<Self> {
        let users = view.list::<key::UserById>((), None);
        let videos = view.list::<key::VideoById>((), None);
        let users = users
            .map(|entry| entry.map(|(key, _)| key.user))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            tokens: (0..users.len()).map(token).collect(),
            users,
            videos: videos
                .map(|entry| entry.map(|(key, _)| key.video))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// What a client that is the user `number` sends, as bytes.
#[must_use]
pub fn secret(number: usize) -> [u8; 32] {
    let mut dice = Dice::new(mix(number as u64 ^ TOKENS));
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&dice.roll().to_be_bytes());
    }
    secret
}

/// The token of the user `number`, registered with it.
#[must_use]
pub fn token(number: usize) -> TokenHash {
    TokenHash(Sha256::digest(secret(number)).into())
}

/// What the user `number` is called.
#[must_use]
pub fn name(number: usize) -> String {
    format!("user number {number}")
}

/// Registers the user `number`.
#[must_use]
pub fn register(number: usize) -> Operation {
    let password = format!("{:043x}", mix(number as u64));
    Operation::Register(Register {
        name: name(number),
        password_hash: format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2Fs${password}"),
        token: token(number),
    })
}

/// Publishes the video `number`.
#[must_use]
pub fn publish(number: usize) -> Operation {
    let blob = |kind: &str, content_type: &str| {
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&mix(number as u64).to_be_bytes());
        BlobRef {
            key: format!("{kind}/2026/11/{:032x}", mix(number as u64)),
            bytes: 1_000_000,
            sha256,
            content_type: content_type.to_owned(),
        }
    };
    Operation::Publish(Publish {
        title: format!("this is what video number {number} is called"),
        video: blob("video", "video/mp4"),
        cover: blob("cover", "image/jpeg"),
    })
}

/// Whom each source meets, in which order: all targets lie on a ring, shuffled; a source begins at a
/// place of its own and goes round. So after `taken` steps it is known what it has not met, without
/// anything being kept.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    pub targets: usize,
    /// How many of them each source has met.
    pub taken: usize,
    /// Sources of another ring begin elsewhere.
    pub salt: u64,
}

impl Ring {
    /// The `step`-th target of a source.
    #[must_use]
    pub fn target(&self, source: usize, step: usize) -> usize {
        self.at((self.begin(source) + step) % self.targets)
    }

    /// The target at a place of the ring.
    #[must_use]
    pub fn at(&self, place: usize) -> usize {
        let shuffled = u128::from(STEP) * (place as u128) % (self.targets as u128);
        usize::try_from(shuffled).expect("below a usize")
    }

    /// Has the source met what is at this place?
    #[must_use]
    pub fn is_taken(&self, source: usize, place: usize) -> bool {
        let begin = self.begin(source);
        (place + self.targets - begin) % self.targets < self.taken
    }

    /// Where on the ring a source begins.
    #[must_use]
    pub fn begin(&self, source: usize) -> usize {
        let place = mix(source as u64 ^ mix(self.salt)) % (self.targets as u64);
        usize::try_from(place).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_source_meets_every_target_once_and_the_ring_knows_whom() {
        let ring = Ring {
            targets: 250,
            taken: 100,
            salt: 1,
        };
        let all: BTreeSet<_> = (0..250).map(|step| ring.target(3, step)).collect();
        assert_eq!(all.len(), 250);
        let met: BTreeSet<_> = (0..100).map(|step| ring.target(3, step)).collect();
        for place in 0..250 {
            assert_eq!(ring.is_taken(3, place), met.contains(&ring.at(place)));
        }
    }
}
