//! State machines that stand at the same index are the same, byte for byte.
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct SameState {
    by_index: BTreeMap<u64, (u64, u64)>,
}

impl SameState {
    pub(super) fn at(&mut self, node: u64, index: u64, hash: u64) -> Result<(), String> {
        let (first, known) = *self.by_index.entry(index).or_insert((node, hash));
        if known == hash {
            return Ok(());
        }
        Err(format!(
            "at index {index} node {first} has state {known:016x} and node {node} {hash:016x}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::SameState;

    #[test]
    fn states_that_differ_are_found() {
        let mut it = SameState::default();
        assert!(it.at(1, 4, 77).is_ok());
        assert!(it.at(2, 4, 77).is_ok());
        assert!(it.at(2, 5, 78).is_ok());
        assert!(it.at(3, 4, 78).is_err());
    }
}
