//! Keeps openraft running: opens it on the stores, follows how it stands, and opens it anew when it
//! dies of something that a fresh start may cure.
//!
//! A replica that keeps dying stays stopped and says why: restarting it for ever would hide a
//! broken disk.
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::id::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;
use transport::network::PeerId;

use crate::config::config;
use crate::core::{Core, Leadership, Running};
use crate::fit;
use crate::life::{self, Ended};
use crate::log_store::Log;
use crate::machine::Machine;
use crate::network::Peers;
use crate::replica::Error;
use crate::snapshot;
use crate::status;
use crate::types::Raft;

/// This many deaths within [`DEATHS_WITHIN`] and the replica stays stopped.
const DEATHS_MAX: usize = 3;
const DEATHS_WITHIN: Duration = Duration::from_secs(60);
/// How long a dead replica may take to let go of its stores.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);
/// Between a death and the next life.
const PAUSE: Duration = Duration::from_millis(100);
/// How often figures that change with every entry are told to those who watch.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// Opens openraft on the stores.
///
/// # Errors
/// Why it does not open.
pub(crate) async fn open(core: &Arc<Core>) -> Result<(Raft, Ended), String> {
    let limits = &core.options.limits;
    let (alive, ended) = life::life();
    let bench = Arc::clone(&core.bench);
    let in_words = |error: std::io::Error| error.to_string();
    fit::confirm(&*core.log).await.map_err(in_words)?;
    snapshot::finish_interrupted(&bench.durability)
        .await
        .map_err(in_words)?;
    fit::fit(&bench.durability, &*core.log)
        .await
        .map_err(in_words)?;
    let machine = Machine::open(bench, alive.clone()).map_err(|fault| fault.to_string())?;
    let log = Log::new(
        Arc::clone(&core.log),
        Some(Arc::clone(&core.bench.durability)),
        limits.append_bytes_max,
        alive,
    );
    let peers = Peers::new(
        Arc::clone(&core.network),
        Duration::from_millis(core.options.timing.election_max_ms),
        limits.transfer_stall,
    );
    let config = Arc::new(config(&core.options)?);
    let raft = Raft::new(core.me(), config, peers, log, machine)
        .await
        .map_err(|fatal| fatal.to_string())?;
    if core.is_disk_low() {
        raft.runtime_config().elect(false);
    }
    Ok((raft, ended))
}

/// Runs until the replica is told to stop, or has died too often.
pub(crate) async fn supervise(core: Arc<Core>, mut raft: Raft, mut ended: Ended) {
    let mut deaths = Deaths::default();
    loop {
        let end = follow(&core, &raft).await;
        core.set_running(Running::Restarting);
        let (why, has_let_go) = close(raft, ended).await;
        status::tell(&core);
        match end {
            End::Told => return stop(&core, "it was told to stop".to_owned()),
            End::Died if !has_let_go => {
                return stop(
                    &core,
                    format!("{why}; and it does not let go of its stores"),
                );
            }
            End::Died => {}
        }
        tracing::error!(why, "the replica died; it is started anew from its stores");
        metrics::counter!("yin_raft_deaths_total").increment(1);
        let Some(life) = reopen(&core, &mut deaths, why).await else {
            return;
        };
        (raft, ended) = life;
        core.set_running(Running::Raft(raft.clone()));
    }
}

/// Notes when this node has applied all that was committed before it started.
pub(crate) async fn recover(core: Arc<Core>, mut raft: Raft) {
    let mut stopping = core.stopping.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
            recovered = raft.wait_for_recovery(None) => if recovered.is_ok() {
                core.is_recovered.send_replace(true);
                status::tell(&core);
                return;
            },
        }
        // It died on the way; its next life goes on from there.
        let next = async {
            let mut every = tokio::time::interval(PAUSE);
            loop {
                every.tick().await;
                match core.raft() {
                    Ok(raft) => return Some(raft),
                    Err(Error::Stopped { .. }) => return None,
                    Err(_) => {}
                }
            }
        };
        match next.await {
            Some(next) => raft = next,
            None => return,
        }
    }
}

