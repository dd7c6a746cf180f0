//! Whose data this is: written into every log segment and the state, checked at each open.
use std::fmt;

use serde::{Deserialize, Serialize};

/// A data directory belongs to exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub cluster_id: String,
    pub node: u64,
    /// Made at random when the directory was made.
    pub incarnation: [u8; 16],
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {} (", self.node, self.cluster_id)?;
        for byte in self.incarnation {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ")")
    }
}
