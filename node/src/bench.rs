//! `yin bench`: load on any cluster, over its public API alone.
//!
//! It asks the nodes that are named and nothing else of this machine, and works as well against
//! another version. `load` does the work; here are the words around it.
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Table, presets};
use load::{Api, Figures, Node, Pace, Plan, Progress, Scenario, Sizes, Until, World, drive};

use crate::cli::{Bench, Output};
use crate::random;

/// While users register and videos are published.
const LOAD_CONNECTIONS: usize = 8;
const LIKES_PER_USER: u64 = 10;

/// Measures what the flags ask for and prints it.
///
/// # Errors
/// When a flag makes no sense, a node cannot be reached, or nothing at all succeeded.
pub(crate) fn run(flags: &Bench) -> Result<()> {
    let (nodes, scenarios) = (nodes(flags)?, scenarios(flags)?);
    let prefix = prefix();
    eprintln!(
        "This writes: {} users whose names begin with {prefix}, {} videos, and whatever they do. \
         None of it is deleted afterwards.",
        flags.users, flags.videos
    );
    let sizes = Sizes {
        users: flags.users,
        videos: flags.videos,
        likes: LIKES_PER_USER * flags.users as u64,
        follows: LIKES_PER_USER * flags.users as u64,
    };
    let clip = load::CLIP.into();
    let world = World::load(&nodes, LOAD_CONNECTIONS, sizes, &prefix, clip, &Told);
    let world = world.context("making users and videos")?;
    let mut all = Vec::new();
    for scenario in scenarios {
        for &connections in &flags.connections {
            eprintln!("{} at {connections} connections", scenario.name());
            let api = Api {
                nodes: nodes.clone(),
                world: Arc::clone(&world),
                scenario,
            };
            let figures = drive(&plan(flags, connections), &api, &mut |_| {});
            all.push(figures.with_context(|| format!("measuring {}", scenario.name()))?);
        }
    }
    match flags.output {
        Output::Table => println!("{}", table(&all)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&all)?),
    }
    for hint in hints(&all) {
        eprintln!("{hint}");
    }
    ensure!(
        all.iter().any(|figures| figures.done > 0),
        "nothing succeeded: see the errors above"
    );
    Ok(())
}

fn nodes(flags: &Bench) -> Result<Vec<Node>> {
    let nodes = flags.node.iter().map(|url| Node::parse(url));
    nodes
        .collect::<Result<_, String>>()
        .map_err(anyhow::Error::msg)
}

fn scenarios(flags: &Bench) -> Result<Vec<Scenario>> {
    ensure!(
        flags.users >= 2,
        "--users: at least 2, since they follow each other"
    );
    ensure!(
        flags.videos >= 2,
        "--videos: at least 2, one of them is the hot one"
    );
    ensure!(flags.seconds > 0.0, "--seconds: more than 0");
    ensure!(!flags.connections.contains(&0), "--connections: at least 1");
    ensure!(
        flags.rate.is_none_or(|rate| rate > 0.0),
        "--rate: more than 0"
    );
    let names = flags.scenario.iter();
    names
        .map(|name| {
            let Some(scenario) = Scenario::parse(name) else {
                let known: Vec<&str> = Scenario::ALL.map(Scenario::name).to_vec();
                bail!(
                    "--scenario: nothing is called `{name}`; there are {}",
                    known.join(", ")
                );
            };
            Ok(scenario)
        })
        .collect()
}

fn plan(flags: &Bench, connections: usize) -> Plan {
    Plan {
        connections,
        pace: match flags.rate {
            None => Pace::Closed,
            Some(per_second) => Pace::Open { per_second },
        },
        until: Until::Time(Duration::from_secs_f64(flags.seconds)),
        warm_up: Duration::from_secs_f64(flags.seconds / 5.0),
        threads: flags.threads,
        seed: 1,
    }
}

/// Nine letters and digits: a second run finds no names taken.
fn prefix() -> String {
    let bytes = random::bytes::<4>();
    format!("b{:08x}", u32::from_be_bytes(bytes))
}

