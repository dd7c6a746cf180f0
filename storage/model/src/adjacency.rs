//! Whom or what one object is tied to, packed, so that an engine can keep all of it as one value.
//!
//! A page asks of thirty videos and thirty users whether its reader likes or follows them. As single
//! keys these are sixty places in memory, most of them answers of "no"; as the reader's own two
//! lists they are two.
use crate::error::Fault;
use crate::key::{FavoriteBy, Following, Key as _};
use crate::view::Pair;

/// The kinds of keys that engines are asked for in this way, by their tags. All begin with the id of
/// one object.
pub const KINDS: [u8; 2] = [FavoriteBy::TAG, Following::TAG];

/// Bytes that all keys of one list have in common: the tag and the object's id.
pub const PREFIX_BYTES: usize = 9;

/// Longer lists are not packed: reading one would cost more than asking for single keys.
pub const EDGES_MAX: usize = 512;

/// All pairs under one prefix, in key order, each as the length of the key's rest, that rest, the
/// length of the value, and the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjacency {
    packed: Vec<u8>,
}

/// What a commit does to one pair: the key's rest and the new value, `None` where it goes.
pub type EdgeChange<'a> = (&'a [u8], Option<&'a [u8]>);

impl Adjacency {
    /// Packs `pairs`, whose keys begin with the same `prefix_bytes`; `None` when they are more than
    /// [`EDGES_MAX`] or one is longer than 255 bytes.
    ///
    /// # Errors
    /// [`Fault`] when one could not be read.
    pub fn pack(
        pairs: impl Iterator<Item = Result<Pair, Fault>>,
        prefix_bytes: usize,
    ) -> Result<Option<Self>, Fault> {
        let mut list = Self::default();
        for (count, pair) in pairs.enumerate() {
            let (key, value) = pair?;
            if count == EDGES_MAX || !list.push(&key[prefix_bytes..], &value) {
                return Ok(None);
            }
        }
        Ok(Some(list))
    }

    /// What [`Adjacency::into_bytes`] gave.
    #[must_use]
    pub fn from_bytes(packed: Vec<u8>) -> Self {
        Self { packed }
    }

    /// What [`Adjacency::into_bytes`] gives.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.packed
    }

    /// For [`Adjacency::from_bytes`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.packed
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.edges().map(|(_, value)| value)
    }

    /// The list after a commit, whose `changes` are in key order; `None` as for
    /// [`Adjacency::pack`].
    #[must_use]
    pub fn changed(&self, changes: &[EdgeChange<'_>]) -> Option<Self> {
        let mut list = Self {
            packed: Vec::with_capacity(self.packed.len() + 32 * changes.len()),
        };
        let mut old = self.edges().peekable();
        let mut count = 0;
        let mut push = |rest: &[u8], value: &[u8]| {
            count += 1;
            count <= EDGES_MAX && list.push(rest, value)
        };
        for &(rest, value) in changes {
            while let Some((kept, value)) = old.next_if(|(kept, _)| *kept < rest) {
                if !push(kept, value) {
                    return None;
                }
            }
            old.next_if(|(kept, _)| *kept == rest);
            if let Some(value) = value
                && !push(rest, value)
            {
                return None;
            }
        }
        for (kept, value) in old {
            if !push(kept, value) {
                return None;
            }
        }
        Some(list)
    }

    fn edges(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut packed = self.packed.as_slice();
        std::iter::from_fn(move || Some((take(&mut packed)?, take(&mut packed)?)))
    }

    /// False when it is too long to be packed.
    fn push(&mut self, rest: &[u8], value: &[u8]) -> bool {
        let lengths = (u8::try_from(rest.len()), u8::try_from(value.len()));
        let (Ok(rest_bytes), Ok(value_bytes)) = lengths else {
            return false;
        };
        self.packed.push(rest_bytes);
        self.packed.extend_from_slice(rest);
        self.packed.push(value_bytes);
        self.packed.extend_from_slice(value);
        true
    }
}

/// The list that `key` belongs to, if it is one that is ever asked for, and the key's rest.
#[must_use]
pub fn list_of(key: &[u8]) -> Option<(&[u8; PREFIX_BYTES], &[u8])> {
    let (prefix, rest) = key.split_first_chunk::<PREFIX_BYTES>()?;
    KINDS.contains(&prefix[0]).then_some((prefix, rest))
}

fn take<'a>(packed: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, rest) = packed.split_first()?;
    let (part, rest) = rest.split_at_checked(usize::from(*bytes))?;
    *packed = rest;
    Some(part)
}
