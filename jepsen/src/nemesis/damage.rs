//! Synced data that changes or vanishes, on one node at a time while the others are well: what a
//! quorum has synced survives, and the node has to notice.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::atlas::{Claim, DATA};
use super::journal::Trouble;
use super::process::{Who, choose};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::disk::flip_bit;
use crate::world::node::Node;
use crate::world::wait;

/// The cluster has to be whole again, the damaged node a member under whatever id, within this.
const GOOD_AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// A node that has to refuse its data does so within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);
/// A node this far behind its leader has not caught up.
const BEHIND_MAX: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One bit somewhere in the middle of what the log holds.
    FlipLog,
    /// The last of the log is overwritten with zeros.
    TornTail,
    /// The log is gone while the identity is still there.
    LoseLog,
}

struct Damage(&'static str, Kind);

struct Damaged {
    kind: Kind,
    node: Arc<Node>,
    /// Its id before.
    id: u64,
    detail: String,
    /// Where the lost log is kept.
    aside: Option<PathBuf>,
    /// Given back once the cluster has made it good.
    data: Option<Claim>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Damage {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Disk
    }

    fn length_ms(&self) -> (u64, u64) {
        (500, 3_000)
    }

    fn is_possible(&self, _: &Abilities, nodes: usize) -> Result<(), String> {
        if nodes < 3 {
            return Err("needs three nodes: the others have to hold what this one loses".into());
        }
        Ok(())
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let data = scene.atlas.claim(&[DATA])?;
        let (mut nodes, claim) = choose(scene, Who::One, dice).await?;
        let node = nodes.remove(0);
        let id = all_are_well(scene, &node).await?;
        node.kill().await?;
        let log = node.data.join("log");
        let mut aside = None;
        let detail = match self.1 {
            Kind::FlipLog => flip(&log, dice)?,
            Kind::TornTail => tear(&log, dice)?,
            Kind::LoseLog => {
                let to = node.data.with_file_name("log-aside");
                std::fs::rename(&log, &to).context("moving the log aside")?;
                aside = Some(to);
                "log removed, identity kept".to_owned()
            }
        };
        Ok(Box::new(Damaged {
            kind: self.1,
            node,
            id,
            detail,
            aside,
            data: Some(data),
            _claim: claim,
        }))
    }
}

/// Every voter runs and has caught up, there are as many as there should be, and `node` is a member
/// that answers; gives its id.
async fn all_are_well(scene: &Scene, node: &Node) -> Result<u64, Refusal> {
    let skip = |why: String| Refusal::Skip(format!("{why}: losing more would lose data"));
    let statuses = scene.world.statuses().await.into_iter();
    let standing: Vec<_> = statuses
        .filter_map(|(one, status)| Some((one.name.clone(), status?)))
        .collect();
    let latest = standing
        .iter()
        .max_by_key(|(_, status)| (status.role == "leader", status.term, status.committed_index));
    let (_, latest) = latest.ok_or_else(|| skip("nobody answers".into()))?;
    if latest.role != "leader" || latest.voters.len() < scene.world.options.nodes.min(3) {
        return Err(skip("there are too few voters, or nobody leads".into()));
    }
    for voter in &latest.voters {
        let its = standing.iter().find(|(_, status)| status.node == *voter);
        let (name, its) = its.ok_or_else(|| skip(format!("node {voter} does not answer")))?;
        if its.applied_index + BEHIND_MAX < latest.committed_index {
            return Err(skip(format!("{name} is behind")));
        }
    }
    let id = standing.iter().find(|(name, _)| *name == node.name);
    let id = id.map(|(_, status)| status.node);
    let is_member = |id: &u64| latest.voters.contains(id) || latest.learners.contains(id);
    id.filter(is_member)
        .ok_or_else(|| skip(format!("{} is no member", node.name)))
}

/// The segment that holds the most, and how much.
fn fullest_segment(log: &Path) -> Result<(PathBuf, u64)> {
    let mut best = (PathBuf::new(), 0);
    for entry in std::fs::read_dir(log).context("listing the log")? {
        let path = entry.context("listing the log")?.path();
        let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        if used > best.1 {
            best = (path, used);
        }
    }
    Ok(best)
}

fn flip(log: &Path, dice: &mut Dice) -> Result<String> {
    let (segment, used) = fullest_segment(log)?;
    // Neither the head nor the tail: both have rules of their own.
    let offset = dice.between(used / 4, used * 3 / 4);
    let bit = u32::try_from(dice.roll(8)).expect("below eight");
    flip_bit(&segment, offset, bit)?;
    let name = segment.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!(
        "bit {bit} of byte {offset} of {used} in log/{name} flipped"
    ))
}

