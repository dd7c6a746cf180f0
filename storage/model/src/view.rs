//! What the state machine may see.
use std::sync::Arc;

use crate::adjacency::Adjacency;
use crate::error::Fault;

/// One stored pair.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A consistent, read-only view of the key space.
pub trait View {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`Fault`] when this machine could not read it.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// As [`View::get`], for a key that hardly anybody asks for twice: an engine need not keep the
    /// answer at hand.
    ///
    /// # Errors
    /// As [`View::get`].
    fn get_once(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.get(key)
    }

    /// The pairs whose key starts with `prefix` and is not below `from`, in key order.
    ///
    /// `from` either starts with `prefix` or is empty (from the first one on).
    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a>;

    /// The values under `keys`, in their order. An engine may read them in one go.
    ///
    /// # Errors
    /// [`Fault`] when this machine could not read one of them.
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// All pairs under `prefix`, which is the tag of one of [`crate::adjacency::KINDS`] and an id.
    /// `None` when they are too many to be packed, or were when an engine looked last: single keys
    /// are to be asked for.
    ///
    /// # Errors
    /// [`Fault`] when this machine could not read one of them.
    fn adjacency(&self, prefix: &[u8]) -> Result<Option<Adjacency>, Fault> {
        Adjacency::pack(self.scan(prefix, &[]), prefix.len())
    }
}

impl<V: View + ?Sized> View for Arc<V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        (**self).get(key)
    }
    fn get_once(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        (**self).get_once(key)
    }
    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        (**self).scan(prefix, from)
    }
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        (**self).get_many(keys)
    }
    fn adjacency(&self, prefix: &[u8]) -> Result<Option<Adjacency>, Fault> {
        (**self).adjacency(prefix)
    }
}
