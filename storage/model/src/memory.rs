//! A view in memory, for tests and simulation.
use std::collections::BTreeMap;

use crate::error::Fault;
use crate::overlay::Changes;
use crate::view::{Pair, View};

/// The whole key space in an ordered map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Memory {
    /// Makes `changes` part of the view.
    pub fn commit(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
    }

    /// Everything, in key order.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl View for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.pairs.get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        let start = if from.is_empty() { prefix } else { from };
        let prefix = prefix.to_vec();
        Box::new(
            self.pairs
                .range(start.to_vec()..)
                .take_while(move |(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| Ok((key.clone(), value.clone()))),
        )
    }
}
