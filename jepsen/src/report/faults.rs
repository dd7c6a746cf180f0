//! Faults as wholes: when each began and ended, whether it was seen to bite, what it cost.
use std::collections::BTreeMap;

use super::outages::{Gap, Recovery, Writes};
use crate::evidence::{FaultEvent, FaultStep};

/// Trouble that begins so long after a fault's end is not counted as its doing.
const AFTERMATH_NS: u64 = 10_000_000_000;

/// What a fault is done to; decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Process,
    Network,
    Disk,
    Clock,
    Blobs,
    Members,
    Load,
    Other,
}

impl Family {
    pub(super) const ALL: [Self; 8] = [
        Self::Process,
        Self::Network,
        Self::Disk,
        Self::Clock,
        Self::Blobs,
        Self::Members,
        Self::Load,
        Self::Other,
    ];

    /// By the words in a fault's name; the first family that knows one has it.
    pub(super) fn of(fault: &str) -> Self {
        let families: [(Self, &[&str]); 7] = [
            (Self::Blobs, &["s3", "blob", "object"]),
            (Self::Clock, &["clock", "time", "drift", "strobe"]),
            (
                Self::Disk,
                &[
                    "disk", "power", "fsync", "bit-flip", "bitflip", "torn", "wal", "corrupt",
                    "full",
                ],
            ),
            (
                Self::Members,
                &["member", "join", "drain", "decommission", "wipe", "replace"],
            ),
            (Self::Load, &["overload", "stderr", "rate", "burst"]),
            (
                Self::Process,
                &["kill", "pause", "restart", "stop", "crash", "storm", "roll"],
            ),
            (
                Self::Network,
                &[
                    "partition",
                    "link",
                    "loss",
                    "delay",
                    "latency",
                    "dup",
                    "reorder",
                    "bandwidth",
                    "slow",
                    "isolate",
                    "bridge",
                    "ring",
                    "halves",
                    "one-way",
                    "flap",
                    "cut",
                    "mtu",
                    "hole",
                    "net",
                ],
            ),
        ];
        families
            .into_iter()
            .find(|(_, words)| words.iter().any(|word| fault.contains(word)))
            .map_or(Self::Other, |(family, _)| family)
    }

    /// Names the style of its bars and bands.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Process => "f-process",
            Self::Network => "f-network",
            Self::Disk => "f-disk",
            Self::Clock => "f-clock",
            Self::Blobs => "f-blobs",
            Self::Members => "f-members",
            Self::Load => "f-load",
            Self::Other => "f-other",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Blobs => "object store",
            Self::Members => "membership",
            Self::Load => "load",
            Self::Other => "other",
        }
    }
}

/// One fault from its beginning to its end.
#[derive(Clone, Debug)]
pub(super) struct Fault<'a> {
    pub(super) id: usize,
    pub(super) name: &'a str,
    pub(super) family: Family,
    pub(super) targets: &'a [String],
    /// When it was installed, or skipped.
    pub(super) from_ns: u64,
    /// `None`: it was never healed, or never installed.
    pub(super) healed_ns: Option<u64>,
    pub(super) is_installed: bool,
    pub(super) detail: &'a str,
    /// When and by what it was seen to bite.
    pub(super) bites: Vec<(u64, &'a str)>,
    /// What was said when it ended.
    pub(super) end_detail: &'a str,
    /// `None`: it did not end.
    pub(super) recovery: Option<Recovery>,
    /// The longest time without a successful write, of that which it may have caused.
    pub(super) longest_gap_ns: u64,
}

impl Fault<'_> {
    pub(super) fn has_bitten(&self) -> bool {
        !self.bites.is_empty()
    }

    /// The end of its band: a fault that was never healed lasts to the end of the run.
    pub(super) fn until_ns(&self, end_ns: u64) -> u64 {
        match self.healed_ns {
            Some(healed) => healed.max(self.from_ns),
            None if self.is_installed => end_ns.max(self.from_ns),
            None => self.from_ns,
        }
    }
}

/// All faults in order of time.
pub(super) fn of<'a>(events: &'a [FaultEvent], writes: &Writes, gaps: &[Gap]) -> Vec<Fault<'a>> {
    let mut by_id: BTreeMap<usize, Fault<'a>> = BTreeMap::new();
    for event in events {
        let fault = by_id.entry(event.id).or_insert_with(|| Fault {
            id: event.id,
            name: &event.fault,
            family: Family::of(&event.fault),
            targets: &event.targets,
            from_ns: event.time_ns,
            healed_ns: None,
            is_installed: false,
            detail: "",
            bites: Vec::new(),
            end_detail: "",
            recovery: None,
            longest_gap_ns: 0,
        });
        note(fault, event);
    }
    let mut faults: Vec<Fault<'a>> = by_id.into_values().collect();
    faults.sort_by_key(|fault| (fault.from_ns, fault.id));
    for fault in &mut faults {
        measure(fault, writes, gaps);
    }
    faults
}

