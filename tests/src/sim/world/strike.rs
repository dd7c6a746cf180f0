//! Faults as the driver does them, and their ends.
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::id::NodeId;
use raft::replica::Role;

use super::{Go, World};
use crate::sim::clock;
use crate::sim::faults::{self, Deed, Kind};
use crate::sim::network::Link;
use crate::sim::trace::note;

/// Ids of nodes go up to this: a run adds only a few.
const NODES_MAX: u64 = 12;
/// How often it is looked at whether members are gone.
const REPAIR_EVERY_MS: u64 = 700;

impl World {
    pub(super) fn do_deeds(&mut self) -> Go {
        let now = clock::now_ms();
        while let Some(first) = self.deeds.first_entry()
            && first.key().0 <= now
        {
            let deed = first.remove();
            self.do_deed(deed)?;
        }
        Ok(())
    }

    fn do_deed(&mut self, deed: Deed) -> Go {
        note!(self.trace, "deed {deed:?}");
        match deed {
            Deed::Strike => {
                if self.has_faults {
                    self.strike()?;
                    let (low, high) = self.shape.fault_every_ms;
                    let next = self.faults.between(low, high);
                    self.later(next, Deed::Strike);
                }
            }
            Deed::Start(id) => {
                if let Some(host) = self.hosts.get_mut(&id)
                    && !host.is_up()
                {
                    host.start()?;
                }
            }
            Deed::Resume(id) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.resume();
                }
            }
            Deed::Heal => self.net.heal(),
            Deed::Repair => self.repair()?,
            Deed::CorrectClock(id) => {
                if let Some(host) = self.hosts.get(&id) {
                    host.clock.correct();
                }
            }
        }
        Ok(())
    }

    fn strike(&mut self) -> Go {
        let kinds = Kind::of(self.options.profile);
        let Some(kind) = self.faults.pick(kinds).copied() else {
            return Ok(());
        };
        let kind = match kind {
            Kind::Members | Kind::Wipe if self.shape.is_resized => Kind::Members,
            Kind::Members | Kind::Wipe => Kind::Wipe,
            other => other,
        };
        let nodes: Vec<u64> = self.hosts.keys().copied().collect();
        let leader = self.leader();
        let Some(node) = self.target(&nodes, leader) else {
            return Ok(());
        };
        note!(self.trace, "strike {kind:?} at n{node}, leader {leader:?}");
        self.watch.count(|it| it.faults += 1);
        match kind {
            Kind::Kill => self.kill(node, false)?,
            Kind::PowerCut => self.kill(node, true)?,
            Kind::KillAll | Kind::PowerCutAll => {
                for id in nodes {
                    self.kill(id, kind == Kind::PowerCutAll)?;
                }
            }
            Kind::CutAtWrite => {
                let writes = self.faults.roll(30);
                self.hosts[&node].disk.platter.light_fuse(writes);
            }
            Kind::SyncError => self.hosts[&node].disk.platter.fail_next_sync(),
            Kind::Pause => self.pause(node),
            Kind::Partition | Kind::Isolate | Kind::OneWay | Kind::Bridge => {
                self.cut(kind, &nodes, leader);
            }
            Kind::SlowLinks => self.slow_down(&nodes),
            Kind::ClockJump | Kind::Drift => self.misset(kind, node),
            Kind::HandOver => self.order(node, Order::HandOver),
            Kind::Snapshot => self.order(node, Order::Snapshot),
            Kind::Members => self.change_members(node)?,
            Kind::Wipe => self.wipe(node)?,
            Kind::TimePasses => {
                let minutes = i64::try_from(self.faults.between(10, 120)).expect("a few hours");
                clock::skip_ms(minutes * 60_000);
            }
        }
        Ok(())
    }

    /// Somebody; the leader more often than others.
    fn target(&mut self, nodes: &[u64], leader: Option<u64>) -> Option<u64> {
        let is_leader = self.faults.roll(3) == 0;
        let anybody = self.faults.pick(nodes).copied();
        leader.filter(|_| is_leader).or(anybody)
    }

    /// Who leads, as far as anybody knows.
    pub(super) fn leader(&self) -> Option<u64> {
        self.hosts
            .values()
            .filter_map(|host| Some((host.id, host.running()?.replica.status())))
            .filter(|(_, status)| status.role == Role::Leader)
            .max_by_key(|(_, status)| status.term)
            .map(|(id, _)| id)
    }

    fn pause(&mut self, node: u64) {
        let lasts = self.lasts();
        if let Some(host) = self.hosts.get_mut(&node) {
            host.pause();
            self.later(lasts, Deed::Resume(node));
        }
    }

    fn cut(&mut self, kind: Kind, nodes: &[u64], leader: Option<u64>) {
        let cut = faults::manner_of_cut(&mut self.faults);
        for (from, to) in faults::cuts(kind, nodes, leader, &mut self.faults) {
            let link = Link {
                cut,
                ..self.net.link(from, to)
            };
            self.net.set_link(from, to, link);
        }
        let lasts = self.lasts();
        self.later(lasts, Deed::Heal);
    }

    fn slow_down(&mut self, nodes: &[u64]) {
        for from in nodes {
            for to in nodes {
                if from != to && self.faults.roll(2) == 0 {
                    let link = faults::bad_link(self.shape.usual, &mut self.faults);
                    self.net.set_link(*from, *to, link);
                }
            }
        }
        let lasts = self.lasts();
        self.later(lasts, Deed::Heal);
    }

    fn misset(&mut self, kind: Kind, node: u64) {
        let amount = i64::try_from(self.faults.roll(20_000)).expect("a small number") - 10_000;
        let Some(host) = self.hosts.get(&node) else {
            return;
        };
        if kind == Kind::Drift {
            // Up to a tenth too fast or too slow.
            host.clock.drift(amount * 10);
        } else {
            // One in four is out by hours: beyond the time for which requests are remembered.
            let is_wild = self.faults.roll(4) == 0;
            host.clock
                .jump(if is_wild { amount * 1_000 } else { amount });
        }
        let lasts = self.lasts();
        self.later(lasts, Deed::CorrectClock(node));
    }

    /// Tells a node's replica to do something, and does not wait for it.
    fn order(&self, node: u64, order: Order) {
        let doors = self.lobby.doors.clone();
        let trace = self.trace.clone();
        let removed = Arc::clone(&self.removed);
        let leaving = match order {
            Order::Remove(id) if self.hosts.contains_key(&id) => Some(id),
            _ => None,
        };
        self.outside.spawn(async move {
            let told = order.clone();
            let done = doors.on(node, move |replica| async move {
                let within = Duration::from_secs(15);
                let doing = async {
                    match told {
                        Order::HandOver => replica.transfer_leader(None).await,
                        Order::Snapshot => replica.snapshot_now().await,
                        Order::Learner(id) => {
                            let address =
                                transport::memory::address_of(transport::network::PeerId(id));
                            replica.add_learner(NodeId(id), address).await
                        }
                        Order::Voters(voters) => {
                            let voters = voters.into_iter().map(NodeId).collect();
                            replica.set_voters(voters).await
                        }
                        Order::Remove(id) => replica.remove(NodeId(id)).await,
                    }
                };
                tokio::time::timeout(within, doing).await
            });
            let done = done.await;
            note!(trace, "n{node} was told {order:?}: {done:?}");
            if let (Some(Ok(Ok(()))), Some(id)) = (done, leaving) {
                let mut removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
                removed.push(id);
            }
        });
    }

    /// Adds a node, or makes others the voters, or takes one out.
    fn change_members(&mut self, node: u64) -> Go {
        let Some(running) = self.hosts.get(&node).and_then(super::Host::running) else {
            return Ok(());
        };
        let status = running.replica.status();
        let voters: BTreeSet<u64> = status.voters.iter().map(|id| id.0).collect();
        let learners: Vec<u64> = status.learners.iter().map(|id| id.0).collect();
        self.watch.count(|it| it.memberships += 1);
        let next = self.hosts.keys().next_back().map_or(1, |last| last + 1);
        match self.faults.roll(4) {
            0 if next <= NODES_MAX && learners.is_empty() => {
                self.add_host(next)?;
                self.order(node, Order::Learner(next));
            }
            1 if !learners.is_empty() => {
                let promoted = voters.iter().chain(&learners).copied().collect();
                self.order(node, Order::Voters(promoted));
            }
            2 if voters.len() > 2 => {
                let gone = self.pick_of(&voters);
                let rest = voters.iter().copied().filter(|id| Some(*id) != gone);
                self.order(node, Order::Voters(rest.collect()));
            }
            3 if voters.len() + learners.len() > 2 => {
                let gone = learners.first().copied().or_else(|| self.pick_of(&voters));
                if let Some(gone) = gone {
                    self.order(node, Order::Remove(gone));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A node's disk is lost: its id never comes back, a new node takes its place. Only one at a
    /// time, or more than Raft can bear would be gone.
    fn wipe(&mut self, node: u64) -> Go {
        let next = self.hosts.keys().next_back().map_or(1, |last| last + 1);
        let leader = self.leader().and_then(|id| self.hosts.get(&id)?.running());
        let voters = leader.map_or(Vec::new(), |leader| leader.replica.status().voters);
        let voters: BTreeSet<u64> = voters.iter().map(|voter| voter.0).collect();
        let is_there = |voter: &u64| self.hosts.contains_key(voter);
        // A change that is under way may need the very disk that is lost.
        let is_bearable =
            voters.len() >= 3 && voters.iter().all(is_there) && self.watch.is_settled(&voters);
        if next > NODES_MAX || !is_bearable {
            return Ok(());
        }
        self.kill(node, true)?;
        self.hosts.remove(&node);
        // Its ledger stays: an answer that it gave before is still on its way, and was true.
        note!(self.trace, "n{node} is wiped");
        self.gone.insert(node);
        self.add_host(next)?;
        self.later(REPAIR_EVERY_MS, Deed::Repair);
        Ok(())
    }

    /// What an operator or the membership plan does about members that are gone.
    fn repair(&mut self) -> Go {
        self.later(REPAIR_EVERY_MS, Deed::Repair);
        let Some(leader) = self.leader() else {
            return Ok(());
        };
        let Some(running) = self.hosts.get(&leader).and_then(super::Host::running) else {
            return Ok(());
        };
        let status = running.replica.status();
        let voters: BTreeSet<u64> = status.voters.iter().map(|id| id.0).collect();
        let learners: BTreeSet<u64> = status.learners.iter().map(|id| id.0).collect();
        let known: BTreeSet<u64> = voters.union(&learners).copied().collect();
        let new = self.hosts.keys().copied().find(|id| !known.contains(id));
        if let Some(gone) = known.intersection(&self.gone).next() {
            self.order(leader, Order::Remove(*gone));
        } else if let Some(learner) = learners.first().filter(|_| voters.len() < 3) {
            let more = voters.iter().copied().chain([*learner]);
            self.order(leader, Order::Voters(more.collect()));
        } else if let Some(new) = new.filter(|_| voters.len() < 3) {
            self.order(leader, Order::Learner(new));
        }
        Ok(())
    }

    fn pick_of(&mut self, nodes: &BTreeSet<u64>) -> Option<u64> {
        let nodes: Vec<u64> = nodes.iter().copied().collect();
        self.faults.pick(&nodes).copied()
    }
}

/// What a replica is told.
#[derive(Clone, Debug)]
enum Order {
    HandOver,
    Snapshot,
    Learner(u64),
    Voters(BTreeSet<u64>),
    Remove(u64),
}
