//! Proves that the harness finds bugs: every planted one is looked for by the finder that it is
//! assigned to, several times with different seeds, within a budget.
//!
//! Needs binaries that were built with `--features plants/planted`; `make plants` sees to it. Ends
//! with 0 when all were found and the same seeds pass without the bug, 1 when not, 3 when a finder
//! could not be run.
mod finder;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use finder::{Finders, Try};
use table::{ASSIGNED, Assigned, Finder};

/// Looks for planted bugs.
#[derive(Parser)]
struct Flags {
    /// Only this one, by name or number.
    #[arg(long)]
    only: Option<String>,
    /// Only what these finders find: model, disk, sim, chaos.
    #[arg(long, value_delimiter = ',')]
    finders: Vec<String>,
    /// How often each is looked for.
    #[arg(long, default_value_t = 10)]
    tries: u64,
    /// Only so many of them: another part each day.
    #[arg(long)]
    rotate: Option<usize>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Where the binaries with planted bugs are. Default: beside this one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Writes the table here as well, as Markdown.
    #[arg(long)]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("the finders cannot be run: {why}");
            ExitCode::from(3)
        }
    }
}

/// Were all found?
fn run(flags: &Flags) -> Result<bool, String> {
    let finders = Finders::beside(flags.bin.clone())?;
    let mut chosen: Vec<&Assigned> = ASSIGNED.iter().filter(|it| is_chosen(flags, it)).collect();
    if chosen.is_empty() {
        return Err("no planted bug is called that".to_owned());
    }
    if let Some(count) = flags.rotate {
        rotate(&mut chosen, count);
    }
    let rows = look_for_all(flags, &finders, &chosen)?;
    let lines: Vec<_> = rows.iter().map(|row| row.line.as_str()).collect();
    let table = format!(
        "| # | planted bug | finder | found | median | by |\n|---|---|---|---|---|---|\n{}\n",
        lines.join("\n")
    );
    let well = rows.iter().filter(|row| row.is_well).count();
    println!("\n{table}\n{well} of {} are found", rows.len());
    if let Some(path) = &flags.table {
        std::fs::write(path, table).map_err(|error| error.to_string())?;
    }
    Ok(well == rows.len())
}

/// One row each, by number. Real clusters live by the clock and leave most of the processors to
/// others, so each of their rows runs beside the rest.
fn look_for_all(
    flags: &Flags,
    finders: &Finders,
    chosen: &[&Assigned],
) -> Result<Vec<Row>, String> {
    let row_of = |assigned: &Assigned| {
        let row = look_for(flags, finders, assigned)?;
        println!("{}", row.line);
        Ok::<_, String>(row)
    };
    let (real, others): (Vec<&Assigned>, Vec<&Assigned>) = chosen
        .iter()
        .partition(|it| matches!(it.finder, Finder::Chaos(_)));
    let mut rows = std::thread::scope(|scope| {
        let beside: Vec<_> = real
            .iter()
            .map(|assigned| scope.spawn(|| row_of(assigned)))
            .collect();
        let mut rows = others
            .iter()
            .map(|it| row_of(it))
            .collect::<Result<Vec<_>, _>>()?;
        for row in beside {
            rows.push(row.join().map_err(|_| "a row's thread panicked")??);
        }
        Ok::<_, String>(rows)
    })?;
    rows.sort_by_key(|row| row.number);
    Ok(rows)
}

fn is_chosen(flags: &Flags, assigned: &Assigned) -> bool {
    let plant = assigned.plant;
    let is_named = |name: &String| plant.name == name || plant.number.to_string() == *name;
    let is_finders = flags.finders.is_empty()
        || flags
            .finders
            .iter()
            .any(|finder| finder == assigned.finder.name());
    is_finders && flags.only.as_ref().is_none_or(is_named)
}

/// Leaves `count` of them, others every day; the canary always stays.
fn rotate(chosen: &mut Vec<&Assigned>, count: usize) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let day = now.map_or(0, |now| now.as_secs() / 86_400);
    let (canary, mut others): (Vec<&Assigned>, Vec<&Assigned>) =
        chosen.drain(..).partition(|it| it.plant == plants::CANARY);
    let length = others.len().max(1);
    let start = usize::try_from(day).unwrap_or(0).wrapping_mul(count) % length;
    others.rotate_left(start % length);
    others.truncate(count);
    chosen.extend(others.into_iter().chain(canary));
}

struct Row {
    number: u8,
    line: String,
    is_well: bool,
}

/// Looks for one bug as often as asked, then runs the seeds that showed it without it.
fn look_for(flags: &Flags, finders: &Finders, assigned: &Assigned) -> Result<Row, String> {
    let mut tries = Vec::new();
    for number in 0..flags.tries {
        let from = flags.from + 10_000 * number;
        tries.push(finders.look(assigned, from)?);
    }
    let found: Vec<_> = tries.iter().filter_map(|it| it.as_ref()).collect();
    let mut false_alarms = 0;
    for it in found.iter().take(assigned.finder.alarms_looked_for()) {
        false_alarms += u64::from(finders.is_alarm_without(assigned, it)?);
    }
    let wanted = (flags.tries * 9).div_ceil(10);
    let is_well = flags.tries > 0 && found.len() as u64 >= wanted && false_alarms == 0;
    let plant = assigned.plant;
    let mut line = format!(
        "| {} | {} | {} | {}/{} | {} | {} |",
        plant.number,
        plant.name,
        assigned.finder.name(),
        found.len(),
        flags.tries,
        median(&found).unwrap_or_else(|| "–".to_owned()),
        laws(&found),
    );
    if false_alarms > 0 {
        line += &format!(" {false_alarms} of these seeds fail without the bug as well!");
    }
    Ok(Row {
        number: plant.number,
        line,
        is_well,
    })
}

/// How much it took, in the middle of the tries that found it.
fn median(found: &[&Try]) -> Option<String> {
    let mut seeds: Vec<_> = found.iter().map(|it| it.seeds).collect();
    let mut seconds: Vec<_> = found.iter().map(|it| it.seconds).collect();
    seeds.sort_unstable();
    seconds.sort_by(f64::total_cmp);
    let (seeds, seconds) = (seeds.get(seeds.len() / 2)?, seconds.get(seconds.len() / 2)?);
    let plural = if *seeds == 1 { "" } else { "s" };
    Some(format!("{seeds} seed{plural}, {seconds:.1} s"))
}

/// Which laws showed it, most often first.
fn laws(found: &[&Try]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for it in found {
        *counts.entry(it.law.as_str()).or_insert(0_u32) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words = counts.iter().map(|(law, count)| format!("{law} ({count})"));
    words.collect::<Vec<_>>().join(", ")
}
