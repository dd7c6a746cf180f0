//! Disks that are full, slow, or say that they could not sync.
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::process::Child;

use super::atlas::Claim;
use super::process::{Who, choose};
use super::{Class, Fault, Nemesis, Refusal, Scene};
use crate::dice::Dice;
use crate::world::abilities::Abilities;
use crate::world::node::Node;
use crate::world::{text, wait};

/// The disk has less room than the node wants to keep free.
struct Full;

struct Filled {
    node: Arc<Node>,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Full {
    fn name(&self) -> &'static str {
        "disk-full"
    }

    fn class(&self) -> Class {
        Class::Disk
    }

    fn length_ms(&self) -> (u64, u64) {
        (3_000, 10_000)
    }

    fn is_possible(&self, abilities: &Abilities, _: usize) -> Result<(), String> {
        abilities.mounts.clone()
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (node, claim) = one(scene, dice).await?;
        let filling = node.clone();
        let filled = tokio::task::spawn_blocking(move || {
            let disk = filling.disk.as_ref().context("a disk of its own")?;
            disk.fill()
        });
        filled.await.context("filling the disk")??;
        Ok(Box::new(Filled {
            node,
            _claim: claim,
        }))
    }
}

/// One node, or the leader.
async fn one(scene: &Scene, dice: &mut Dice) -> Result<(Arc<Node>, Claim), Refusal> {
    let who = *dice.pick(&[Who::One, Who::Leader]);
    let (mut nodes, claim) = choose(scene, who, dice).await?;
    Ok((nodes.remove(0), claim))
}

#[async_trait]
impl Fault for Filled {
    fn targets(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn detail(&self) -> String {
        "disk filled".into()
    }

    async fn bite(&mut self, _: &Scene) -> Option<String> {
        let noticed = wait::until(Duration::from_secs(3), || async {
            self.node.status().await.ok()?.is_disk_low.then_some(())
        });
        noticed.await?;
        Some("the node says that its disk is low".into())
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        let disk = self.node.disk.as_ref().context("a disk of its own")?;
        disk.free()?;
        if let Some(status) = self.node.ended() {
            self.node.start(&scene.world)?;
            return Ok(format!(
                "room again; it had ended by itself ({status}), and was started again"
            ));
        }
        Ok("room again".into())
    }
}

/// System calls of a node that are slowed down or fail.
#[derive(Clone, Copy)]
enum Kind {
    /// Every sync takes so much longer.
    Slow,
    /// Syncs fail.
    Error,
}

struct Sync(&'static str, Kind);

struct Traced {
    kind: Kind,
    node: Arc<Node>,
    inject: String,
    tracer: Child,
    printed: PathBuf,
    _claim: Claim,
}

#[async_trait]
impl Nemesis for Sync {
    fn name(&self) -> &'static str {
        self.0
    }

    fn class(&self) -> Class {
        Class::Disk
    }

    fn length_ms(&self) -> (u64, u64) {
        (3_000, 8_000)
    }

    fn is_possible(&self, abilities: &Abilities, _: usize) -> Result<(), String> {
        abilities.tracing.clone()
    }

    async fn install(&self, scene: &Scene, dice: &mut Dice) -> Result<Box<dyn Fault>, Refusal> {
        let (node, claim) = one(scene, dice).await?;
        let inject = match self.1 {
            Kind::Slow => format!("delay_enter={}", dice.between(20, 400) * 1_000),
            Kind::Error => format!("error=EIO:when={}+", dice.between(1, 20)),
        };
        let printed = scene.world.options.out.join("logs");
        let printed = printed.join(format!("{}.strace", node.name));
        let pid = node.pid().context("it runs")?.as_raw_nonzero();
        let tracer = tokio::process::Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fsync,fdatasync"])
            .args(["-e", &format!("inject=fsync,fdatasync:{inject}")])
            .args(["-o", text(&printed), "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting strace")?;
        Ok(Box::new(Traced {
            kind: self.1,
            node,
            inject,
            tracer,
            printed,
            _claim: claim,
        }))
    }
}

#[async_trait]
impl Fault for Traced {
    fn targets(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn detail(&self) -> String {
        format!("fsync and fdatasync: {}", self.inject)
    }

    async fn bite(&mut self, scene: &Scene) -> Option<String> {
        let injected = || {
            let printed = std::fs::read_to_string(&self.printed).unwrap_or_default();
            let lines = printed.lines();
            lines
                .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"))
                .count()
        };
        let count = match injected() {
            // Nobody writes here just now: give it something to sync.
            0 => {
                scene.world.knock().await;
                injected()
            }
            count => count,
        };
        (count > 0).then(|| format!("{count} syncs hit"))
    }

    async fn heal(&mut self, scene: &Scene) -> Result<String> {
        // It detaches; what it traced goes on.
        let tracer = self.tracer.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = tracer.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .context("ending strace")?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), self.tracer.wait()).await;
        ended
            .context("strace does not end")?
            .context("awaiting strace")?;
        match self.kind {
            Kind::Slow => Ok("as quick as before".into()),
            Kind::Error => self.start_again(scene).await,
        }
    }
}

impl Traced {
    /// A node whose sync failed must not go on as if nothing were: it ends, or its replica stops.
    async fn start_again(&self, scene: &Scene) -> Result<String> {
        let how = match self.node.ended() {
            Some(status) => format!("it had ended by itself ({status})"),
            None => {
                self.node.kill().await?;
                "it was killed".to_owned()
            }
        };
        self.node.start(&scene.world)?;
        Ok(format!("{how}, and was started again"))
    }
}

pub(super) fn all() -> Vec<Arc<dyn Nemesis>> {
    vec![
        Arc::new(Full),
        Arc::new(Sync("disk-slow-sync", Kind::Slow)),
        Arc::new(Sync("disk-failed-sync", Kind::Error)),
    ]
}
