//! Faults: what can be done to a cluster, how it is seen to bite, and how it heals.
//!
//! A [`Nemesis`] is a kind of fault; installing it gives a [`Fault`], one that is in effect. The
//! [`atlas`] keeps two of them from meeting where that would prove nothing, and sees to it that
//! what a quorum has synced always survives somewhere.
pub(crate) mod atlas;
mod bucket;
mod clock;
mod damage;
mod disk;
pub(crate) mod journal;
mod links;
mod membership;
mod partition;
mod power;
mod pressure;
mod process;
pub(crate) mod runner;

use std::sync::Arc;

use async_trait::async_trait;

use crate::dice::Dice;
use crate::workload::Load;
use crate::world::World;
use crate::world::abilities::Abilities;
use atlas::Atlas;
use journal::Journal;

/// Kinds of faults that are chosen and counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Kill,
    Pause,
    Restart,
    Partition,
    Links,
    Power,
    Disk,
    Clock,
    S3,
    Membership,
    Overload,
    Stderr,
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Partition => "partition",
            Self::Links => "links",
            Self::Power => "power",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::S3 => "s3",
            Self::Membership => "membership",
            Self::Overload => "overload",
            Self::Stderr => "stderr",
        }
    }
}

/// Where faults are done.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) atlas: Atlas,
    /// None in a self-test.
    pub(crate) load: Option<Arc<Load>>,
    pub(crate) journal: Journal,
}

/// Why a fault was not installed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It makes no sense right now; the words say why.
    Skip(String),
    /// The harness could not do what it should.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// A kind of fault.
#[async_trait]
pub(crate) trait Nemesis: Send + Sync {
    fn name(&self) -> &'static str;

    fn class(&self) -> Class;

    /// Shortest and longest time in effect, in milliseconds.
    fn length_ms(&self) -> (u64, u64) {
        (1_000, 8_000)
    }

    /// Why it is off on this machine or with so many nodes, if so.
    ///
    /// # Errors
    /// Says why.
    fn is_possible(&self, abilities: &Abilities, nodes: usize) -> Result<(), String>;

    /// Does it. What it chooses follows from the dice and from how the cluster stands.
    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal>;
}

/// A fault in effect.
#[async_trait]
pub(crate) trait Fault: Send {
    /// Nodes (`n1`) or links (`n1>n2`).
    fn targets(&self) -> Vec<String>;

    /// In words, for a person.
    fn detail(&self) -> String;

    /// By what it was seen to bite; `None`: it was not.
    async fn bite(&mut self, scene: &Scene) -> Option<String>;

    /// Ends it; says how.
    async fn heal(&mut self, scene: &Scene) -> anyhow::Result<String>;
}

/// Every kind there is.
pub(crate) fn all() -> Vec<Arc<dyn Nemesis>> {
    let mut all: Vec<Arc<dyn Nemesis>> = Vec::new();
    all.extend(process::all());
    all.extend(partition::all());
    all.extend(links::all());
    all.extend(power::all());
    all.extend(disk::all());
    all.extend(damage::all());
    all.extend(clock::all());
    all.extend(bucket::all());
    all.extend(membership::all());
    all.extend(pressure::all());
    all
}

/// The kind of that name.
pub(crate) fn named(name: &str) -> Option<Arc<dyn Nemesis>> {
    all().into_iter().find(|nemesis| nemesis.name() == name)
}

/// The classes of a profile; `None`: there is no such profile.
fn classes(profile: &str) -> Option<Vec<Class>> {
    use Class::{
        Clock, Disk, Kill, Links, Membership, Overload, Partition, Pause, Power, Restart, S3,
        Stderr,
    };
    Some(match profile {
        "none" => vec![],
        "all" => vec![
            Kill, Pause, Restart, Partition, Links, Power, Disk, Clock, S3, Membership, Overload,
            Stderr,
        ],
        "kill" => vec![Kill, Pause, Restart],
        "partition" => vec![Partition],
        "links" => vec![Links],
        "power" => vec![Power],
        "disk" => vec![Disk],
        "clock" => vec![Clock],
        "s3" => vec![S3],
        "membership" => vec![Membership],
        "overload" => vec![Overload, Stderr],
        _ => return None,
    })
}

/// Profiles that there are.
pub(crate) const PROFILES: [&str; 11] = [
    "all",
    "none",
    "kill",
    "partition",
    "links",
    "power",
    "disk",
    "clock",
    "s3",
    "membership",
    "overload",
];

/// The kinds of faults of a profile, whether possible here or not.
pub(crate) fn of_profile(profile: &str) -> Option<Vec<Arc<dyn Nemesis>>> {
    let classes = classes(profile)?;
    let all = all().into_iter();
    Some(all.filter(|one| classes.contains(&one.class())).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn each_profile_has_its_kinds_and_names_are_unique() {
        for profile in super::PROFILES {
            let kinds = super::of_profile(profile).unwrap();
            assert_eq!(kinds.is_empty(), profile == "none", "{profile}");
        }
        assert!(super::of_profile("nonsense").is_none());
        let all = super::all();
        let names: BTreeSet<_> = all.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), all.len());
        for one in &all {
            let (low, high) = one.length_ms();
            assert!(low <= high, "{}", one.name());
        }
    }
}
