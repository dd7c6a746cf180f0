//! What is being broken right now, so that faults do not meet where that would prove nothing.
//!
//! A fault claims what it breaks: nodes by name, [`NETWORK`], [`BUCKET`], [`LOAD`]. One that damages
//! synced data also claims [`DATA`], and keeps it until the cluster has made it good: so at most one
//! node at a time has lost what it acknowledged, and a quorum's synced data always survives.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::Refusal;

/// The links between members.
pub(crate) const NETWORK: &str = "the network";
/// The S3 server.
pub(crate) const BUCKET: &str = "the bucket";
/// How much clients ask.
pub(crate) const LOAD: &str = "the load";
/// Synced data of some node.
pub(crate) const DATA: &str = "synced data";

/// Who has claimed what. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Atlas(Arc<Mutex<BTreeSet<String>>>);

/// Given back when dropped.
pub(crate) struct Claim {
    atlas: Atlas,
    what: Vec<String>,
}

impl Atlas {
    /// Claims all of it, or nothing.
    ///
    /// # Errors
    /// [`Refusal::Skip`] when some of it is claimed already.
    pub(crate) fn claim<T: AsRef<str>>(&self, what: &[T]) -> Result<Claim, Refusal> {
        let mut claimed = self.0.lock().expect("no holder panics");
        let taken = what.iter().find(|one| claimed.contains(one.as_ref()));
        if let Some(taken) = taken {
            let taken = taken.as_ref();
            return Err(Refusal::Skip(format!("{taken} is being broken already")));
        }
        let what: Vec<String> = what.iter().map(|one| one.as_ref().to_owned()).collect();
        claimed.extend(what.iter().cloned());
        Ok(Claim {
            atlas: self.clone(),
            what,
        })
    }

    /// Is anything broken right now?
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.lock().expect("no holder panics").is_empty()
    }
}

impl Claim {
    /// Never gives it back: what was broken stays so for this run.
    pub(crate) fn keep(mut self) {
        self.what.clear();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.atlas.0.lock().expect("no holder panics");
        for what in &self.what {
            claimed.remove(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_refused_until_given_back() {
        let atlas = Atlas::default();
        let claim = atlas.claim(&["n1", "n2"]).unwrap();
        assert!(matches!(atlas.claim(&["n3", "n2"]), Err(Refusal::Skip(_))));
        drop(atlas.claim(&["n3"]).expect("all or nothing"));
        drop(claim);
        assert!(atlas.is_quiet());
        atlas.claim(&[DATA]).unwrap().keep();
        assert!(!atlas.is_quiet(), "kept for good");
    }
}
