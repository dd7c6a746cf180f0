//! Evidence of runs that never were: seeded, shaped like real ones, for the tests of the report.
use std::collections::BTreeMap;

use checkers::history::{Action, Event, Kind};
use checkers::verdict::Verdict;

use crate::evidence::{
    Evidence, FaultEvent, FaultStep, Found, Gate, Judged, Judgement, LinkCount, NodeStatus, Phase,
    Run, Sample,
};

pub(super) const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What kinds of fault the schedule has: name, whether writes stop for a while, whether it bites.
const FAULTS: [(&str, bool, &str); 10] = [
    (
        "kill-leader",
        true,
        "process 4711 is gone, its port refuses",
    ),
    ("pause", true, "state T for 3.1 s"),
    ("partition-halves", true, "1,204 packets cut"),
    ("one-way", false, "311 packets cut from the leader only"),
    ("slow-links", false, "8,112 packets delayed by 80 ms"),
    ("power-cut", true, "canary lost 4,096 unsynced bytes"),
    ("clock-bump", false, "Date header is off by 30 s"),
    ("s3-down", false, "14 connections refused"),
    ("full-disk", false, ""),
    ("overload", false, "2,931 operations in 4 s"),
];

/// An invented run.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) seconds: u64,
    pub(super) clients: u64,
    /// Mean pause of a client between operations.
    pub(super) pause_ms: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 17,
            nodes: 3,
            seconds: 120,
            clients: 6,
            pause_ms: 60,
        }
    }
}

impl Plan {
    /// A run in which nothing was found.
    pub(super) fn clean(&self) -> Evidence {
        let mut dice = Dice(self.seed);
        let nodes: Vec<String> = (1..=self.nodes).map(|n| format!("n{n}")).collect();
        let faults = self.faults(&mut dice, &nodes);
        let outages = outages(&faults);
        let workloads = ["chat", "comments", "favorite", "followers"];
        let histories: BTreeMap<String, Vec<Event>> = workloads
            .into_iter()
            .map(|name| {
                (
                    name.to_owned(),
                    self.history(name, &mut dice, &nodes, &outages),
                )
            })
            .collect();
        let judgement = judgement(&histories);
        Evidence {
            run: self.run(&nodes),
            phases: self.phases(),
            samples: self.samples(&nodes, &outages),
            links: links(&mut dice, &nodes),
            logs: logs(&nodes),
            faults,
            histories,
            judgement,
        }
    }

    fn run(&self, nodes: &[String]) -> Run {
        Run {
            seed: self.seed,
            profile: "all".into(),
            command: format!(
                "jepsen chaos --seed {} --seconds {} --profile all",
                self.seed, self.seconds
            ),
            version: "yin 0.1.0 (1ca5f66)".into(),
            plant: None,
            nodes: nodes.to_vec(),
            off: BTreeMap::from([("slow-disk".into(), "blkio cgroup is not writable".into())]),
            seconds: self.seconds,
        }
    }

    fn phases(&self) -> Vec<Phase> {
        let end = self.seconds;
        let bounds = [
            ("setup", 0, 3),
            ("quiet", 3, 8),
            ("main", 8, end - 12),
            ("heal", end - 12, end - 9),
            ("converge", end - 9, end - 4),
            ("final", end - 4, end),
        ];
        let phase = |(name, from, until): (&str, u64, u64)| Phase {
            name: name.into(),
            from_ns: from * SECOND,
            until_ns: until * SECOND,
        };
        bounds.map(phase).to_vec()
    }

    fn faults(&self, dice: &mut Dice, nodes: &[String]) -> Vec<FaultEvent> {
        let mut events = Vec::new();
        let mut at = 10 * SECOND;
        let mut id = 0;
        while at + 10 * SECOND < (self.seconds - 12) * SECOND {
            let (fault, _, bite) = FAULTS[usize::try_from(dice.roll(10)).unwrap()];
            let node = nodes[usize::try_from(dice.roll(nodes.len() as u64)).unwrap()].clone();
            let until = at + (2_000 + dice.roll(6_000)) * MS;
            let mut note = |time_ns, step, detail: &str| {
                events.push(FaultEvent {
                    time_ns,
                    id,
                    fault: fault.into(),
                    step,
                    targets: vec![node.clone()],
                    detail: detail.into(),
                });
            };
            if dice.roll(12) == 0 {
                note(at, FaultStep::Skipped, "another node is down already");
            } else {
                note(
                    at,
                    FaultStep::Installed,
                    &format!("{fault} aimed at {node}"),
                );
                if !bite.is_empty() {
                    note(at + 300 * MS, FaultStep::Bit, bite);
                }
                note(until, FaultStep::Healed, "");
            }
            id += 1;
            at += (4_000 + dice.roll(6_000)) * MS;
        }
        events.sort_by_key(|event| event.time_ns);
        events
    }

