//! `kill -9` under load: nothing acknowledged is lost or doubled, writes resume, the killed node
//! comes back and catches up.
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, PATIENCE};
use tests::wait;

use crate::load::Load;

/// Writes resume within this time after the leader's death.
const RESUME_MAX: Duration = Duration::from_secs(3);

fn rounds() -> usize {
    if std::env::var_os("YIN_LONG").is_some() {
        60
    } else {
        6
    }
}

#[tokio::test]
async fn kill_the_leader_then_each_in_turn_under_load() {
    let mut cluster = Cluster::start(3).await;
    let mut gaps = Vec::new();
    for round in 0..rounds() {
        let mut load = Load::begin(&cluster, &format!("r{round}")).await;
        acknowledged(&load, 20).await;
        // Every other round the leader, otherwise each node in turn.
        let victim = if round % 2 == 0 {
            cluster.leader().await
        } else {
            (round / 2) % 3
        };
        cluster.kill(victim);
        let killed = Instant::now();
        let gap = first_after(&load, killed).await;
        gaps.push(gap);
        assert!(
            gap < RESUME_MAX,
            "round {round}: writes resumed only after {} ms",
            gap.as_millis()
        );
        cluster.run(victim);
        cluster.nodes[victim].ready().await;
        acknowledged(&load, 40).await;
        load.end().await;
        for client in cluster.clients() {
            load.check(&client).await;
        }
        cluster.verify().await;
    }
    let millis: Vec<u128> = gaps.iter().map(Duration::as_millis).collect();
    println!("first acknowledged write after each kill, ms: {millis:?}");
}

/// Waits until so many writes were acknowledged.
async fn acknowledged(load: &Load, count: usize) {
    wait::until(
        &format!("{count} acknowledged writes"),
        PATIENCE,
        || async {
            let ledger = load.ledger.lock().expect("unpoisoned");
            (ledger.acknowledged_at.len() >= count).then_some(())
        },
    )
    .await;
}

/// How long after `killed` the first write was acknowledged that began to matter then: one that was
/// in flight may come back at once, so a quiet moment is looked for first.
async fn first_after(load: &Load, killed: Instant) -> Duration {
    let count_now = load
        .ledger
        .lock()
        .expect("unpoisoned")
        .acknowledged_at
        .len();
    acknowledged(load, count_now + 5).await;
    let ledger = load.ledger.lock().expect("unpoisoned");
    let since: Vec<Duration> = ledger
        .acknowledged_at
        .iter()
        .filter_map(|at| at.checked_duration_since(killed))
        .collect();
    // The longest time without an acknowledgement since the kill.
    let mut last = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for at in since {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}
