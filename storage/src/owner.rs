//! Whose data this is: written into every log segment and the state, checked at each open.
use serde::{Deserialize, Serialize};

/// A data directory belongs to exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub cluster_id: String,
    pub node: u64,
    /// Made at random when the directory was made.
    pub incarnation: [u8; 16],
}
