//! The end of a run: everything is mended, and then the cluster must come together, serve, and have
//! kept its promises.
use std::sync::Arc;

use checkers::history::{self, Action, Event, Kind};
use checkers::verdict::Verdict as Judged;
use checkers::{counter, graph, ordered_log, register, set_full, unique};
use raft::replica::Role;
use storage::state::StateStore;

use super::{Go, Stop, Verdict, World};
use crate::sim::clients::Client;
use crate::sim::clients::stage::Stage;
use crate::sim::clock;
use crate::sim::dice::Dice;
use crate::sim::faults::Deed;
use crate::sim::invariants::Coverage;
use crate::sim::shape::Profile;
use crate::sim::trace::note;

/// After the last fault the cluster must be one again within this.
const CONVERGE_WITHIN_MS: u64 = 40_000;
/// All the last reads.
const READ_WITHIN_MS: u64 = 60_000;

impl World {
    /// Ends all faults.
    pub(super) fn mend(&mut self) -> Go {
        note!(self.trace, "everything is mended");
        self.has_faults = false;
        self.deeds.clear();
        self.later(1, Deed::Repair);
        self.net.heal();
        for host in self.hosts.values_mut() {
            host.clock.correct();
            host.disk.platter.calm_down();
            host.resume();
            if !host.is_up() {
                host.start()?;
            }
        }
        Ok(())
    }

    /// Waits until all members have applied the same, with clients still at work.
    pub(super) fn converge(&mut self) -> Go {
        let until = clock::now_ms() + CONVERGE_WITHIN_MS;
        while clock::now_ms() < until {
            for _ in 0..50 {
                self.tick()?;
            }
            if self.is_one() {
                note!(self.trace, "the cluster is one");
                return Ok(());
            }
        }
        let stands: Vec<String> = self.hosts.values().map(stand).collect();
        let why = format!(
            "not one after {CONVERGE_WITHIN_MS} ms: {}",
            stands.join("; ")
        );
        self.watch.judge("liveness", Err(why));
        Err(Stop::Violated)
    }

    /// One leader, known to all members, and all of them have recovered and are near.
    fn is_one(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let Some(leading) = self.hosts[&leader].running() else {
            return false;
        };
        let leading = leading.replica.status();
        let members = leading.voters.iter().chain(&leading.learners);
        let mut members = members.map(|member| self.hosts.get(&member.0));
        members.all(|host| {
            let Some(status) = host.and_then(|host| Some(host.running()?.replica.status())) else {
                return false;
            };
            status.leader.map(|id| id.0) == Some(leader)
                && status.is_recovered
                && status.role != Role::Outside
                && status.applied_index + 200 >= leading.committed_index
        })
    }

    /// Who is a member now.
    pub(super) fn members(&self) -> Vec<u64> {
        let leader = self.leader().and_then(|id| self.hosts.get(&id)?.running());
        let Some(status) = leader.map(|leader| leader.replica.status()) else {
            return Vec::new();
        };
        let members = status.voters.iter().chain(&status.learners);
        members.map(|member| member.0).collect()
    }

    /// Every member takes a write now.
    pub(super) fn last_writes(&mut self, stage: &Arc<Stage>) -> Go {
        for node in self.members() {
            let dice = Dice::new(self.options.seed, &format!("last write {node}"));
            let client = Client::new(self.lobby.clone(), Arc::clone(stage), 0, dice);
            let mut client = client.guest();
            let writing = self
                .outside
                .spawn(async move { client.write_at_last(node).await });
            let judged = self.wait_for(writing, READ_WITHIN_MS, "the last writes")?;
            // An order from before may have taken it out meanwhile.
            if self.members().contains(&node) {
                self.watch.judge("liveness", judged);
            }
        }
        Ok(())
    }

    pub(super) fn last_reads(&mut self, stage: &Arc<Stage>) -> Go {
        for (turn, node) in self.members().into_iter().enumerate() {
            let number = turn % self.shape.clients;
            let dice = Dice::new(self.options.seed, &format!("last {node}"));
            let client = Client::new(self.lobby.clone(), Arc::clone(stage), number, dice);
            let mut client = client.guest();
            let reading = self
                .outside
                .spawn(async move { client.read_everything(node).await });
            self.wait_for(reading, READ_WITHIN_MS, "the last reads")?;
        }
        Ok(())
    }