/// How following a life ended.
enum End {
    Told,
    Died,
}

/// Tells how openraft stands, until it dies or the replica is told to stop.
async fn follow(core: &Core, raft: &Raft) -> End {
    let mut server = raft.server_metrics();
    let mut data = raft.data_metrics();
    let mut stopping = core.stopping.subscribe();
    let mut addresses = BTreeMap::new();
    let mut every = tokio::time::interval(TELL_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let leadership = {
            let metrics = server.borrow_and_update();
            Leadership {
                term: metrics.vote.leader_id.term,
                leader: metrics.current_leader,
            }
        };
        core.leadership
            .send_if_modified(|known| std::mem::replace(known, leadership) != leadership);
        status::tell(core);
        call_by_address(core, &mut addresses);
        loop {
            tokio::select! {
                _ = stopping.wait_for(|is_stopping| *is_stopping) => return End::Told,
                changed = server.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return End::Died,
                },
                _ = every.tick() => match data.changed().now_or_never() {
                    None => {}
                    Some(Ok(())) => break,
                    Some(Err(_)) => return End::Died,
                },
            }
        }
    }
}

/// Tells the network where the members are, when the membership says something new: in between,
/// others (gossip) may know better.
fn call_by_address(core: &Core, known: &mut BTreeMap<NodeId, SocketAddr>) {
    let addresses = core.status.borrow().addresses.clone();
    if addresses == *known {
        return;
    }
    let is_first = known.is_empty();
    for (node, address) in &addresses {
        let peer = PeerId(node.0);
        let is_new = known.get(node) != Some(address);
        let is_unknown = core.network.address(peer).is_none();
        if node.0 != core.me() && is_new && (is_unknown || !is_first) {
            core.network.set_address(peer, *address);
        }
    }
    *known = addresses;
}

/// Shuts openraft down; tells why it ended, and whether it let go of the stores.
async fn close(raft: Raft, ended: Ended) -> (String, bool) {
    let running = raft.metrics().borrow_watched().running_state.clone();
    let why = match running {
        Err(fatal) => fatal.to_string(),
        Ok(()) => "it ended without a word, so it panicked".to_owned(),
    };
    if let Err(error) = raft.shutdown().await {
        tracing::warn!(%error, "openraft did not shut down cleanly");
    }
    drop(raft);
    let has_let_go = tokio::time::timeout(LET_GO_WITHIN, ended.let_go()).await;
    (why, has_let_go.is_ok())
}

async fn reopen(core: &Arc<Core>, deaths: &mut Deaths, mut why: String) -> Option<(Raft, Ended)> {
    let mut stopping = core.stopping.subscribe();
    loop {
        if deaths.note(Instant::now()) {
            let seconds = DEATHS_WITHIN.as_secs();
            stop(
                core,
                format!("it died {DEATHS_MAX} times in {seconds} s, last of: {why}"),
            );
            return None;
        }
        let told = stopping.wait_for(|is_stopping| *is_stopping);
        if tokio::time::timeout(PAUSE, told).await.is_ok() {
            stop(core, "it was told to stop".to_owned());
            return None;
        }
        match open(core).await {
            Ok(life) => return Some(life),
            Err(error) => {
                tracing::error!(error, "the replica does not open");
                why = error;
            }
        }
    }
}

fn stop(core: &Core, why: String) {
    tracing::info!(why, "the replica stopped");
    core.set_running(Running::Stopped(why));
    core.leadership.send_replace(Leadership::default());
    status::tell(core);
}

#[derive(Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// True when this is one too many.
    fn note(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|at| now - *at > DEATHS_WITHIN) {
            self.0.pop_front();
        }
        self.0.len() >= DEATHS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_deaths_in_a_minute_are_too_many() {
        let mut deaths = Deaths::default();
        let start = Instant::now();
        assert!(!deaths.note(start));
        assert!(!deaths.note(start + Duration::from_secs(30)));
        assert!(!deaths.note(start + Duration::from_secs(61)));
        assert!(deaths.note(start + Duration::from_secs(62)));
    }
}
