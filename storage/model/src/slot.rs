//! The slot of an object: a frozen 10-bit hash, kept in the low bits of ids.
//!
//! There is one log today; slots keep the door open to many. What belongs together has one slot: a
//! user's videos and their comments, both sides of a conversation.
use crate::error::Fault;
use crate::id::{ID_MAX, SLOT_BITS, UserId};

/// The slot of a user with this folded name.
#[must_use]
pub fn of_name(folded: &str) -> u64 {
    of_bytes(folded.as_bytes())
}

/// The slot of the conversation of two users, whoever of them is named first.
#[must_use]
pub fn of_pair(one: UserId, other: UserId) -> u64 {
    let (low, high) = (one.min(other), one.max(other));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low.0.to_be_bytes());
    bytes[8..].copy_from_slice(&high.0.to_be_bytes());
    of_bytes(&bytes)
}

/// The slot that an id carries.
#[must_use]
pub fn of_id(id: u64) -> u64 {
    id & ((1 << SLOT_BITS) - 1)
}

/// The id of the `count`th object of its noun.
///
/// # Errors
/// [`Fault`] when 2^43 of them were given out before.
pub(crate) fn id(count: u64, slot: u64) -> Result<u64, Fault> {
    if count > ID_MAX >> SLOT_BITS {
        return Err(Fault("all ids of this kind are used up".to_owned()));
    }
    Ok(count << SLOT_BITS | slot)
}

/// FNV-1a, 64 bits, folded to the width of a slot. For ever: ids carry it.
fn of_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    of_id(hash ^ hash >> 10 ^ hash >> 20 ^ hash >> 32 ^ hash >> 42 ^ hash >> 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_frozen() {
        // The published test vectors of FNV-1a (64 bits) before folding: "" and "foobar".
        assert_eq!(of_name(""), fold(0xcbf2_9ce4_8422_2325));
        assert_eq!(of_name("foobar"), fold(0x8594_4171_f739_67e8));
        assert_eq!(
            [of_name("alice"), of_name("bob"), of_name("李雷")],
            [554, 686, 929]
        );
        assert_eq!(of_pair(UserId(1024), UserId(2048)), 213);
        assert_eq!(of_pair(UserId(2048), UserId(1024)), 213);
    }

    #[test]
    fn slots_spread() {
        let mut seen = std::collections::BTreeMap::new();
        for number in 0..65_536 {
            *seen
                .entry(of_name(&format!("user{number}")))
                .or_insert(0_u32) += 1;
        }
        // 64 are expected in each of 1,024; six standard deviations are 48.
        assert_eq!(seen.len(), 1024);
        assert!(seen.values().all(|count| (16..=112).contains(count)));
    }

    #[test]
    fn ids_are_exact_in_float64_and_end() {
        let largest = id(ID_MAX >> SLOT_BITS, 1023).unwrap();
        assert_eq!(largest, ID_MAX);
        id((ID_MAX >> SLOT_BITS) + 1, 0).unwrap_err();
    }

    fn fold(hash: u64) -> u64 {
        (hash ^ hash >> 10 ^ hash >> 20 ^ hash >> 32 ^ hash >> 42 ^ hash >> 52) & 1023
    }
}
