//! Ids: counted in state, always below 2^53, with a 10-bit slot in the low bits.
use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest id there is: JavaScript and float64 clients keep it exact.
pub const ID_MAX: u64 = (1 << 53) - 1;
/// Bits of an id that carry its slot.
pub const SLOT_BITS: u32 = 10;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A user, for ever. Slot: the hash of the folded name.
    UserId;
    /// A video. Slot: its author's.
    VideoId;
    /// A comment. Slot: its video's.
    CommentId;
    /// A chat message. Slot: the hash of the pair of users.
    MessageId;
    /// A node of the cluster; never used twice. No slot.
    NodeId;
}
