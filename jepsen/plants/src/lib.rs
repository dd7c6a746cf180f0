//! Bugs put in on purpose, to prove that the harness finds them.
//!
//! Product code asks [`is`] at the spot where a bug could have been. Without the feature `planted`
//! (no release has it) the answer is a constant `false` and the compiler drops the branch; with it,
//! the environment variable `YIN_PLANT` names the one bug that this process has.

/// A bug that can be planted; the names are those that `YIN_PLANT` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plant {
    /// Its number in the table of jepsen/DESIGN.md.
    pub number: u8,
    pub name: &'static str,
}

macro_rules! plants {
    ($($number:literal $constant:ident $name:literal $what:literal;)*) => {
        $(
            #[doc = $what]
            pub const $constant: Plant = Plant { number: $number, name: $name };
        )*
        /// All of them, by number.
        pub const ALL: &[Plant] = &[$($constant),*];
    };
}

plants! {
    1 LOG_UNSYNCED "log-unsynced" "The Raft log is acknowledged before it is synced.";
    2 VOTE_UNSYNCED "vote-unsynced" "A vote is given before it is synced.";
    3 ACK_BEFORE_COMMIT "ack-before-commit" "The leader acknowledges a write before a quorum has it.";
    4 STALE_LINEARIZABLE_READ "stale-linearizable-read" "A linearizable read is served without asking whether the leader still leads.";
    5 LONG_LEASE "long-lease" "A leader trusts its lease for longer than an election takes.";
    6 SESSION_IGNORED "session-ignored" "A node ignores the position in a session token.";
    7 RETRY_WITHOUT_REQUEST "retry-without-request" "A retried forward carries a new request id.";
    8 MEMORY_NOT_IN_SNAPSHOT "memory-not-in-snapshot" "The request memory is left out of snapshots.";
    9 MEMORY_FORGETS_EARLY "memory-forgets-early" "The request memory forgets too early.";
    10 FORWARDED_TWICE "forwarded-twice" "A forwarded write is sent twice, under two request ids.";
    11 FOLLOW_IN_TWO "follow-in-two" "A follow is written in two entries, one per index.";
    12 REPEATED_LIKE_COUNTS "repeated-like-counts" "A repeated like counts again.";
    13 APPLIED_APART "applied-apart" "What is applied and how far are written apart.";
    14 SNAPSHOT_OMITS "snapshot-omits" "A snapshot leaves a table out.";
    15 INSTALL_IN_STEPS "install-in-steps" "A snapshot is installed in steps that a crash can separate.";
    16 PURGED_TOO_EARLY "purged-too-early" "The log is purged before what it holds is durable elsewhere.";
    17 ORDER_BY_WALL_CLOCK "order-by-wall-clock" "Messages are ordered by the wall clock of the node that took them.";
    18 PAGE_BY_OFFSET "page-by-offset" "A page goes on by offset, not by key.";
    19 SHORTENED_LOG "shortened-log" "A damaged log is silently shortened when it is opened.";
    20 SYNC_ERROR_IGNORED "sync-error-ignored" "A failed sync is ignored.";
    21 FALSE_NOT_APPLIED "false-not-applied" "A write that was committed is reported as not applied.";
    22 REMOVED_SERVES "removed-serves" "A removed node goes on serving.";
    23 WIPED_KEEPS_ID "wiped-keeps-id" "A wiped node comes back under its old id.";
    24 CHANCE_IN_APPLY "chance-in-apply" "Applying depends on chance.";
    25 ROW_BEFORE_BYTES "row-before-bytes" "A video's row is committed before its bytes are stored.";
    26 COMMIT_WITHOUT_QUORUM "commit-without-quorum" "The leader commits what only a minority holds.";
    27 CANARY "canary" "The history is altered before it is judged: must always be found.";
}

/// Is this bug planted in this process?
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_plant: Plant) -> bool {
    false
}

/// Is this bug planted in this process?
///
/// # Panics
/// When `YIN_PLANT` names none that is known: a run that plants nothing would prove nothing.
#[cfg(feature = "planted")]
pub fn is(plant: Plant) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Plant>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("YIN_PLANT")
            .ok()
            .filter(|name| !name.is_empty())?;
        let known = ALL.iter().find(|plant| plant.name == name);
        Some(*known.unwrap_or_else(|| panic!("YIN_PLANT={name} is no known plant")))
    });
    chosen.is_some_and(|chosen| chosen == plant)
}

/// Is it true this time? On another node, or another time, perhaps not.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn chance() -> bool {
    false
}

/// Is it true this time? On another node, or another time, perhaps not.
#[cfg(feature = "planted")]
pub fn chance() -> bool {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(()).is_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_differ() {
        for (position, plant) in ALL.iter().enumerate() {
            assert_eq!(usize::from(plant.number), position + 1);
            let same = ALL.iter().filter(|other| other.name == plant.name);
            assert_eq!(same.count(), 1, "{}", plant.name);
        }
    }
}
