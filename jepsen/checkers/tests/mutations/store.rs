//! A store in memory with clients that overlap: each operation takes effect at one moment between
//! its beginning and its end, some fail and never do, of some nobody hears (before or after they
//! took effect), some take effect long after their client gave up.
use checkers::history::{Action, Event, Kind};

use crate::Subject;
use crate::models;

/// Seeded (Steele and Vigna's SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (sides as u64)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() {
            return None;
        }
        Some(&of[self.roll(of.len())])
    }
}

/// What the store is.
pub(crate) trait Model {
    /// What a client asks next.
    fn propose(&mut self, client: usize, dice: &mut Dice) -> Action;

    /// It takes effect; the action as the client is told.
    fn apply(&mut self, action: &Action, dice: &mut Dice) -> Action;

    /// Reads of everything, for when all is quiet.
    fn last(&self) -> Vec<Action>;
}

enum State {
    Idle,
    Begun(Action),
    /// It took effect; this is what the client will be told.
    Done(Action),
}

struct Client {
    process: u64,
    state: State,
}

/// How rough it is, in percent of operations.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) failed: usize,
    pub(crate) unknown: usize,
}

pub(crate) const ROUGH: Weather = Weather {
    failed: 10,
    unknown: 15,
};

struct Store {
    model: Box<dyn Model>,
    clients: Vec<Client>,
    /// Their clients gave up; they may still take effect.
    late: Vec<Action>,
    processes: u64,
    events: Vec<Event>,
    weather: Weather,
}

/// A clean history of so many steps, with last reads at its end.
pub(crate) fn history(
    subject: Subject,
    steps: usize,
    clients: usize,
    weather: Weather,
    dice: &mut Dice,
) -> Vec<Event> {
    let mut store = Store {
        model: models::of(subject),
        clients: Vec::new(),
        late: Vec::new(),
        processes: 0,
        events: Vec::new(),
        weather,
    };
    for _ in 0..clients {
        let process = store.new_process();
        store.clients.push(Client {
            process,
            state: State::Idle,
        });
    }
    for _ in 0..steps {
        store.step(dice, true);
    }
    for _ in 0..clients * 8 {
        store.step(dice, false);
    }
    store.last_reads(dice);
    store.events
}

impl Store {
    fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes
    }

    fn note(&mut self, process: u64, kind: Kind, action: Action) {
        let index = self.events.len();
        self.events.push(Event {
            index,
            time_ns: index as u64,
            process,
            kind,
            action,
            node: String::new(),
            error: None,
        });
    }

    fn step(&mut self, dice: &mut Dice, goes_on: bool) {
        if dice.roll(12) == 0 && !self.late.is_empty() {
            let which = dice.roll(self.late.len());
            let late = self.late.swap_remove(which);
            self.model.apply(&late, dice);
        }
        let n = dice.roll(self.clients.len());
        let process = self.clients[n].process;
        let state = std::mem::replace(&mut self.clients[n].state, State::Idle);
        self.clients[n].state = match state {
            State::Idle if !goes_on => State::Idle,
            State::Idle => {
                let action = self.model.propose(n, dice);
                self.note(process, Kind::Invoke, action.clone());
                State::Begun(action)
            }
            State::Done(told) => {
                self.note(process, Kind::Ok, told);
                State::Idle
            }
            State::Begun(action) => self.fate(n, action, dice),
        };
    }

    fn fate(&mut self, n: usize, action: Action, dice: &mut Dice) -> State {
        let process = self.clients[n].process;
        let fate = dice.roll(100);
        let Weather { failed, unknown } = self.weather;
        if fate < failed || (fate < failed + unknown && action.is_read()) {
            self.note(process, Kind::Fail, action);
            return State::Idle;
        }
        if fate >= failed + unknown {
            return State::Done(self.model.apply(&action, dice));
        }
        match dice.roll(3) {
            // The reply is lost.
            0 => drop(self.model.apply(&action, dice)),
            1 => self.late.push(action.clone()),
            // The request is lost.
            _ => {}
        }
        if dice.roll(4) > 0 {
            self.note(process, Kind::Info, action);
        }
        self.clients[n].process = self.new_process();
        State::Idle
    }

    fn last_reads(&mut self, dice: &mut Dice) {
        for action in self.model.last() {
            let process = self.new_process();
            self.note(process, Kind::Invoke, action.clone());
            let told = self.model.apply(&action, dice);
            self.note(process, Kind::Ok, told);
        }
    }
}