    fn samples(&self, nodes: &[String], outages: &[(u64, u64, String)]) -> Vec<Sample> {
        let mut samples = Vec::new();
        let (mut leader, mut term) = (0, 1);
        for tick in 0..self.seconds * 4 {
            let time_ns = tick * SECOND / 4;
            let during = outages
                .iter()
                .find(|(from, until, _)| (*from..*until).contains(&time_ns));
            if during.is_some_and(|(_, _, node)| *node == nodes[leader]) && nodes.len() > 1 {
                leader = (leader + 1) % nodes.len();
                term += 1;
            }
            for (number, node) in nodes.iter().enumerate() {
                let is_silent = during.is_some_and(|(_, _, hit)| hit == node);
                let role = if number == leader {
                    "leader"
                } else {
                    "follower"
                };
                samples.push(Sample {
                    time_ns,
                    node: node.clone(),
                    status: (!is_silent).then(|| NodeStatus {
                        role: role.into(),
                        term,
                        applied_index: tick * 22 + number as u64,
                        snapshot_index: tick / 40 * 880,
                    }),
                });
            }
        }
        samples
    }

    fn history(
        &self,
        workload: &str,
        dice: &mut Dice,
        nodes: &[String],
        outages: &[(u64, u64, String)],
    ) -> Vec<Event> {
        let mut events: Vec<(u64, u64, Kind, Action, String)> = Vec::new();
        for client in 0..self.clients {
            let mut process = client;
            let mut now = 3 * SECOND + dice.roll(SECOND);
            let mut number = 0;
            while now < (self.seconds - 9) * SECOND {
                let node = nodes[usize::try_from(dice.roll(nodes.len() as u64)).unwrap()].clone();
                let (asked, answered) = action(workload, client, number, dice);
                number += 1;
                let (kind, took) = outcome(now, dice, outages);
                events.push((now, process, Kind::Invoke, asked.clone(), node.clone()));
                let end = if kind == Kind::Ok { answered } else { asked };
                events.push((now + took, process, kind, end, node));
                if kind == Kind::Info {
                    process += self.clients;
                }
                now += took + dice.roll(self.pause_ms * 2 + 1) * MS + MS;
            }
        }
        events.sort_by_key(|event| event.0);
        events
            .into_iter()
            .enumerate()
            .map(|(index, (time_ns, process, kind, action, node))| Event {
                index,
                time_ns,
                process,
                kind,
                action,
                error: (kind == Kind::Fail).then(|| "503 no leader".to_owned()),
                node,
            })
            .collect()
    }
}

/// Times in which writes stop, and at which node.
fn outages(faults: &[FaultEvent]) -> Vec<(u64, u64, String)> {
    let installed = faults
        .iter()
        .filter(|event| event.step == FaultStep::Installed);
    installed
        .filter(|event| {
            FAULTS
                .iter()
                .any(|(name, stops, _)| *name == event.fault && *stops)
        })
        .map(|event| {
            let lasts = 1_300 * MS + event.time_ns % (1_400 * MS);
            (
                event.time_ns,
                event.time_ns + lasts,
                event.targets[0].clone(),
            )
        })
        .collect()
}

fn outcome(now: u64, dice: &mut Dice, outages: &[(u64, u64, String)]) -> (Kind, u64) {
    let during = outages
        .iter()
        .find(|(from, until, _)| (*from..*until).contains(&now));
    let usual = 2 * MS
        + dice.roll(6 * MS)
        + if dice.roll(40) == 0 {
            dice.roll(180 * MS)
        } else {
            0
        };
    match during {
        Some((_, until, _)) => match dice.roll(10) {
            0..3 => (Kind::Fail, MS + dice.roll(900 * MS)),
            3..5 => (Kind::Info, 5 * SECOND),
            _ => (Kind::Ok, until - now + usual),
        },
        None if dice.roll(400) == 0 => (Kind::Fail, usual),
        None => (Kind::Ok, usual),
    }
}