/// Says what is being made.
struct Told;

impl Progress for Told {
    fn stage(&self, name: &str, total: u64, _: &Arc<AtomicU64>) {
        eprintln!("making {total}: {name}");
    }
}

fn table(all: &[Figures]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "scenario",
        "connections",
        "op/s",
        "p50 ms",
        "p99 ms",
        "p999 ms",
        "max ms",
        "client µs/op",
        "errors",
    ]);
    for figures in all {
        let ms = |us: f64| format!("{:.2}", us / 1e3);
        let errors = figures.errors.iter();
        let errors: Vec<String> = errors.map(|(what, n)| format!("{n} × {what}")).collect();
        table.add_row([
            figures.scenario.clone(),
            figures.connections.to_string(),
            format!("{:.0}", figures.per_second),
            ms(figures.latency.p50_us),
            ms(figures.latency.p99_us),
            ms(figures.latency.p999_us),
            ms(figures.latency.max_us),
            format!("{:.1}", figures.client_cpu_us),
            errors.join("; "),
        ]);
    }
    table.to_string()
}

/// What the reader may want to know of their figures.
fn hints(all: &[Figures]) -> Vec<&'static str> {
    let has = |what: &str| all.iter().any(|figures| figures.errors.contains_key(what));
    let mut hints = Vec::new();
    if has("HTTP 429") {
        hints.push(
            "HTTP 429: the nodes limit writes per address and user ([api.limits]); all of this \
             load comes from one address",
        );
    }
    if all.iter().any(is_behind) {
        hints.push(
            "more came than was served: latency counts the waiting, and grows with --seconds; a \
             lower --rate tells what it is when they keep up",
        );
    }
    if has("HTTP 503") {
        hints.push("HTTP 503: the nodes refused what they could not do in time");
    }
    hints
}

/// An open loop whose arrivals were not kept up with.
fn is_behind(figures: &Figures) -> bool {
    figures
        .rate
        .is_some_and(|rate| figures.per_second < 0.9 * rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn flags(more: &[&str]) -> Bench {
        let words = ["yin", "bench", "--node", "http://127.0.0.1:1"];
        match Cli::parse_from(words.iter().chain(more)).command {
            Command::Bench(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_make_sense() {
        let flags = flags(&[]);
        assert_eq!(nodes(&flags).unwrap().len(), 1);
        assert!(!scenarios(&flags).unwrap().is_empty());
        assert_eq!(plan(&flags, 3).pace, Pace::Closed);
        assert_eq!(prefix().len(), 9);
        assert_ne!(prefix(), prefix());
    }

    #[test]
    fn nonsense_is_named() {
        for (words, expected) in [
            (["--scenario", "nothing"], "like, like-hot"),
            (["--users", "1"], "--users"),
            (["--connections", "0"], "--connections"),
            (["--rate", "0"], "--rate"),
        ] {
            let error = scenarios(&flags(&words)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(nodes(&flags(&["--node", "ftp://a"])).is_err());
    }

    #[test]
    fn nobody_there_is_said_at_once() {
        let error = run(&flags(&["--users", "2"])).unwrap_err();
        assert!(
            format!("{error:#}").contains("making users and videos: connection"),
            "{error:#}"
        );
    }

    #[test]
    fn a_limit_is_explained() {
        let mut figures = Figures::default();
        assert!(hints(std::slice::from_ref(&figures)).is_empty());
        figures.errors.insert("HTTP 429".to_owned(), 3);
        assert_eq!(hints(std::slice::from_ref(&figures)).len(), 1);
        assert!(table(&[figures]).contains("3 × HTTP 429"));
        let open = |per_second| Figures {
            rate: Some(100.0),
            per_second,
            ..Figures::default()
        };
        assert_eq!(hints(&[open(97.0)]).len(), 0);
        assert_eq!(hints(&[open(60.0)]).len(), 1);
    }
}
