//! The state machine alone, thousands of histories a minute: no network, no disk, no clock, one
//! seed per history.
//!
//! A history is a log of random commands with repeats ([`steps`]). It is applied by replicas that
//! batch, crash, replay and install snapshots differently ([`replicas`]); all must give the same
//! replies and end in the same bytes, an independent oracle must expect each reply ([`oracle`]),
//! and whoever asks must see what the oracle knows ([`questions`]).
pub(crate) mod dice;
mod oracle;
mod questions;
mod replicas;
mod steps;

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dice::Dice;
use model::command::Reply;
use model::verify;
use oracle::Oracle;
use replicas::Replicas;
use steps::Steps;

/// Every so many steps the counters are recounted and questions are asked.
const LOOK_EVERY: u64 = 16;

/// What broke, and where in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    /// Steps of the history, to be repeated with.
    pub steps: u64,
    /// The step that showed it.
    pub at: u64,
    /// One word for the law that broke.
    pub law: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            steps,
            at,
            law,
            what,
        } = self;
        writeln!(f, "violation of {law} at step {at} of seed {seed}: {what}")?;
        write!(f, "again: model --from {seed} --seeds 1 --steps {steps}")
    }
}

/// What happened in some histories: a run in which one of these never happened proves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub commands: u64,
    pub done: u64,
    pub rejected: u64,
    pub repeats: u64,
    pub expired: u64,
    pub swept: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub replayed: u64,
    pub snapshots: u64,
    pub questions: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.commands += other.commands;
        self.done += other.done;
        self.rejected += other.rejected;
        self.repeats += other.repeats;
        self.expired += other.expired;
        self.swept += other.swept;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.replayed += other.replayed;
        self.snapshots += other.snapshots;
        self.questions += other.questions;
    }
}

impl Figures {
    /// The names of what never happened.
    #[must_use]
    pub fn gaps(&self) -> Vec<&'static str> {
        let all = [
            ("done", self.done),
            ("rejected", self.rejected),
            ("repeats", self.repeats),
            ("expired", self.expired),
            ("swept", self.swept),
            ("kills", self.kills),
            ("power cuts", self.power_cuts),
            ("replayed", self.replayed),
            ("snapshots", self.snapshots),
            ("questions", self.questions),
        ];
        let never = all.into_iter().filter(|(_, count)| *count == 0);
        never.map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands: {} done, {} rejected, {} repeats, {} expired, {} swept; \
             {} kills, {} power cuts, {} commands replayed, {} snapshots installed; {} questions",
            self.commands,
            self.done,
            self.rejected,
            self.repeats,
            self.expired,
            self.swept,
            self.kills,
            self.power_cuts,
            self.replayed,
            self.snapshots,
            self.questions
        )
    }
}

/// What a law says when it breaks: its name, and what was seen.
type Broken = (&'static str, String);

/// Plays one history.
///
/// # Errors
/// The first [`Violation`].
pub fn run_seed(seed: u64, steps: u64) -> Result<Figures, Violation> {
    let mut history = History::new(seed);
    for at in 0..steps {
        history
            .step()
            .and_then(|()| history.look(at, steps))
            .map_err(|(law, what)| Violation {
                seed,
                steps,
                at,
                law,
                what,
            })?;
    }
    Ok(history.figures)
}

/// Plays histories from `from` on, on all processors, until one breaks.
///
/// # Errors
/// The [`Violation`] with the lowest seed among those that were found.
pub fn run_seeds(from: u64, seeds: u64, steps: u64) -> Result<Figures, Violation> {
    let next = AtomicU64::new(0);
    let results = Mutex::new((Figures::default(), None::<Violation>));
    let lock = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let play = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds || lock().1.is_some() {
                return;
            }
            let played = run_seed(from.wrapping_add(number), steps);
            let mut results = lock();
            match played {
                Ok(figures) => results.0 += figures,
                Err(found) if results.1.as_ref().is_some_and(|it| it.seed < found.seed) => {}
                Err(found) => results.1 = Some(found),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play);
        }
    });
    let (figures, violation) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    violation.map_or(Ok(figures), Err)
}

/// One history at work.
struct History {
    dice: Dice,
    steps: Steps,
    oracle: Oracle,
    replicas: Replicas,
    figures: Figures,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            steps: Steps::new(&mut dice),
            oracle: Oracle::default(),
            replicas: Replicas::default(),
            figures: Figures::default(),
            dice,
        }
    }

    fn step(&mut self) -> Result<(), Broken> {
        let command = self.steps.next(&mut self.dice, &self.oracle);
        let is_repeat = self.oracle.remembers(&command);
        let expected = self.oracle.answer(&command);
        let reply = self.replicas.first(command, is_repeat)?;
        self.figures.commands += 1;
        self.figures.repeats += u64::from(is_repeat);
        match &reply {
            Reply::Rejected(model::error::Rejection::RequestExpired) => self.figures.expired += 1,
            Reply::Rejected(_) => self.figures.rejected += 1,
            Reply::Swept { removed } => self.figures.swept += removed,
            _ => self.figures.done += 1,
        }
        if plain(reply.clone()) != expected {
            let what = format!("the reply was {reply:?}, the oracle expects {expected:?}");
            return Err(("replies", what));
        }
        self.replicas.second(&mut self.dice, &mut self.figures)
    }

    fn look(&mut self, at: u64, steps: u64) -> Result<(), Broken> {
        let is_last = at + 1 == steps;
        if !at.is_multiple_of(LOOK_EVERY) && !is_last {
            return Ok(());
        }
        let state = self.replicas.state();
        let report = verify::recount(state).map_err(|fault| ("recount", fault.to_string()))?;
        if let Some(difference) = report.differences.first() {
            return Err(("recount", format!("{difference:?}")));
        }
        let count = if is_last { 40 } else { 6 };
        for _ in 0..count {
            questions::ask(&mut self.dice, &self.oracle, state)?;
            self.figures.questions += 1;
        }
        if is_last {
            self.replicas.finish(&mut self.dice, &mut self.figures)?;
        }
        Ok(())
    }
}

/// A reply without words for people.
fn plain(reply: Reply) -> Reply {
    use model::error::Rejection::InvalidSetting;
    match reply {
        Reply::Rejected(InvalidSetting(_)) => Reply::Rejected(InvalidSetting(String::new())),
        other => other,
    }
}