fn action(workload: &str, client: u64, number: u64, dice: &mut Dice) -> (Action, Action) {
    let key = format!("{workload} {}", dice.roll(3));
    let unique = format!("{client}-{number}");
    let is_read = dice.roll(3) == 0;
    let count = i64::try_from(number).unwrap();
    match (workload, is_read) {
        ("favorite", true) => {
            let read = |value| Action::Read {
                key: key.clone(),
                value,
            };
            (read(None), read(Some(1)))
        }
        ("favorite", false) => {
            let write = Action::Write {
                key,
                value: count % 2,
            };
            (write.clone(), write)
        }
        ("followers", true) => {
            let read = |count| Action::ReadCount {
                key: key.clone(),
                count,
            };
            (read(None), read(Some(count)))
        }
        (_, true) => {
            let read = |elements| Action::ReadSet {
                key: key.clone(),
                elements,
            };
            let elements = (0..dice.roll(20))
                .map(|n| format!("{client}-{n}"))
                .collect();
            (read(None), read(Some(elements)))
        }
        (_, false) => {
            let add = Action::Add {
                key,
                element: unique,
            };
            (add.clone(), add)
        }
    }
}

fn links(dice: &mut Dice, nodes: &[String]) -> Vec<LinkCount> {
    let mut names = nodes.to_vec();
    names.push("clients".into());
    let mut links = Vec::new();
    for from in &names {
        for to in names.iter().filter(|to| *to != from) {
            let sent = 20_000 + dice.roll(90_000);
            links.push(LinkCount {
                from: from.clone(),
                to: to.clone(),
                sent,
                cut: dice.roll(sent / 9),
                lost: dice.roll(900),
                delayed: dice.roll(9_000),
                duplicated: dice.roll(40),
                reordered: 0,
            });
        }
    }
    links
}

fn logs(nodes: &[String]) -> BTreeMap<String, Vec<String>> {
    let line = |n: usize| format!("2026-11-23T10:00:{n:02}Z INFO raft: vote granted term={n}");
    let log = |node: &String| (node.clone(), (0..30).map(line).collect());
    nodes.iter().map(log).collect()
}

fn judgement(histories: &BTreeMap<String, Vec<Event>>) -> Judgement {
    let judged = |(name, events): (&String, &Vec<Event>)| {
        let count = |kind| events.iter().filter(|event| event.kind == kind).count();
        Judged {
            workload: name.clone(),
            ok: count(Kind::Ok),
            failed: count(Kind::Fail),
            unknown: count(Kind::Info),
            verdict: Verdict::Valid,
        }
    };
    let found = |check: &str| Found {
        check: check.into(),
        verdict: Verdict::Valid,
    };
    let gate = |(name, wanted, seen): (&str, u64, u64)| Gate {
        name: name.into(),
        wanted,
        seen,
    };
    Judgement {
        workloads: histories.iter().map(judged).collect(),
        cluster: ["convergence", "recount", "panics", "liveness"]
            .map(found)
            .to_vec(),
        coverage: [
            ("leader changes", 2, 6),
            ("faults seen to bite", 5, 11),
            ("snapshots installed", 1, 3),
            ("power cuts that lost unsynced bytes", 1, 2),
            ("successful comments", 100, 2_310),
        ]
        .map(gate)
        .to_vec(),
        overall: Verdict::Valid,
    }
}

/// Turns a clean run into one with a lost comment and a stale register.
pub(super) fn spoil(evidence: &mut Evidence) {
    let lost = lose_comment(&evidence.histories["comments"]);
    blame(
        evidence,
        "comments",
        "2-40 was acknowledged and is missing from a later read",
        lost,
    );
    let stale = stale_read(&evidence.histories["favorite"]);
    blame(
        evidence,
        "favorite",
        "register favorite 1: no order explains it beyond 311 of 960 operations",
        stale,
    );
}

fn blame(evidence: &mut Evidence, workload: &str, why: &str, operations: Vec<usize>) {
    let judged = evidence.judgement.workloads.iter_mut();
    let verdict = Verdict::Invalid {
        why: why.into(),
        operations,
    };
    for judged in judged.filter(|judged| judged.workload == workload) {
        judged.verdict = verdict.clone();
    }
    evidence.judgement.overall = verdict;
}

/// An addition, and a read of the same set much later.
fn lose_comment(events: &[Event]) -> Vec<usize> {
    let invoked = |event: &&Event| event.kind == Kind::Invoke;
    let add = events
        .iter()
        .filter(invoked)
        .find(|event| matches!(event.action, Action::Add { .. }));
    let read = events
        .iter()
        .rev()
        .filter(|event| event.kind == Kind::Invoke);
    let read = read
        .clone()
        .find(|event| matches!(event.action, Action::ReadSet { .. }));
    vec![add.unwrap().index, read.unwrap().index]
}

/// A handful of neighbours in the middle.
fn stale_read(events: &[Event]) -> Vec<usize> {
    let from = events.len() / 2;
    let invoked = events[from..]
        .iter()
        .filter(|event| event.kind == Kind::Invoke);
    invoked.take(5).map(|event| event.index).collect()
}
