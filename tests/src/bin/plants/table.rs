//! Which finder has to find which planted bug: the lowest one that can show it.
use plants::Plant;

/// What looks for bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finder {
    /// The state machine alone (`model`).
    Model,
    /// The real engines on a real directory (`disk`).
    Disk,
    /// A whole cluster, simulated (`sim`).
    Sim,
    /// Real processes on a real network (`jepsen chaos`), with these faults.
    Chaos(&'static str),
}

impl Finder {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Disk => "disk",
            Self::Sim => "sim",
            Self::Chaos(_) => "chaos",
        }
    }

    /// Seeds that one try may take.
    pub(crate) fn seeds_max(self) -> u64 {
        match self {
            Self::Model | Self::Sim => 200,
            Self::Disk => 40,
            Self::Chaos(_) => 1,
        }
    }

    /// So many of the seeds that showed a bug are run without it as well. A real cluster does not
    /// repeat by seed: there the hours of chaos without any bug say more than the same seed does.
    pub(crate) fn alarms_looked_for(self) -> usize {
        match self {
            Self::Model | Self::Disk | Self::Sim => usize::MAX,
            Self::Chaos(_) => 3,
        }
    }

    /// What a process of it may take, start and end included.
    pub(crate) fn seconds_max(self) -> &'static str {
        match self {
            Self::Model | Self::Disk => "120",
            Self::Sim => "60",
            // A cluster with a bug may well not come together again: that is waited for, too.
            Self::Chaos(_) => "360",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Assigned {
    pub(crate) plant: Plant,
    pub(crate) finder: Finder,
}

const fn by(finder: Finder, plant: Plant) -> Assigned {
    Assigned { plant, finder }
}

/// All of them, by number.
pub(crate) const ASSIGNED: [Assigned; 27] = [
    by(Finder::Sim, plants::LOG_UNSYNCED),
    by(Finder::Sim, plants::VOTE_UNSYNCED),
    by(Finder::Sim, plants::ACK_BEFORE_COMMIT),
    by(Finder::Sim, plants::STALE_LINEARIZABLE_READ),
    by(Finder::Sim, plants::LONG_LEASE),
    by(Finder::Sim, plants::SESSION_IGNORED),
    by(Finder::Sim, plants::RETRY_WITHOUT_REQUEST),
    by(Finder::Model, plants::MEMORY_NOT_IN_SNAPSHOT),
    by(Finder::Model, plants::MEMORY_FORGETS_EARLY),
    by(Finder::Sim, plants::FORWARDED_TWICE),
    by(Finder::Model, plants::FOLLOW_IN_TWO),
    by(Finder::Model, plants::REPEATED_LIKE_COUNTS),
    by(Finder::Disk, plants::APPLIED_APART),
    by(Finder::Disk, plants::SNAPSHOT_OMITS),
    by(Finder::Disk, plants::INSTALL_IN_STEPS),
    by(Finder::Sim, plants::PURGED_TOO_EARLY),
    by(Finder::Model, plants::ORDER_BY_WALL_CLOCK),
    by(Finder::Model, plants::PAGE_BY_OFFSET),
    by(Finder::Disk, plants::SHORTENED_LOG),
    by(Finder::Sim, plants::SYNC_ERROR_IGNORED),
    by(Finder::Sim, plants::FALSE_NOT_APPLIED),
    by(Finder::Sim, plants::REMOVED_SERVES),
    by(
        Finder::Chaos("disk-lose-log,disk-flip-log,partition-one"),
        plants::WIPED_KEEPS_ID,
    ),
    by(Finder::Model, plants::CHANCE_IN_APPLY),
    by(
        // Only where a video breaks off and its small cover gets through does the row appear.
        Finder::Chaos("s3-cut-uploads"),
        plants::ROW_BEFORE_BYTES,
    ),
    by(Finder::Sim, plants::COMMIT_WITHOUT_QUORUM),
    by(Finder::Sim, plants::CANARY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_bug_has_a_finder() {
        let assigned: Vec<_> = ASSIGNED.iter().map(|it| it.plant).collect();
        assert_eq!(assigned, plants::ALL);
    }
}
