//! Starts operations and times them.
//!
//! *Closed loop*: every connection starts its next operation when the last one ended, so that slow
//! servers get less load: good for the highest rate. *Open loop*: operations arrive when a schedule
//! says, fixed before the run, and latency counts from that moment: waiting for a free connection
//! is part of it, and a server that stands still is charged for everybody who came meanwhile.
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cpu;
use crate::figures::Figures;
use crate::record::{Record, Window};
use crate::shift::Shift;
use crate::trouble::Trouble;
use crate::work::Work;

/// How operations are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    Closed,
    /// Needs [`Until::Time`].
    Open {
        per_second: f64,
    },
}

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So long, after the warm-up.
    Time(Duration),
    /// So many operations.
    Count(u64),
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub connections: usize,
    pub pace: Pace,
    pub until: Until,
    /// Operations that end within it are not counted.
    pub warm_up: Duration,
    /// Threads of the clients; no more than there are connections.
    pub threads: usize,
    pub seed: u64,
}

/// What the caller is told, on its own thread, so that it can read counters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The window begins.
    Begin,
    /// The window has ended.
    End,
}

/// Runs the plan and blocks until its end.
///
/// # Errors
/// [`Trouble::Broken`] when a node cannot be reached or a thread not be started. What goes wrong
/// later is counted in the figures.
pub fn drive<W: Work>(
    plan: &Plan,
    work: &W,
    tell: &mut dyn FnMut(Moment),
) -> Result<Figures, Trouble> {
    let crew = Crew::hire(plan, work)?;
    crew.await_ready()?;
    let begin = Instant::now() + plan.warm_up;
    let window = Window {
        begin,
        end: match plan.until {
            Until::Time(length) => Some(begin + length),
            Until::Count(_) => None,
        },
    };
    crew.start(window)?;
    wait_until(begin);
    let before = cpu::own();
    tell(Moment::Begin);
    let (record, used, length) = match window.end {
        Some(end) => {
            let end = crew.await_end(end, work);
            let used = cpu::own().saturating_sub(before);
            tell(Moment::End);
            (crew.finish()?, used, end.duration_since(begin))
        }
        None => {
            let record = crew.finish()?;
            let used = cpu::own().saturating_sub(before);
            tell(Moment::End);
            (record, used, begin.elapsed())
        }
    };
    Ok(Figures {
        scenario: work.name().to_owned(),
        connections: plan.connections,
        rate: match plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(per_second),
        },
        ..Figures::new(&record, length, used)
    })
}

/// The threads of one run.
struct Crew {
    ready: Receiver<Result<(), Trouble>>,
    starts: Vec<SyncSender<Window>>,
    threads: Vec<JoinHandle<Result<Record, Trouble>>>,
}

impl Crew {
    fn hire<W: Work>(plan: &Plan, work: &W) -> Result<Self, Trouble> {
        let count = plan.threads.clamp(1, plan.connections.max(1));
        let left = Arc::new(AtomicU64::new(match plan.until {
            Until::Count(count) => count,
            Until::Time(_) => u64::MAX,
        }));
        let (tell_ready, ready) = sync_channel(count);
        let (mut starts, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (start, started) = sync_channel(1);
            let shift = Shift {
                plan: *plan,
                work: work.clone(),
                number,
                count,
                left: Arc::clone(&left),
            };
            let tell_ready = tell_ready.clone();
            // Whoever loses the other end, because another thread did not start, ends.
            let thread = std::thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn(move || shift.work(&tell_ready, &started))
                .map_err(|error| Trouble::Broken(format!("starting a thread: {error}")))?;
            starts.push(start);
            threads.push(thread);
        }
        Ok(Self {
            ready,
            starts,
            threads,
        })
    }

    /// Until everybody is connected: making connections is not what is measured.
    fn await_ready(&self) -> Result<(), Trouble> {
        for _ in &self.threads {
            self.ready.recv().map_err(|_| ended())??;
        }
        Ok(())
    }

    fn start(&self, window: Window) -> Result<(), Trouble> {
        self.starts
            .iter()
            .try_for_each(|start| start.send(window).map_err(|_| ended()))
    }

    /// Waits for the end of the window; gives the moment, which is an earlier one when the work
    /// says that it is enough.
    fn await_end<W: Work>(&self, end: Instant, work: &W) -> Instant {
        // Nothing more is said here: this ends in time, or when all threads have ended.
        let left = end.saturating_duration_since(Instant::now());
        if self.ready.recv_timeout(left).is_err() && work.is_enough() {
            return end.min(Instant::now());
        }
        wait_until(end);
        end
    }

    fn finish(self) -> Result<Record, Trouble> {
        let mut whole = Record::new();
        for thread in self.threads {
            whole.add(&thread.join().map_err(|_| ended())??);
        }
        Ok(whole)
    }
}

fn ended() -> Trouble {
    Trouble::Broken("a client thread ended early".to_owned())
}

fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
