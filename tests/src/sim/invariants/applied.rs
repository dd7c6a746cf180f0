//! The applied position of a node only rises; only a crash may take it back, and never behind
//! what its state had made durable.
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Applied {
    /// By node: where its state stands.
    at: BTreeMap<u64, u64>,
    durable: BTreeMap<u64, u64>,
}

impl Applied {
    pub(super) fn on_commit(
        &mut self,
        node: u64,
        state_from: Option<u64>,
        to: u64,
    ) -> Result<(), String> {
        let known = self.at.insert(node, to);
        if state_from != known {
            return Err(format!(
                "node {node} stood at {known:?} and commits on top of {state_from:?}"
            ));
        }
        if known.is_some_and(|known| known >= to) {
            return Err(format!("node {node} stood at {known:?} and commits {to}"));
        }
        Ok(())
    }

    pub(super) fn on_install(&mut self, node: u64, to: u64) -> Result<(), String> {
        self.durable.insert(node, to);
        match self.at.insert(node, to) {
            Some(known) if known > to => Err(format!(
                "node {node} stood at {known} and installs a snapshot of {to}"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn on_durable(&mut self, node: u64, to: Option<u64>) {
        if let Some(to) = to {
            self.durable.insert(node, to);
        }
    }

    pub(super) fn on_reborn(&mut self, node: u64, to: Option<u64>) -> Result<(), String> {
        let known = self.at.get(&node).copied();
        let least = self.durable.get(&node).copied();
        match to {
            Some(to) => self.at.insert(node, to),
            None => self.at.remove(&node),
        };
        if to < least || to > known {
            return Err(format!(
                "node {node} stood at {known:?}, durable {least:?}, and comes back at {to:?}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_is_found() {
        let mut it = Applied::default();
        assert!(it.on_commit(1, None, 3).is_ok());
        assert!(it.on_commit(1, Some(3), 5).is_ok());
        assert!(it.on_commit(1, Some(5), 5).is_err());
        assert!(it.on_commit(1, Some(4), 6).is_err());
    }

    #[test]
    fn a_crash_that_takes_too_much_is_found() {
        let mut it = Applied::default();
        assert!(it.on_commit(1, None, 3).is_ok());
        it.on_durable(1, Some(3));
        assert!(it.on_commit(1, Some(3), 9).is_ok());
        assert!(it.on_reborn(1, Some(9)).is_ok());
        assert!(it.on_reborn(1, Some(4)).is_ok());
        assert!(it.on_reborn(1, Some(2)).is_err());
        assert!(it.on_commit(2, None, 3).is_ok());
        assert!(it.on_reborn(2, Some(4)).is_err());
    }
}
