//! Builds a state command by command, in rounds, in the order in which things would happen: users,
//! their videos, and then all else mixed.
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use model::command::{Command, Operation};
use model::comment::AddComment;
use model::favorite::Like;
use model::message::SendMessage;
use model::relation::Follow;
use model::token::TokenHash;
use serde::Serialize;
use storage::state::StateStore as _;

use crate::dice::Dice;
use crate::plan::{Kind, Plan};
use crate::rest::{process_time, settle};
use crate::store::Store;
use crate::world::{World, publish, register, token};

/// Commands that are applied and committed together while a state is built.
const ROUND: usize = 256;
/// Where nobody watches a bar, a line is printed after so many.
const TELL_EVERY: usize = 250_000;

/// What building a state took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Building {
    pub commands: usize,
    /// Until it came to rest.
    pub seconds: f64,
    /// Processor time of all threads, µs per command.
    pub process_us: f64,
}

/// Collects commands into rounds, and shows how far it is.
pub struct Filler {
    pub store: Store,
    round: Vec<Command>,
    bar: ProgressBar,
    commands: usize,
    began: Instant,
    /// Processor time of this process when it began.
    before: Duration,
    told: Told,
}

/// What the last printed line told.
#[derive(Default)]
struct Told {
    commands: usize,
    used: Duration,
}

impl Filler {
    /// Begins with `store`; about so many `commands` will come.
    ///
    /// # Errors
    /// When the progress cannot be shown.
    pub fn new(store: Store, commands: usize) -> Result<Self> {
        let bar = ProgressBar::new(commands as u64);
        let style = "{bar:30.cyan} {human_pos}/{human_len} commands, {per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(style)?);
        Ok(Self {
            store,
            round: Vec::with_capacity(ROUND),
            bar,
            commands: 0,
            began: Instant::now(),
            before: process_time(),
            told: Told::default(),
        })
    }

    /// Adds a command; a full round is applied.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn push(&mut self, actor: Option<TokenHash>, operation: Operation) -> Result<()> {
        let command = self.store.command(actor, operation);
        self.round.push(command);
        if self.round.len() == ROUND {
            self.flush()?;
        }
        Ok(())
    }

    /// Applies what is left of a round.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn flush(&mut self) -> Result<()> {
        let round = std::mem::take(&mut self.round);
        self.commands += round.len();
        self.bar.inc(round.len() as u64);
        if !round.is_empty() {
            self.store.apply(round)?;
        }
        if self.commands >= self.told.commands + TELL_EVERY {
            self.tell();
        }
        self.store.sweep_if_due()
    }

    /// How far it is, and what the commands since the last time cost.
    fn tell(&mut self) {
        let used = process_time() - self.before;
        let commands = self.commands - self.told.commands;
        if self.bar.is_hidden() {
            eprintln!(
                "{} commands, {:.0} s, the last {commands} at {:.1} µs of processor each",
                self.commands,
                self.began.elapsed().as_secs_f64(),
                per_command(used - self.told.used, commands)
            );
        }
        self.told = Told {
            commands: self.commands,
            used,
        };
    }

    /// Registers so many users, lets them publish so many videos, and reads the ids back.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn world(&mut self, users: usize, videos: usize) -> Result<World> {
        for user in 0..users {
            self.push(None, register(user))?;
        }
        for video in 0..videos {
            self.push(Some(token(video % users)), publish(video))?;
        }
        self.flush()?;
        World::read(&self.store.view()?)
    }

    /// Waits until the state has come to rest, all of it durable.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn finish(mut self) -> Result<Building> {
        self.flush()?;
        self.store.state().make_durable()?;
        settle();
        self.bar.finish_and_clear();
        let used = process_time() - self.before;
        let building = Building {
            commands: self.commands,
            seconds: self.began.elapsed().as_secs_f64(),
            process_us: per_command(used, self.commands),
        };
        eprintln!(
            "built: {} commands in {:.0} s, {:.1} µs of processor each",
            building.commands, building.seconds, building.process_us
        );
        Ok(building)
    }
}

/// µs
fn per_command(used: Duration, commands: usize) -> f64 {
    used.as_secs_f64() * 1e6 / commands.max(1) as f64
}

/// Builds the state of `plan`; gives who is in it.
///
/// # Errors
/// As [`Store::apply`].
pub fn by_plan(filler: &mut Filler, plan: &Plan) -> Result<World> {
    let world = filler.world(plan.users, plan.videos)?;
    let mut dice = Dice::new(3);
    let mut left = plan.happenings();
    let mut done = [0; 4];
    let mut all: usize = left.iter().map(|(_, count)| count).sum();
    while all > 0 {
        let mut thrown = dice.below(all);
        let mut place = 0;
        while thrown >= left[place].1 {
            thrown -= left[place].1;
            place += 1;
        }
        let (user, operation) = happening(plan, &world, left[place].0, done[place], &mut dice);
        filler.push(Some(token(user)), operation)?;
        left[place].1 -= 1;
        done[place] += 1;
        all -= 1;
    }
    Ok(world)
}

/// The `count`-th of one kind, and who does it: everybody in turn.
fn happening(
    plan: &Plan,
    world: &World,
    kind: Kind,
    count: usize,
    dice: &mut Dice,
) -> (usize, Operation) {
    let (user, step) = (count % plan.users, count / plan.users);
    let operation = match kind {
        Kind::Like => Operation::Like(Like {
            video: world.videos[plan.likes.target(user, step)],
        }),
        Kind::Follow => Operation::Follow(Follow {
            user: world.users[plan.followee(user, step)],
        }),
        Kind::Comment => Operation::AddComment(AddComment {
            video: world.videos[dice.below(plan.videos)],
            text: format!("comment number {count}, as long as most of them are"),
        }),
        Kind::Message => Operation::SendMessage(SendMessage {
            to: world.users[plan.peer(user, step)],
            text: format!("message number {count}, as long as most of them are"),
        }),
    };
    (user, operation)
}
