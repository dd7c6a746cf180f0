//! What a directed link does to packets, and what it did.
use std::time::Duration;

/// What happens to packets of one directed link. The default is a perfect wire.
///
/// Probabilities are between 0 and 1, and each packet is judged on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Nothing that is sent from now on arrives; what is under way does.
    pub is_cut: bool,
    pub delay: Duration,
    /// The delay of a packet is even between `delay - jitter` and `delay + jitter`. The order
    /// stays: a queue that is slow is no reason to overtake.
    pub jitter: Duration,
    pub loss: f64,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that a packet is held back for some milliseconds, so that later ones overtake.
    pub reorder: f64,
    /// Bytes a second, IP headers counted. What waits for longer than half a second is dropped.
    pub bytes_per_second: Option<u64>,
    /// Larger packets vanish without a word, as where ICMP is filtered. Bytes, IP header counted.
    pub largest_packet: Option<usize>,
}

/// What happened on one directed link since the network began.
///
/// At rest `delivered + cut + lost + oversized + overflowed == sent + duplicated`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets that came from the sender.
    pub sent: u64,
    /// Packets, copies counted, that the receiver's device took.
    pub delivered: u64,
    pub cut: u64,
    pub lost: u64,
    /// Packets and copies that had to wait, those held back apart.
    pub delayed: u64,
    pub duplicated: u64,
    /// Packets held back.
    pub reordered: u64,
    pub oversized: u64,
    /// Dropped because too much was waiting, or because the receiver's device took no more.
    pub overflowed: u64,
}
