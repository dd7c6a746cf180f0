//! What a request costs in model and state when much is stored: `make bench-depth`.
//!
//! Builds states of several sizes command by command, without HTTP and Raft, and measures processor
//! time per operation on each, in turn. Read [`micro::plan`] for what is in a state, [`cases`] for
//! what is asked of it, [`big`] for single objects that are large, [`meter`] for how it is measured.
mod big;
mod cases;
mod meter;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use micro::fill::{self, Building, Filler};
use micro::plan::Plan;
use micro::rest::{process_time, settle};
use micro::store::Store;
use storage::state::Options;

use crate::cases::{Asked, Case, first_answer};
use crate::report::{Report, State};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Fewer users run out of new likes, and fewer videos are no page of the feed.
const OBJECTS_MIN: usize = 10_000;
/// Beside a state: it is complete.
const BUILT: &str = "built";

#[derive(Parser)]
#[command(name = "depth", about = "Measures how cost grows with what is stored")]
struct Flags {
    /// Sizes of the states: users, videos, likes, follows, comments, messages together.
    #[arg(long, value_delimiter = ',', default_value = "10000,10000000")]
    objects: Vec<usize>,
    /// Instead: one user with this many followers, a video with as many likes, a conversation of as
    /// many messages.
    #[arg(long, value_name = "SIZE", num_args = 0..=1, default_missing_value = "1000000")]
    big: Option<usize>,
    /// Where the states and the results go.
    #[arg(long, default_value = "data/depth")]
    dir: PathBuf,
    /// Leaves the states there; the next run uses them instead of building its own.
    #[arg(long)]
    keep: bool,
    /// How often everything is measured, in turn, after one time that is not counted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these cases.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How much of the usual number of operations a round has; of a quick try, less.
    #[arg(long, default_value_t = 100)]
    percent: usize,
    /// The state's cache of blocks; the default is the node's.
    #[arg(long, default_value_t = Options::default().block_cache_bytes >> 20)]
    block_cache_mib: usize,
    /// The state's cache of values; the default is the node's.
    #[arg(long, default_value_t = Options::default().value_cache_bytes >> 20)]
    value_cache_mib: usize,
    /// One of the state's two write buffers; the default is the node's.
    #[arg(long, default_value_t = Options::default().write_buffer_bytes >> 20)]
    write_buffer_mib: usize,
}

impl Flags {
    fn options(&self) -> Options {
        Options {
            block_cache_bytes: self.block_cache_mib << 20,
            value_cache_bytes: self.value_cache_mib << 20,
            write_buffer_bytes: self.write_buffer_mib << 20,
            ..Options::default()
        }
    }

    fn is_wanted(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }

