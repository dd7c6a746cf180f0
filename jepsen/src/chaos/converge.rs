//! After all is healed: every node ready, all have applied the same, and each recount agrees.
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use checkers::verdict::Verdict;

use crate::evidence::Found;
use crate::world::node::Node;
use crate::world::{World, admin, wait};

/// From the moment that nothing is broken any more.
const WITHIN: Duration = Duration::from_secs(60);
/// A recount of everything, on a busy machine.
const VERIFY: Duration = Duration::from_secs(60);
/// Differences told in words.
const TOLD: usize = 3;

/// Judges convergence and recounts.
pub(super) async fn judge(world: &World, stalled_ms: u64, stall_max_ms: u64) -> Vec<Found> {
    let begun = Instant::now();
    let convergence = match converged(world).await {
        Ok(()) => Verdict::Valid,
        Err(why) if stalled_ms > stall_max_ms => Verdict::Unknown {
            why: format!("{why}; but this machine stalled for {stalled_ms} ms"),
        },
        Err(why) => Verdict::Invalid {
            why: format!("{why} within {WITHIN:?} after all was healed"),
            operations: vec![],
        },
    };
    println!("converge   {convergence:?} after {:?}", begun.elapsed());
    let mut recounts = Verdict::Valid;
    for node in world.nodes() {
        recounts = recounts.and(recount(&node).await);
    }
    vec![
        Found {
            check: "convergence".into(),
            verdict: convergence,
        },
        Found {
            check: "recount".into(),
            verdict: recounts,
        },
    ]
}

/// Every node ready, at the same index. Says what is missing otherwise.
async fn converged(world: &World) -> Result<(), String> {
    let missing = std::sync::Mutex::new(String::new());
    let tell = |why: String| *missing.lock().expect("no holder panics") = why;
    let all = wait::until(WITHIN, || async {
        for node in world.nodes() {
            if let Err(error) = node.is_ready().await {
                tell(format!("{} is not ready: {error:#}", node.name));
                return None;
            }
        }
        let statuses = world.statuses().await;
        let indexes: Vec<(&Arc<Node>, Option<u64>)> = statuses
            .iter()
            .map(|(node, status)| (node, status.as_ref().map(|status| status.applied_index)))
            .collect();
        let is_same = indexes.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if is_same && indexes.iter().all(|(_, index)| index.is_some()) {
            return Some(());
        }
        let told: Vec<String> = indexes
            .iter()
            .map(|(node, index)| format!("{} {index:?}", node.name))
            .collect();
        tell(format!("applied indexes differ: {}", told.join(", ")));
        None
    });
    match all.await {
        Some(()) => Ok(()),
        None => Err(missing.into_inner().expect("no holder panics")),
    }
}

async fn recount(node: &Node) -> Verdict {
    match differences(node).await {
        Ok((0, _)) => Verdict::Valid,
        Ok((count, told)) => Verdict::Invalid {
            why: format!("{}: {count} differences, e.g. {told}", node.name),
            operations: vec![],
        },
        Err(error) => Verdict::Unknown {
            why: format!("{}: {error:#}", node.name),
        },
    }
}

async fn differences(node: &Node) -> Result<(u64, String)> {
    let report = admin::ask(&node.data, "verify", VERIFY).await?;
    let count = report["difference_count"].as_u64();
    let told = report["differences"].as_array().into_iter().flatten();
    let told: Vec<String> = told.take(TOLD).map(ToString::to_string).collect();
    Ok((count.context("a count of differences")?, told.join("; ")))
}
