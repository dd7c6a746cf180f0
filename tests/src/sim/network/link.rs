//! One direction between two nodes.
use crate::sim::dice::Dice;

/// Whether anything gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cut {
    #[default]
    No,
    /// Everything vanishes.
    Silent,
    /// Everything waits until the link is healed: the connection outlives the cut, and the kernel
    /// goes on sending.
    Holding,
    /// Nothing can be asked; what is on its way vanishes.
    Refusing,
}

/// How long it takes, and what goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) cut: Cut,
    pub(crate) delay_ms: u64,
    pub(crate) jitter_ms: u64,
    /// Packets in a thousand that are lost and sent again after a while.
    pub(crate) losses: u64,
    /// Requests in a thousand on which the connection breaks.
    pub(crate) breaks: u64,
}

/// How long it takes until a lost packet is sent again.
const AGAIN_MS: (u64, u64) = (20, 250);

impl Link {
    pub(super) fn takes_ms(&self, dice: &mut Dice) -> u64 {
        let again = if dice.in_thousand(self.losses) {
            dice.between(AGAIN_MS.0, AGAIN_MS.1)
        } else {
            0
        };
        // Never nothing: nodes take turns, and what is sent in a turn arrives in a later one.
        (self.delay_ms + dice.roll(self.jitter_ms + 1) + again).max(1)
    }
}