    /// Judges what only shows at the end.
    pub(super) fn judge_all(&mut self) -> Go {
        self.level_out()?;
        for id in self.members() {
            self.recount(id);
            self.judge_blobs(id);
        }
        self.judge_history();
        match self.watch.violation() {
            Some(_) => Err(Stop::Violated),
            None => Ok(()),
        }
    }

    /// With nobody writing any more, all members reach the same index.
    fn level_out(&mut self) -> Go {
        let until = clock::now_ms() + CONVERGE_WITHIN_MS;
        loop {
            let members = self.members();
            let mut applied = members.iter().map(|id| {
                let running = self.hosts.get(id).and_then(super::Host::running);
                running.map(|running| running.replica.status().applied_index)
            });
            let first = applied.next().flatten();
            if first.is_some() && applied.all(|index| index == first) {
                return Ok(());
            }
            if clock::now_ms() > until {
                let stands: Vec<String> = self.hosts.values().map(stand).collect();
                let why = format!("members do not level out: {}", stands.join("; "));
                self.watch.judge("liveness", Err(why));
                return Err(Stop::Violated);
            }
            self.tick()?;
        }
    }

    /// No video without its bytes.
    fn judge_blobs(&self, id: u64) {
        let Ok(reading) = self.hosts[&id].disk.state.read() else {
            return;
        };
        let keys = self.blobs.keys();
        let judged = crate::sim::invariants::blobs(id, &reading.view, &keys);
        self.watch.judge("no video without its bytes", judged);
    }

    fn judge_history(&self) {
        let mut events = self.lobby.record.events();
        if self.options.is_canary || plants::is(plants::CANARY) {
            damage(&mut events);
        }
        let calls = match history::calls(&events) {
            Ok(calls) => calls,
            Err(why) => {
                return self
                    .watch
                    .judge("the harness keeps its own rules", Err(why));
            }
        };
        let verdicts = [
            ("registers are linearizable", register::check(&calls, 0)),
            ("nothing acknowledged is lost", set_full::check(&calls)),
            ("one order per conversation", ordered_log::check(&calls)),
            ("counts are possible", counter::check(&calls)),
            ("a name has one winner", unique::check(&calls)),
            ("both ends of an edge agree", graph::check(&calls)),
        ];
        for (invariant, verdict) in verdicts {
            if let Judged::Invalid { why, operations } = verdict {
                let seen: Vec<String> = operations
                    .iter()
                    .filter_map(|index| events.get(*index))
                    .map(|event| format!("{event:?}"))
                    .collect();
                let why = format!("{why}\n    {}", seen.join("\n    "));
                self.watch.judge(invariant, Err(why));
            }
        }
    }

    /// Whether enough happened for a pass to mean something.
    pub(super) fn enough(&self) -> Verdict {
        let Coverage {
            elections,
            faults,
            ok_operations,
            ..
        } = self.watch.coverage();
        if ok_operations < 20 {
            return Verdict::Unknown(format!("only {ok_operations} operations succeeded"));
        }
        if self.options.profile != Profile::Calm && (faults == 0 || elections < 2) {
            return Verdict::Unknown(format!("{faults} faults, {elections} elections"));
        }
        Verdict::Pass
    }
}

/// Empties the last set that was read.
fn damage(events: &mut [Event]) {
    let is_full = |event: &&mut Event| {
        let is_read =
            matches!(&event.action, Action::ReadSet { elements: Some(it), .. } if !it.is_empty());
        event.kind == Kind::Ok && is_read
    };
    if let Some(event) = events.iter_mut().rev().find(is_full)
        && let Action::ReadSet { elements, .. } = &mut event.action
    {
        *elements = Some(Vec::new());
    }
}

fn stand(host: &super::Host) -> String {
    match host.running() {
        None => format!("n{} up {} not booted", host.id, host.is_up()),
        Some(running) => {
            let it = running.replica.status();
            format!(
                "n{} {:?} of {:?} term {} applied {} committed {} last {} recovered {} stopped {:?} voters {:?}",
                host.id,
                it.role,
                it.leader,
                it.term,
                it.applied_index,
                it.committed_index,
                it.last_log_index,
                it.is_recovered,
                it.stopped,
                it.voters,
            )
        }
    }
}