fn note<'a>(fault: &mut Fault<'a>, event: &'a FaultEvent) {
    if fault.targets.is_empty() {
        fault.targets = &event.targets;
    }
    match event.step {
        FaultStep::Installed => {
            fault.is_installed = true;
            fault.from_ns = event.time_ns;
            fault.detail = &event.detail;
        }
        FaultStep::Bit => fault.bites.push((event.time_ns, &event.detail)),
        FaultStep::Healed => {
            fault.healed_ns = Some(event.time_ns);
            fault.end_detail = &event.detail;
        }
        FaultStep::Skipped => fault.detail = &event.detail,
    }
}

fn measure(fault: &mut Fault<'_>, writes: &Writes, gaps: &[Gap]) {
    if !fault.is_installed {
        return;
    }
    fault.recovery = fault.healed_ns.map(|healed| writes.recovery(healed));
    let after = match fault.recovery {
        Some(Recovery::After(after)) => after,
        _ => AFTERMATH_NS,
    };
    let until = fault
        .healed_ns
        .map_or(u64::MAX, |healed| healed.saturating_add(after));
    let caused = gaps.iter().map(|gap| gap.within_ns(fault.from_ns, until));
    fault.longest_gap_ns = caused.max().unwrap_or(0);
}

/// What all faults of one name came to.
#[derive(Clone, Debug)]
pub(super) struct Class<'a> {
    pub(super) name: &'a str,
    pub(super) family: Family,
    pub(super) installed: usize,
    pub(super) bitten: usize,
    pub(super) skipped: usize,
    /// Of those that healed while clients tried to write.
    pub(super) median: Option<Recovery>,
    pub(super) worst: Option<Recovery>,
    pub(super) longest_gap_ns: u64,
}

/// Faults by name, families together.
pub(super) fn classes<'a>(faults: &[Fault<'a>]) -> Vec<Class<'a>> {
    let mut by_name: BTreeMap<(Family, &'a str), Vec<&Fault<'a>>> = BTreeMap::new();
    for fault in faults {
        let class = by_name.entry((fault.family, fault.name)).or_default();
        class.push(fault);
    }
    by_name
        .into_iter()
        .map(|((family, name), faults)| class(family, name, &faults))
        .collect()
}

fn class<'a>(family: Family, name: &'a str, faults: &[&Fault<'a>]) -> Class<'a> {
    let installed = faults.iter().filter(|fault| fault.is_installed);
    let mut recoveries: Vec<Recovery> = faults
        .iter()
        .filter_map(|fault| fault.recovery)
        .filter(|recovery| *recovery != Recovery::Untried)
        .collect();
    recoveries.sort_unstable();
    let gaps = faults.iter().map(|fault| fault.longest_gap_ns);
    Class {
        name,
        family,
        bitten: installed.clone().filter(|fault| fault.has_bitten()).count(),
        skipped: faults.iter().filter(|fault| !fault.is_installed).count(),
        installed: installed.count(),
        median: recoveries.get(recoveries.len() / 2).copied(),
        worst: recoveries.last().copied(),
        longest_gap_ns: gaps.max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_known_by_its_name() {
        let families = [
            ("kill-majority", Family::Process),
            ("pause-leader", Family::Process),
            ("restart-rolling", Family::Process),
            ("partition-leader-deaf", Family::Network),
            ("links-duplicate", Family::Network),
            ("links-slow", Family::Network),
            ("power-cut-all", Family::Disk),
            ("disk-full", Family::Disk),
            ("slow-disk", Family::Disk),
            ("clock-strobe", Family::Clock),
            ("s3-slow", Family::Blobs),
            ("membership-wipe", Family::Members),
            ("overload", Family::Load),
            ("stderr-blocked", Family::Load),
            ("moon", Family::Other),
        ];
        for (fault, family) in families {
            assert_eq!(Family::of(fault), family, "{fault}");
        }
    }

    #[test]
    fn the_steps_of_a_fault_become_one() {
        let event = |time_ns, step, detail: &str| FaultEvent {
            time_ns,
            id: 4,
            fault: "pause-one".into(),
            step,
            targets: vec!["n1".into()],
            detail: detail.into(),
        };
        let events = [
            event(10, FaultStep::Installed, "stopped"),
            event(20, FaultStep::Bit, "state T"),
            event(30, FaultStep::Healed, "continued"),
        ];
        let faults = of(&events, &Writes::of(&[], 40), &[]);
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}");
        };
        assert_eq!((fault.from_ns, fault.healed_ns), (10, Some(30)));
        assert_eq!(fault.bites, vec![(20, "state T")]);
        // Nobody wrote, so nobody knows how long recovery took.
        assert_eq!(fault.recovery, Some(Recovery::Untried));
        let classes = classes(&faults);
        assert_eq!((classes[0].installed, classes[0].bitten), (1, 1));
        assert_eq!(classes[0].worst, None);
    }
}
