//! Everything is measured in turn, and that several times: what disturbs the machine disturbs all
//! cases alike.
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use load::Scenario;

use crate::Run;
use crate::case::{self, Case};
use crate::depth::{self, Depth};
use crate::failover;
use crate::install::Installs;
use crate::process::log_folder;
use crate::report::{self, Line, Results};
use crate::sample::{self, Rates, Sample};
use crate::scaling::Scaling;
use crate::stage::Stage;
use crate::upload;
use crate::wires;
use crate::yardstick::disk::{self, Sync};

/// Starts, loads, measures and reports.
pub(crate) fn run(run: &Run) -> Result<()> {
    let load_before = report::machine_load();
    let unknown = case::unknown(&run.only);
    ensure!(
        unknown.is_empty(),
        "nothing is called {}",
        unknown.join(", ")
    );
    ensure!(
        run.rounds > 0 && run.seconds > 0.0,
        "nothing to measure in no time"
    );
    depth::sizes(&run.depth)?;
    let dir = run.dir.join("run");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let logs = log_folder(&dir)?;
    let mut measured = Stage::set(run, &dir, &logs)
        .and_then(|stage| measure(run, stage, &dir, &logs, load_before));
    // The first cluster has ended: nobody shares the processors with those that follow.
    if let Ok(results) = &mut measured {
        measure_others(run, results, &dir, &logs)?;
    }
    // What went wrong is in the logs, so that they are kept then.
    let results = measured.with_context(|| format!("logs are in {}", logs.display()))?;
    for folder in [&dir, &logs] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
    }
    report::write(&results, &run.dir)
}

fn measure(
    run: &Run,
    mut stage: Stage,
    dir: &Path,
    logs: &Path,
    load_before: String,
) -> Result<Results> {
    let began = Instant::now();
    let cases = case::cases(run, stage.has_etcd(), stage.stack.is_some());
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    let (mut syncs, mut rates): (Vec<Sync>, _) = (Vec::new(), Rates::default());
    for round in 1..=run.rounds {
        syncs.push(disk::measure(dir)?);
        for (case, samples) in cases.iter().zip(&mut samples) {
            let sample = sample::take(&stage, case, run.seconds, round as u64, &rates)?;
            rates.learn(case, &sample);
            say(run, round, case, &sample);
            samples.push(sample);
            stage.cluster.forget_logs()?;
        }
    }
    let mut lines: Vec<Line> = cases.iter().zip(samples).map(Line::of).collect();
    if case::has_lasting(run) {
        lines.push(lasting(run, &stage, &rates)?);
    }
    let upload_bytes = case::has_upload(run)
        .then(|| upload::measure(&stage))
        .flatten();
    let failovers = if case::has_failover(run) {
        failover::measure(&mut stage.cluster, &stage.world, run.rounds)
    } else {
        Vec::new()
    };
    // Last, since those who joined are missed by the cluster when they have gone.
    let installs =
        case::has_install(run).then(|| Installs::measure(run, &mut stage, &mut rates, dir, logs));
    eprintln!("measured in {:.0} s", began.elapsed().as_secs_f64());
    Ok(Results {
        settings: report::Settings::of(run, &stage),
        machine: report::Machine::now(load_before),
        starts: stage.starts,
        syncs,
        upload_bytes,
        failovers,
        installs,
        scaling: None,
        depth: None,
        cases: lines,
    })
}

/// Likes for minutes, so that what the engine does later is in their bytes.
fn lasting(run: &Run, stage: &Stage, rates: &Rates) -> Result<Line> {
    let case = Case {
        name: case::LASTING.to_owned(),
        ..Case::closed(Scenario::Like)
    };
    let sample = sample::take(stage, &case, run.lasting, 1, rates)?;
    say(run, 1, &case, &sample);
    stage.cluster.forget_logs()?;
    Ok(Line::of((&case, vec![sample])))
}

/// Starts other clusters. What goes wrong there is told and noted: the rest of the run is worth
/// keeping.
fn measure_others(run: &Run, results: &mut Results, dir: &Path, logs: &Path) -> Result<()> {
    if case::has_tcp(run) {
        match wires::measure(run, dir, logs) {
            Ok(lines) => results.cases.extend(lines),
            Err(error) => {
                eprintln!("QUIC and TCP: {error:#}");
                let why = format!("{error:#}");
                results.settings.tcp_lacks = Some(why.lines().take(1).collect());
            }
        }
    }
    let yin = run.yin.canonicalize()?;
    if case::has_scaling(run) {
        results.scaling = Some(Scaling::measure(run, &yin, dir, logs));
    }
    if case::has_depth(run) {
        results.depth = Some(Depth::measure(run, &yin, dir, logs));
    }
    Ok(())
}

fn say(run: &Run, round: usize, case: &Case, sample: &Sample) {
    eprintln!(
        "round {round} of {}: {} at {} connections: {:.0}/s, {:.0} µs of the servers, {} errors",
        run.rounds,
        case.name,
        case.connections,
        sample.figures.per_second,
        sample.server_cpu_us,
        sample.figures.error_count()
    );
}
