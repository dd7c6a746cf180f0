//! What is done to the cluster, by the seed: faults come one after the other and overlap, and each
//! of them ends.
use super::dice::Dice;
use super::network::{Cut, Link};
use super::shape::Profile;

/// Something that is done at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The next fault is due.
    Strike,
    Start(u64),
    Resume(u64),
    Heal,
    CorrectClock(u64),
    /// Members that are gone for ever are taken out, others take their place.
    Repair,
}

/// A fault of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    PowerCut,
    /// The power goes in the middle of one of the next writes.
    CutAtWrite,
    PowerCutAll,
    KillAll,
    Pause,
    SyncError,
    Partition,
    Isolate,
    OneWay,
    Bridge,
    SlowLinks,
    ClockJump,
    Drift,
    HandOver,
    Snapshot,
    Members,
    /// A node loses its disk, and another takes its place.
    Wipe,
    /// Hours pass.
    TimePasses,
}

impl Kind {
    /// What this profile may do, each as often as it stands here.
    pub(crate) fn of(profile: Profile) -> &'static [Self] {
        use Kind::{
            Bridge, ClockJump, CutAtWrite, Drift, HandOver, Isolate, Kill, KillAll, Members,
            OneWay, Partition, Pause, PowerCut, PowerCutAll, SlowLinks, Snapshot, SyncError,
            TimePasses, Wipe,
        };
        match profile {
            Profile::Calm => &[],
            Profile::Crashes => &[
                Kill,
                Kill,
                PowerCut,
                PowerCut,
                CutAtWrite,
                CutAtWrite,
                CutAtWrite,
                PowerCutAll,
                KillAll,
                SyncError,
                Snapshot,
            ],
            Profile::Partitions => &[
                Partition, Isolate, Isolate, OneWay, Bridge, SlowLinks, Pause, HandOver, Snapshot,
            ],
            Profile::Mixed => &[
                Kill,
                Kill,
                PowerCut,
                PowerCut,
                CutAtWrite,
                CutAtWrite,
                PowerCutAll,
                KillAll,
                Pause,
                Pause,
                SyncError,
                Partition,
                Partition,
                Isolate,
                Isolate,
                OneWay,
                Bridge,
                SlowLinks,
                ClockJump,
                Drift,
                HandOver,
                Snapshot,
                Members,
                Members,
                Wipe,
                TimePasses,
            ],
        }
    }
}

/// Which links are cut, and how.
pub(crate) fn cuts(
    kind: Kind,
    nodes: &[u64],
    leader: Option<u64>,
    dice: &mut Dice,
) -> Vec<(u64, u64)> {
    let mut order = nodes.to_vec();
    dice.shuffle(&mut order);
    let Some(one) = leader
        .filter(|_| dice.roll(2) == 0)
        .or(order.first().copied())
    else {
        return Vec::new();
    };
    let others = || nodes.iter().copied().filter(move |node| *node != one);
    match kind {
        Kind::Partition => {
            let (left, right) = order.split_at(order.len() / 2);
            both(left, right)
        }
        Kind::Isolate => both(&[one], &others().collect::<Vec<_>>()),
        Kind::OneWay => {
            let is_deaf = dice.roll(2) == 0;
            let cut = others().filter(|_| dice.roll(4) > 0);
            cut.map(|other| if is_deaf { (other, one) } else { (one, other) })
                .collect()
        }
        Kind::Bridge => {
            let rest: Vec<u64> = order.iter().copied().filter(|node| *node != one).collect();
            let (left, right) = rest.split_at(rest.len() / 2);
            both(left, right)
        }
        _ => Vec::new(),
    }
}

fn both(left: &[u64], right: &[u64]) -> Vec<(u64, u64)> {
    let pairs = left
        .iter()
        .flat_map(|one| right.iter().map(move |other| (*one, *other)));
    pairs
        .flat_map(|(one, other)| [(one, other), (other, one)])
        .collect()
}

/// How a cut cuts: the same for all links of one fault.
pub(crate) fn manner_of_cut(dice: &mut Dice) -> Cut {
    match dice.roll(3) {
        0 => Cut::Silent,
        1 => Cut::Holding,
        _ => Cut::Refusing,
    }
}

/// A bad line.
pub(crate) fn bad_link(usual: Link, dice: &mut Dice) -> Link {
    Link {
        cut: Cut::No,
        delay_ms: usual.delay_ms + dice.roll(60),
        jitter_ms: usual.jitter_ms + dice.roll(150),
        losses: dice.roll(200),
        breaks: dice.roll(60),
    }
}
