//! All servers of a run, and what was put into them.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use load::{Node, Sizes, World};

use crate::Run;
use crate::case::{self, Target};
use crate::cluster::{Cluster, RAISED};
use crate::meter::{Disk, resident_bytes};
use crate::progress::Bars;
use crate::yardstick::etcd::{self, Deed, Etcd};
use crate::yardstick::stack::{PACKAGES, Programs, Stack};
use crate::yardstick::{EtcdSite, Site};

/// Enough for large batches in the log, and no more than a node takes uploads at a time.
const LOAD_CONNECTIONS: usize = 64;
/// Enough names for logins that do not meet.
const LOGIN_NAMES: usize = 64;

pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) world: Arc<World>,
    pub(crate) disk: Disk,
    pub(crate) starts: Starts,
    web: Site,
    append: Site,
    etcd: Option<EtcdSite>,
    hiqlite: Option<Site>,
    /// `None` also where nobody asked for it.
    pub(crate) stack: Option<Stack>,
    /// Which of its programs is not installed.
    pub(crate) stack_lacks: Option<&'static str>,
}

/// What starting took, and what an idle node holds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Starts {
    /// Process start to ready, the first node on an empty directory.
    pub(crate) empty_ms: f64,
    /// The same of all nodes at once, with the data in.
    pub(crate) full_ms: f64,
    /// The largest node right after that.
    pub(crate) idle_bytes: u64,
}

impl Stage {
    /// Starts everything and loads data.
    pub(crate) fn set(run: &Run, dir: &Path, logs: &Path) -> Result<Self> {
        let yin = run.yin.canonicalize();
        let yin = yin.with_context(|| format!("no binary at {}", run.yin.display()))?;
        let sizes = sizes(run);
        eprintln!(
            "data: {} users, {} videos, {} likes, {} follows (SCALE={})",
            sizes.users, sizes.videos, sizes.likes, sizes.follows, run.scale
        );
        eprintln!("{} nodes of {}; raised: {RAISED}", run.nodes, yin.display());
        let mut cluster = Cluster::found(&yin, dir, logs, run.nodes)?;
        let (nodes, bars) = (cluster.nodes(), Bars::default());
        let world = World::load(
            &nodes[..1],
            LOAD_CONNECTIONS,
            sizes,
            &prefix()?,
            load::CLIP.into(),
            &bars,
        );
        bars.end();
        let mut world = world.context("loading data")?;
        eprintln!(
            "all nodes have it after {:.1} s",
            cluster.complete()?.as_secs_f64()
        );
        let full = cluster.go_into_production()?;
        let resident = cluster.pids().into_iter().filter_map(resident_bytes);
        let starts = Starts {
            empty_ms: ms(cluster.first_start),
            full_ms: ms(full),
            idle_bytes: resident.max().unwrap_or_default(),
        };
        let alone = Arc::get_mut(&mut world).context("nobody else has the world yet")?;
        alone
            .enrol(&nodes, LOGIN_NAMES)
            .context("registering users for logins")?;
        let programs = find_stack();
        let wanted = programs.as_ref().ok().filter(|_| case::has_stack(run));
        Ok(Self {
            cluster,
            world,
            disk: Disk::of(dir)?,
            starts,
            web: Site::web(logs)?,
            append: Site::append(dir, logs)?,
            etcd: start_etcd(dir, logs)?,
            hiqlite: start_hiqlite(run, dir, logs)?,
            stack: start_stack(wanted, sizes, dir, logs)?,
            stack_lacks: programs.as_ref().err().copied(),
        })
    }

    pub(crate) fn has_etcd(&self) -> bool {
        self.etcd.is_some()
    }