    /// Of one state.
    fn place(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let known = |only: &&String| {
        let by_size = Case::ALL.iter().any(|case| case.name() == only.as_str());
        by_size
            || big::Case::ALL
                .iter()
                .any(|case| case.name() == only.as_str())
    };
    let unknown = flags.only.iter().find(|only| !known(only));
    ensure!(unknown.is_none(), "there is no case {unknown:?}");
    let is_enough = flags.objects.iter().all(|objects| *objects >= OBJECTS_MIN);
    ensure!(is_enough, "a state has at least {OBJECTS_MIN} objects");
    fs::create_dir_all(&flags.dir)?;
    let mut report = Report {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        ..Report::default()
    };
    let name = match flags.big {
        Some(size) => {
            by_side(&flags, size, &mut report)?;
            "big.json"
        }
        None => {
            by_size(&flags, &mut report)?;
            "depth.json"
        }
    };
    report.show(&flags.dir.join(name))
}

/// The same requests on states of different sizes.
fn by_size(flags: &Flags, report: &mut Report) -> Result<()> {
    let mut states = Vec::new();
    for &objects in &flags.objects {
        let plan = Plan::of(objects);
        let name = objects.to_string();
        let building = build(flags, &name, plan.objects(), |filler| {
            fill::by_plan(filler, &plan).map(drop)
        })?;
        let check = |store: &Store| first_answer(store, &plan);
        let (store, state) = open(flags, &name, plan.objects(), building, check)?;
        report.states.push(state);
        states.push((name, Asked::new(plan, store)?));
    }
    for round in 0..=flags.rounds {
        for case in Case::ALL {
            if !flags.is_wanted(case.name()) {
                continue;
            }
            for (name, asked) in &mut states {
                let sample = asked.measure(case, flags.percent)?;
                if round > 0 {
                    report.add(case.name(), name, sample);
                }
            }
        }
        eprintln!("measured: round {round} of {}", flags.rounds);
    }
    if let [(smallest, _), .., (largest, _)] = states.as_slice() {
        for case in Case::ALL {
            report.compare(case.name(), largest, smallest, Some(case.goal()));
        }
    }
    let names: Vec<_> = states.into_iter().map(|(name, _)| name).collect();
    names.iter().try_for_each(|name| remove(flags, name))
}

/// The same requests on big and on small objects of one state.
fn by_side(flags: &Flags, size: usize, report: &mut Report) -> Result<()> {
    let name = format!("big-{size}");
    let commands = big::commands(size);
    let building = build(flags, &name, commands, |filler| big::fill(filler, size))?;
    let (store, state) = open(flags, &name, commands, building, |store| {
        big::first_answer(store, size)
    })?;
    report.states.push(state);
    let mut asked = big::Asked::new(store)?;
    // Reads first: what is taken back after a write leaves marks at the front of the lists, which a
    // read steps over until they are compacted away.
    for is_write in [false, true] {
        let cases = big::Case::ALL.into_iter();
        let cases =
            cases.filter(|case| case.is_write() == is_write && flags.is_wanted(case.name()));
        let cases: Vec<_> = cases.collect();
        for round in 0..=flags.rounds {
            for (case, side) in cases
                .iter()
                .flat_map(|case| big::Side::ALL.map(|side| (*case, side)))
            {
                let sample = asked.measure(case, side)?;
                if round > 0 {
                    report.add(case.name(), side.name(), sample);
                }
            }
        }
        eprintln!("measured: {}", if is_write { "writes" } else { "reads" });
    }
    let [large, small] = big::Side::ALL.map(big::Side::name);
    for case in big::Case::ALL {
        report.compare(case.name(), large, small, None);
    }
    drop(asked);
    remove(flags, &name)
}

/// Builds a state unless it was kept.
fn build(
    flags: &Flags,
    name: &str,
    commands: usize,
    fill: impl FnOnce(&mut Filler) -> Result<()>,
) -> Result<Option<Building>> {
    let dir = flags.place(name);
    if dir.join(BUILT).exists() {
        return Ok(None);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    eprintln!("building {}", dir.display());
    let store = Store::create(&dir.join("state"), flags.options())?;
    let mut filler = Filler::new(store, commands)?;
    fill(&mut filler)?;
    let building = filler.finish()?;
    fs::write(dir.join(BUILT), b"")?;
    Ok(Some(building))
}

/// Opens a state as a node that starts again, and times it up to the first right answer.
fn open(
    flags: &Flags,
    name: &str,
    objects: usize,
    building: Option<Building>,
    check: impl FnOnce(&Store) -> Result<()>,
) -> Result<(Store, State)> {
    let dir = flags.place(name).join("state");
    let (began, before) = (Instant::now(), process_time());
    let store = Store::open(&dir, flags.options())?;
    check(&store)?;
    let (took, used) = (began.elapsed(), process_time() - before);
    settle();
    let state = State {
        name: name.to_owned(),
        objects,
        building,
        file_bytes: meter::bytes_in(&dir)?,
        open_ms: took.as_secs_f64() * 1e3,
        open_process_ms: used.as_secs_f64() * 1e3,
    };
    Ok((store, state))
}

fn remove(flags: &Flags, name: &str) -> Result<()> {
    let dir: &Path = &flags.place(name);
    if !flags.keep {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}
