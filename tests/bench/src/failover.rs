//! The leader is killed the hard way: how long until somebody else acknowledges a write?
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use load::World;

use crate::cluster::Cluster;
use crate::http::ask;

/// At each node that is left: one that waits for the dead leader must not hide another's success.
const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts of a client that was refused.
const PAUSE: Duration = Duration::from_millis(5);

/// Seconds from the kill to the first write that was acknowledged elsewhere, once each time. What
/// goes wrong ends it and is told: the rest of the run is worth keeping.
pub(crate) fn measure(cluster: &mut Cluster, world: &Arc<World>, times: usize) -> Vec<f64> {
    let mut seconds = Vec::new();
    for time in 1..=times {
        match once(cluster, world) {
            Ok(first) => {
                let first = first.as_secs_f64();
                eprintln!("failover {time} of {times}: {:.0} ms", first * 1e3);
                seconds.push(first);
            }
            Err(error) => {
                eprintln!("failover {time} of {times}: {error:#}");
                break;
            }
        }
    }
    seconds
}

fn once(cluster: &mut Cluster, world: &Arc<World>) -> Result<Duration> {
    let (leader, others) = cluster.kill_leader()?;
    let first = first_write(&others, world, Instant::now())?;
    cluster.bring_back(leader)?;
    cluster.forget_logs()?;
    Ok(first)
}

fn first_write(others: &[SocketAddr], world: &Arc<World>, killed: Instant) -> Result<Duration> {
    let first = Arc::new(OnceLock::new());
    let mut threads = Vec::new();
    for &node in others {
        for _ in 0..CLIENTS {
            let (first, world) = (Arc::clone(&first), Arc::clone(world));
            let insist = move || {
                while first.get().is_none() && killed.elapsed() < PATIENCE {
                    let answer = ask(node, "POST", &world.next_write());
                    if answer.is_ok_and(|answer| answer.contains("\"status_code\":0,")) {
                        first.get_or_init(|| killed.elapsed());
                    } else {
                        std::thread::sleep(PAUSE);
                    }
                }
            };
            let thread = std::thread::Builder::new().name("failover".to_owned());
            threads.push(thread.spawn(insist).context("starting a thread")?);
        }
    }
    for thread in threads {
        ensure!(thread.join().is_ok(), "a client of the failover broke down");
    }
    let first = first.get();
    first
        .copied()
        .with_context(|| format!("no write was acknowledged within {PATIENCE:?}"))
}