    /// Of those that speak HTTP/1.1.
    pub(crate) fn nodes(&self, target: Target) -> Vec<Node> {
        match target {
            Target::Cluster => self.cluster.nodes(),
            Target::Web => self.web.nodes.clone(),
            Target::Append => self.append.nodes.clone(),
            Target::Hiqlite => {
                let site = self.hiqlite.as_ref();
                site.map(|site| site.nodes.clone()).unwrap_or_default()
            }
            Target::Stack => {
                let stack = self.stack.as_ref();
                let nodes = stack.map(|stack| stack.site.nodes.clone());
                nodes.unwrap_or_default()
            }
            Target::Etcd => Vec::new(),
        }
    }

    pub(crate) fn etcd_addresses(&self) -> Vec<SocketAddr> {
        let site = self.etcd.as_ref();
        site.map(|site| site.addresses.clone()).unwrap_or_default()
    }

    pub(crate) fn pids(&self, target: Target) -> Vec<u32> {
        match target {
            Target::Cluster => self.cluster.pids(),
            Target::Web => self.web.pids(),
            Target::Append => self.append.pids(),
            Target::Hiqlite => self.hiqlite.as_ref().map(Site::pids).unwrap_or_default(),
            Target::Stack => {
                let stack = self.stack.as_ref();
                stack.map(|stack| stack.site.pids()).unwrap_or_default()
            }
            Target::Etcd => self.etcd.as_ref().map(EtcdSite::pids).unwrap_or_default(),
        }
    }
}

fn start_etcd(dir: &Path, logs: &Path) -> Result<Option<EtcdSite>> {
    let Some(program) = etcd::program() else {
        eprintln!(
            "etcd is not installed: no comparison with it (apt-get install etcd-server, or \
             ETCD=PATH)"
        );
        return Ok(None);
    };
    let (addresses, processes) = etcd::start(&program, dir, logs)?;
    let site = EtcdSite {
        addresses,
        processes,
    };
    Etcd {
        nodes: site.addresses.clone(),
        deed: Deed::Put,
    }
    .fill()?;
    Ok(Some(site))
}

fn start_hiqlite(run: &Run, dir: &Path, logs: &Path) -> Result<Option<Site>> {
    let Some(program) = &run.hiqlite else {
        return Ok(None);
    };
    if !case::has_hiqlite(run) {
        return Ok(None);
    }
    let site = Site::hiqlite(program, dir, logs).context("starting hiqlite")?;
    Ok(Some(site))
}

fn find_stack() -> Result<Programs, &'static str> {
    let programs = Programs::find();
    if let Err(lacking) = programs {
        eprintln!(
            "{lacking} is not installed: no comparison with MariaDB and Redis ({PACKAGES}, or \
             MARIADBD=PATH and REDIS=PATH)"
        );
    }
    programs
}

fn start_stack(
    programs: Option<&Programs>,
    sizes: Sizes,
    dir: &Path,
    logs: &Path,
) -> Result<Option<Stack>> {
    let Some(programs) = programs else {
        return Ok(None);
    };
    let bars = Bars::default();
    let started = Stack::start(programs, sizes, dir, logs, &bars);
    bars.end();
    started.map(Some)
}

/// The full size is 10 k users, 50 k videos, 1 M likes, 500 k follows. There are at least two users
/// for each connection, who chat, and, unless the scale is 0, two pages of videos.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a factor times a count: rounding is fine"
)]
fn sizes(run: &Run) -> Sizes {
    let scaled = |full: f64| (full * run.scale) as usize;
    let chatting = run.connections.iter().max().map_or(2, |most| 2 * most);
    let two_pages = if run.scale > 0.0 { 60 } else { 2 };
    Sizes {
        users: scaled(10_000.0).max(chatting),
        videos: scaled(50_000.0).max(two_pages),
        likes: scaled(1_000_000.0) as u64,
        follows: scaled(500_000.0) as u64,
    }
}

/// So that a second run on the same servers finds no names taken.
fn prefix() -> Result<String> {
    let chance = getrandom::u32().context("the system gives no randomness")?;
    Ok(format!("b{chance:08x}"))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
