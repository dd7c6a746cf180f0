//! Fills the state of a node that stands still, without HTTP and Raft: ten million objects take
//! minutes this way. Started by `bench`, which then starts the node and asks it.
//!
//! Where the log stands is left as it is: to the node all this was there when its log began. Only on
//! a node that is alone in its cluster: others would not have it.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use micro::fill::{Filler, by_plan};
use micro::plan::Plan;
use micro::roster::Roster;
use micro::store::Store;
use model::time::Timestamp;
use serde::Deserialize;
use storage::owner::Owner;
use storage::state::{Options, RocksState};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(name = "fill", about = "Fills the state of a node that stands still")]
struct Flags {
    /// The node's data directory. It was started once, alone, and has no users.
    #[arg(long)]
    data: PathBuf,
    /// Users, videos, likes, follows, comments and messages together.
    #[arg(long)]
    objects: usize,
    /// Where to write who is in it, as JSON.
    #[arg(long)]
    roster: PathBuf,
}

/// What the node wrote down of itself, as far as it matters here.
#[derive(Deserialize)]
struct Identity {
    cluster_id: String,
    node: u64,
    /// Base64.
    incarnation: String,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let plan = Plan::of(flags.objects);
    let owner = owner(&flags.data)?;
    let state = RocksState::open(&flags.data.join("state"), &owner, Options::default())?;
    let store = Store::adopt(state, now()?, plan.objects())?;
    let mut filler = Filler::new(store, plan.objects())?;
    let world = by_plan(&mut filler, &plan)?;
    filler.finish()?;
    let roster = serde_json::to_vec(&Roster::of(&plan, &world))?;
    fs::write(&flags.roster, roster).with_context(|| format!("writing {}", flags.roster.display()))
}

/// # Errors
/// When there is no node's identity in `data`.
fn owner(data: &Path) -> Result<Owner> {
    let path = data.join("identity.json");
    let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let identity: Identity = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no identity", path.display()))?;
    let incarnation = STANDARD.decode(identity.incarnation)?;
    Ok(Owner {
        cluster_id: identity.cluster_id,
        node: identity.node,
        incarnation: incarnation
            .try_into()
            .map_err(|_| anyhow::anyhow!("an incarnation has 16 bytes"))?,
    })
}

fn now() -> Result<Timestamp> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Timestamp(u64::try_from(since.as_millis())?))
}
