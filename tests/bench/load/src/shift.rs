//! One thread of clients and its share of a run.
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::alarm::Alarm;
use crate::drive::{Pace, Plan, Until};
use crate::record::{Record, Window};
use crate::schedule::arrivals;
use crate::trouble::Trouble;
use crate::work::Work;

/// A client whose connection broke waits so long: nobody would gain by a storm of attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What one thread is to do.
pub(crate) struct Shift<W> {
    pub(crate) plan: Plan,
    pub(crate) work: W,
    /// Which of `count` threads.
    pub(crate) number: usize,
    pub(crate) count: usize,
    /// Operations that are still to be started, over all threads.
    pub(crate) left: Arc<AtomicU64>,
}

/// What the clients of one thread share.
struct Desk<W> {
    work: W,
    window: Window,
    left: Arc<AtomicU64>,
    record: RefCell<Record>,
}

/// Arrivals of an open loop: how many have come, and which is the next to be served.
struct Queue {
    moments: Vec<Instant>,
    next: Cell<usize>,
    /// No more than so many come.
    most: Cell<usize>,
    come: Semaphore,
}

impl<W: Work> Shift<W> {
    /// Connects, says so, waits for the start, works, and gives what it saw.
    pub(crate) fn work(
        self,
        ready: &SyncSender<Result<(), Trouble>>,
        started: &Receiver<Window>,
    ) -> Result<Record, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Broken(format!("starting a runtime: {error}")))?;
        let set = LocalSet::new();
        let connected = set.block_on(&runtime, self.connect());
        let (told, clients) = match connected {
            Ok(clients) => (Ok(()), clients),
            Err(trouble) => (Err(trouble), Vec::new()),
        };
        let (true, Ok(window)) = (ready.send(told).is_ok(), started.recv()) else {
            return Ok(Record::new());
        };
        set.block_on(&runtime, self.run(clients, window))
    }

    async fn connect(&self) -> Result<Vec<W::Client>, Trouble> {
        let mut clients = Vec::new();
        for index in (self.number..self.plan.connections).step_by(self.count) {
            clients.push(self.work.connect(index, self.plan.seed).await?);
        }
        Ok(clients)
    }

    async fn run(self, clients: Vec<W::Client>, window: Window) -> Result<Record, Trouble> {
        let queue = self.queue(window);
        let desk = Rc::new(Desk {
            work: self.work,
            window,
            left: self.left,
            record: RefCell::new(Record::new()),
        });
        let mut tasks = Vec::new();
        for client in clients {
            let desk = Rc::clone(&desk);
            tasks.push(match queue.clone() {
                None => tokio::task::spawn_local(closed(desk, client)),
                Some(queue) => tokio::task::spawn_local(open(desk, queue, client)),
            });
        }
        if let Some(queue) = queue {
            queue.let_come(|| desk.work.is_enough()).await?;
        }
        for task in tasks {
            task.await
                .map_err(|error| Trouble::Broken(format!("a client ended early: {error}")))?;
        }
        let desk = Rc::into_inner(desk).expect("all clients have ended");
        Ok(desk.record.into_inner())
    }

    /// This thread's share of the arrivals; warm-up included.
    fn queue(&self, window: Window) -> Option<Rc<Queue>> {
        let (Pace::Open { per_second }, Until::Time(length)) = (self.plan.pace, self.plan.until)
        else {
            return None;
        };
        let share = per_second / self.count as f64;
        let seed = self.plan.seed.wrapping_add(self.number as u64);
        let begin = window.begin - self.plan.warm_up;
        let moments = arrivals(share, self.plan.warm_up + length, seed);
        Some(Rc::new(Queue {
            most: Cell::new(moments.len()),
            moments: moments.into_iter().map(|moment| begin + moment).collect(),
            next: Cell::new(0),
            come: Semaphore::new(0),
        }))
    }
}

impl Queue {
    /// Lets everybody in when their moment has come, however many still wait, until it is enough.
    async fn let_come(&self, is_enough: impl Fn() -> bool) -> Result<(), Trouble> {
        let alarm = Alarm::new().map_err(|error| Trouble::Broken(format!("a timer: {error}")))?;
        let mut come = 0;
        while come < self.moments.len() {
            if is_enough() {
                self.most.set(come);
                break;
            }
            let now = Instant::now();
            let due = self.moments[come..].partition_point(|moment| *moment <= now);
            if due == 0 {
                alarm
                    .ring_at(self.moments[come])
                    .await
                    .map_err(|error| Trouble::Broken(format!("a timer: {error}")))?;
            } else {
                come += due;
                self.come.add_permits(due);
            }
        }
        // Those who find nobody left go home.
        self.come.close();
        Ok(())
    }

    /// The next arrival, once it has come; `None` after the last.
    async fn next(&self) -> Option<Instant> {
        // A closed semaphore gives no permits, also those that are left: the rest is served below.
        if let Ok(permit) = self.come.acquire().await {
            permit.forget();
        }
        let next = self.next.get();
        let moment = self.moments[..self.most.get()].get(next)?;
        self.next.set(next + 1);
        Some(*moment)
    }
}

async fn closed<W: Work>(desk: Rc<Desk<W>>, mut client: W::Client) {
    loop {
        let begin = Instant::now();
        if desk.window.is_over(begin) || !desk.take() {
            return;
        }
        desk.serve(&mut client, begin).await;
    }
}

async fn open<W: Work>(desk: Rc<Desk<W>>, queue: Rc<Queue>, mut client: W::Client) {
    while let Some(begin) = queue.next().await {
        desk.serve(&mut client, begin).await;
    }
}

impl<W: Work> Desk<W> {
    /// One more, if there is one to be done.
    fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    async fn serve(&self, client: &mut W::Client, begin: Instant) {
        let became = self.work.perform(client).await;
        let end = Instant::now();
        let is_broken = matches!(became, Err(Trouble::Broken(_)));
        self.work.note(begin, end, &became);
        self.record
            .borrow_mut()
            .note(&self.window, begin, end, became);
        if is_broken {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