fn tear(log: &Path, dice: &mut Dice) -> Result<String> {
    use std::os::unix::fs::FileExt as _;
    let (segment, used) = fullest_segment(log)?;
    let torn = dice.between(64, 2_048).min(used / 2);
    let file = std::fs::File::options().write(true).open(&segment);
    let file = file.context("opening the segment")?;
    let zeros = vec![0; usize::try_from(torn).context("a small number")?];
    file.write_all_at(&zeros, used + 1 - torn)
        .context("tearing the tail off")?;
    file.sync_all().context("syncing the damage")?;
    Ok(format!(
        "last {torn} of {used} bytes of the log overwritten"
    ))
}

#[async_trait]
impl Fault for Damaged {
    fn targets(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn detail(&self) -> String {
        format!("kill -9, {}", self.detail)
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        if let Err(error) = self.node.start(&scene.world) {
            scene.journal.failure(format!("{error:#}"));
            return None;
        }
        match self.kind {
            Kind::LoseLog => self.was_refused(scene).await,
            Kind::FlipLog | Kind::TornTail => self.has_new_id().await,
        }
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        if let Some(aside) = self.aside.take() {
            let log = self.node.data.join("log");
            if log.exists() {
                // The next log that gets lost needs the place.
                std::fs::remove_dir_all(aside).context("removing the lost log")?;
                return Ok("it made a new log, which is left to it".into());
            }
            std::fs::rename(aside, log).context("giving the log back")?;
        }
        if !self.node.is_running() {
            self.node.start(&scene.world)?;
        }
        let good = wait::until(GOOD_AGAIN_WITHIN, || async {
            all_are_well(scene, &self.node).await.ok()
        });
        match good.await {
            Some(id) if id == self.id => Ok("a good member under its old id".into()),
            Some(id) => Ok(format!(
                "a good member, as node {id} instead of {}",
                self.id
            )),
            None => {
                // Nobody else may lose anything in this run.
                if let Some(data) = self.data.take() {
                    data.keep();
                }
                Ok("not yet good again: nothing more is damaged in this run".into())
            }
        }
    }
}

impl Damaged {
    async fn was_refused(&self, scene: &Scene) -> Option<String> {
        let ended = wait::until(REFUSED_WITHIN, || async { self.node.ended() });
        if let Some(status) = ended.await {
            return Some(format!("refused to start without its log ({status})"));
        }
        scene.journal.trouble(Trouble {
            check: "damage",
            why: format!(
                "{} lost its log and runs under its old id all the same",
                self.node.name
            ),
            from_ns: scene.journal.now_ns(),
            until_ns: scene.journal.now_ns(),
        });
        Some("runs without the log that it had".into())
    }

    /// Damage that was noticed costs the id.
    async fn has_new_id(&self) -> Option<String> {
        let id = wait::until(GOOD_AGAIN_WITHIN / 2, || async {
            Some(self.node.status().await.ok()?.node)
        });
        let id = id.await?;
        (id != self.id).then(|| format!("the node noticed, and is now node {id}"))
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(Damage("disk-flip-log", Kind::FlipLog)),
        Arc::new(Damage("disk-torn-tail", Kind::TornTail)),
        Arc::new(Damage("disk-lose-log", Kind::LoseLog)),
    ]
}
