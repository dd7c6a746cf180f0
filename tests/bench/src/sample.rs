//! One measurement of one case.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use load::figures::per_operation_us;
use load::{Api, Figures, Moment, Pace, Plan, Scenario, Trouble, Until, Work, drive};
use serde::Serialize;

use crate::case::{BESIDE, Case, Speed, Target, USUAL, What};
use crate::meter::{Disk, Usage};
use crate::stage::Stage;
use crate::yardstick::etcd::Etcd;
use crate::yardstick::stack::client::Asking;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) figures: Figures,
    /// Processor time of the servers per operation, all of them together.
    pub(crate) server_cpu_us: f64,
    /// By the whole disk, per operation.
    pub(crate) written_bytes: f64,
    /// Of all servers together, at the end.
    pub(crate) resident_bytes: u64,
}

/// What closed loops reached, by case: open ones go at a part of it, the same in all rounds.
#[derive(Default)]
pub(crate) struct Rates(BTreeMap<String, f64>);

impl Rates {
    /// Keeps the first rate of a case.
    pub(crate) fn learn(&mut self, case: &Case, sample: &Sample) {
        if case.speed == Speed::Closed && case.connections == USUAL {
            let rate = self.0.entry(case.name.clone());
            rate.or_insert(sample.figures.per_second);
        }
    }

    /// Operations a second, if it was measured.
    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn part(&self, name: &str, part: f64) -> Result<Pace> {
        let rate = self.of(name);
        let rate = rate.with_context(|| format!("{name} was not measured in a closed loop"))?;
        Ok(Pace::Open {
            per_second: (rate * part).max(1.0),
        })
    }
}

/// Measures the case once.
pub(crate) fn take(
    stage: &Stage,
    case: &Case,
    seconds: f64,
    seed: u64,
    rates: &Rates,
) -> Result<Sample> {
    let plan = Plan {
        connections: case.connections,
        pace: match case.speed {
            Speed::Closed => Pace::Closed,
            Speed::PartOf(name, part) => rates.part(name, part)?,
        },
        until: Until::Time(Duration::from_secs_f64(seconds)),
        warm_up: Duration::from_secs_f64(seconds / 5.0),
        threads: 1,
        seed,
    };
    let others = match case.beside {
        None => None,
        Some(scenario) => Some(disturb(stage, scenario, &plan, rates)?),
    };
    let sample = match case.what {
        What::Http(scenario) => {
            let api = Api {
                nodes: stage.nodes(case.target),
                world: Arc::clone(&stage.world),
                scenario,
            };
            measure(&stage.pids(case.target), stage.disk, &plan, &api)
        }
        What::Etcd(deed) => {
            let nodes = stage.etcd_addresses();
            let etcd = Etcd { nodes, deed };
            measure(&stage.pids(case.target), stage.disk, &plan, &etcd)
        }
        What::Stack(deed) => {
            let stack = stage
                .stack
                .as_ref()
                .context("MariaDB and Redis were started")?;
            let asking = Asking {
                nodes: stage.nodes(case.target),
                rows: Arc::clone(&stack.rows),
                deed,
            };
            measure(&stage.pids(case.target), stage.disk, &plan, &asking)
        }
    };
    if let Some(others) = others {
        let ended = others.join().ok().context("those beside broke down")?;
        ended.context("measuring beside others")?;
    }
    let mut sample = sample.with_context(|| format!("measuring {}", case.name))?;
    sample.figures.scenario.clone_from(&case.name);
    Ok(sample)
}

type Others = std::thread::JoinHandle<Result<Figures, Trouble>>;

/// Lets others do something else meanwhile.
fn disturb(stage: &Stage, scenario: Scenario, plan: &Plan, rates: &Rates) -> Result<Others> {
    let api = Api {
        nodes: stage.nodes(Target::Cluster),
        world: Arc::clone(&stage.world),
        scenario,
    };
    let plan = Plan {
        connections: BESIDE,
        pace: rates.part(scenario.name(), 0.5)?,
        seed: plan.seed + 1_000,
        ..*plan
    };
    let run = move || drive(&plan, &api, &mut |_| {});
    let thread = std::thread::Builder::new().name("beside".to_owned());
    thread.spawn(run).context("starting a thread")
}

/// Runs the plan and reads what these processes used meanwhile.
pub(crate) fn measure<W: Work>(pids: &[u32], disk: Disk, plan: &Plan, work: &W) -> Result<Sample> {
    let (mut before, mut used) = (Usage::default(), Usage::default());
    let figures = drive(plan, work, &mut |moment| {
        let now = Usage::of(pids, disk);
        match moment {
            Moment::Begin => before = now,
            Moment::End => used = now.since(before),
        }
    })?;
    Ok(Sample {
        server_cpu_us: per_operation_us(used.cpu, figures.done),
        written_bytes: used.written_bytes as f64 / figures.done.max(1) as f64,
        resident_bytes: used.resident_bytes,
        figures,
    })
}
