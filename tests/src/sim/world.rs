//! The driver: moves the time on, gives every node its turn, does what the seed says to the
//! cluster, and looks whether everything still holds.
mod judge;
mod strike;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage::blob::MemoryBlobs;
use storage::state::StateStore;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::clients::stage::Stage;
use super::clients::{Client, Lobby};
use super::clock;
use super::dice::Dice;
use super::disk::Disk;
use super::doors::Doors;
use super::faults::Deed;
use super::host::{Ground, Host};
use super::invariants::{Coverage, Violation, Watch};
use super::network::Net;
use super::panics;
use super::record::Record;
use super::shape::{Profile, Shape};
use super::trace::{Trace, note};

/// How long setting the stage may take.
const STAGE_WITHIN_MS: u64 = 60_000;
/// How often one of the states is recounted.
const RECOUNT_EVERY_MS: u64 = 300;
/// How often it is looked at whether a replica has stopped by itself.
const LOOK_EVERY_MS: u64 = 20;

/// What is asked for.
#[derive(Clone)]
pub struct Options {
    pub seed: u64,
    /// How long faults go on, of the run's time.
    pub seconds: u64,
    pub profile: Profile,
    pub trace: Trace,
    /// Alters the history before it is judged: must always be found.
    pub is_canary: bool,
    /// A directory of its own that may be written to.
    pub spool: std::path::PathBuf,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No violation found.
    Pass,
    Violated(Violation),
    /// Too little happened to say anything.
    Unknown(String),
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub coverage: Coverage,
    /// The run's time at its end.
    pub ended_ms: u64,
    /// Lines of the trace, and their hash.
    pub digest: (u64, u64),
    /// The end of the trace.
    pub last: Vec<String>,
    pub nodes: u64,
}

/// Why a run stops in the middle.
pub(crate) enum Stop {
    /// An invariant was broken: the watch knows which.
    Violated,
    /// The simulator itself cannot go on.
    Broken(String),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

pub(crate) type Go<T = ()> = Result<T, Stop>;

pub(crate) struct World {
    options: Options,
    shape: Arc<Shape>,
    trace: Trace,
    watch: Watch,
    net: Net,
    blobs: MemoryBlobs,
    ground: Ground,
    hosts: BTreeMap<u64, Host>,
    lobby: Lobby,
    /// What is there before the run begins, once it is.
    stage: Option<Arc<Stage>>,
    /// Where clients live.
    outside: Runtime,
    base: Instant,
    /// Whose turn it is.
    turns: Dice,
    faults: Dice,
    deeds: BTreeMap<(u64, u64), Deed>,
    deed_count: u64,
    has_faults: bool,
    /// Nodes that lost their disks.
    gone: BTreeSet<u64>,
    /// Nodes that were just taken out of the membership.
    removed: Arc<Mutex<Vec<u64>>>,
    /// Clients that stay with such nodes.
    lingering: Vec<JoinHandle<()>>,
}

/// Makes once what the process keeps, such as the calibration of a clock that nobody looks at.
pub fn warm_up() {
    drop(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder());
}

/// Runs a seed.
///
/// # Errors
/// When the simulator itself fails.
pub fn run(options: Options) -> Result<Outcome, String> {
    let mut world = World::new(options).map_err(|error| error.to_string())?;
    let went = world.play();
    let verdict = match (world.watch.violation(), went) {
        (Some(violation), _) => Verdict::Violated(violation),
        (None, Ok(())) => world.enough(),
        (None, Err(Stop::Broken(why))) => return Err(why),
        (None, Err(Stop::Violated)) => return Err("a violation that nobody knows".to_owned()),
    };
    Ok(Outcome {
        verdict,
        coverage: world.watch.coverage(),
        ended_ms: clock::now_ms(),
        digest: world.trace.digest(),
        last: world.trace.last(),
        nodes: world.shape.nodes,
    })
}

impl World {
    fn new(options: Options) -> std::io::Result<Self> {
        clock::set_ms(0);
        let seed = options.seed;
        let shape = Arc::new(Shape::of(seed));
        let trace = options.trace.clone();
        note!(trace, "seed {seed} {:?} {shape:?}", options.profile);
        let watch = Watch::new(trace.clone());
        let dice = Dice::new(seed, "network");
        let net = Net::new(trace.clone(), watch.clone(), dice, shape.usual);
        let blobs = MemoryBlobs::new(1 << 24);
        let outside = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let base = {
            let _inside = outside.enter();
            Instant::now()
        };
        let lobby = Lobby {
            doors: Doors::new(Dice::new(seed, "doors")),
            record: Record::new(trace.clone(), watch.clone()),
            watch: watch.clone(),
            shape: Arc::clone(&shape),
            is_over: Arc::default(),
            blobs: blobs.clone(),
        };
        let ground = Ground {
            shape: Arc::clone(&shape),
            net: net.clone(),
            blobs: blobs.clone(),
            spool: options.spool.clone(),
            seed,
        };
        Ok(Self {
            shape,
            trace,
            watch,
            net,
            blobs,
            ground,
            hosts: BTreeMap::new(),
            lobby,
            stage: None,
            outside,
            base,
            turns: Dice::new(seed, "turns"),
            faults: Dice::new(seed, "faults"),
            deeds: BTreeMap::new(),
            deed_count: 0,
            has_faults: false,
            gone: BTreeSet::new(),
            removed: Arc::default(),
            lingering: Vec::new(),
            options,
        })
    }

    fn play(&mut self) -> Go {
        for id in 1..=self.shape.nodes {
            self.add_host(id)?;
        }
        let stage = Arc::new(self.set_stage()?);
        self.stage = Some(Arc::clone(&stage));
        let clients = self.let_in(&stage);
        self.has_faults = true;
        self.later(self.options.seconds.min(1) * 200, Deed::Strike);
        let until = clock::now_ms() + self.options.seconds * 1_000;
        while clock::now_ms() < until {
            self.tick()?;
        }
        self.mend()?;
        self.converge()?;
        self.lobby.is_over.store(true, Ordering::Relaxed);
        self.wait_for(clients, STAGE_WITHIN_MS, "the clients' last requests")?;
        for visit in std::mem::take(&mut self.lingering) {
            self.wait_for(visit, STAGE_WITHIN_MS, "the last visits")?;
        }
        self.last_writes(&stage)?;
        self.last_reads(&stage)?;
        self.judge_all()
    }

    fn add_host(&mut self, id: u64) -> Go {
        let dice = Dice::new(self.options.seed, &format!("disk {id}"));
        let disk = Disk::new(id, self.watch.clone(), dice, self.shape.manner);
        let mut host = Host::new(id, disk, self.ground.clone());
        host.start()?;
        self.hosts.insert(id, host);
        Ok(())
    }

    fn set_stage(&mut self) -> Go<Stage> {
        let lobby = self.lobby.clone();
        let dice = Dice::new(self.options.seed, "stage");
        let setting = self
            .outside
            .spawn(async move { lobby.set_stage(dice).await });
        self.wait_for(setting, STAGE_WITHIN_MS, "setting the stage")?
            .map_err(Stop::Broken)
    }

    fn let_in(&self, stage: &Arc<Stage>) -> JoinHandle<()> {
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..self.shape.clients {
            let dice = Dice::new(self.options.seed, &format!("client {number}"));
            let client = Client::new(self.lobby.clone(), Arc::clone(stage), number, dice);
            clients.spawn_on(client.run(), self.outside.handle());
        }
        self.outside.spawn(async move {
            clients.join_all().await;
        })
    }

    /// Somebody stays with each node that was just taken out.
    fn let_linger(&mut self) {
        let Some(stage) = &self.stage else {
            return;
        };
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for id in removed.drain(..) {
            let visit = self.lingering.len();
            let mut dice = Dice::new(self.options.seed, &format!("visit {visit}"));
            let number = usize::try_from(dice.roll(self.shape.clients as u64));
            let number = number.expect("a handful");
            let client = Client::new(self.lobby.clone(), Arc::clone(stage), number, dice);
            let visiting = self.outside.spawn(client.linger(id, visit));
            self.lingering.push(visiting);
        }
    }

    /// Goes on until a task outside is done.
    fn wait_for<T: Send + 'static>(
        &mut self,
        task: JoinHandle<T>,
        within_ms: u64,
        what: &str,
    ) -> Go<T> {
        let until = clock::now_ms() + within_ms;
        while !task.is_finished() {
            if clock::now_ms() > until {
                return Err(Stop::Broken(format!("{what} took too long")));
            }
            self.tick()?;
        }
        self.outside
            .block_on(task)
            .map_err(|error| Stop::Broken(format!("{what}: {error}")))
    }

    /// One more millisecond.
    fn tick(&mut self) -> Go {
        let now = clock::now_ms() + 1;
        clock::set_ms(now);
        self.do_deeds()?;
        self.net.deliver();
        let mut order: Vec<u64> = self.hosts.keys().copied().collect();
        self.turns.shuffle(&mut order);
        for id in order {
            if let Some(host) = self.hosts.get_mut(&id) {
                host.run();
            }
        }
        let until = self.base + Duration::from_millis(now);
        self.outside
            .block_on(async move { sleep_until(until).await });
        self.look_after(now)?;
        match self.watch.violation() {
            Some(_) => Err(Stop::Violated),
            None => Ok(()),
        }
    }

    /// Sees who died, who booted, and how the states are.
    fn look_after(&mut self, now: u64) -> Go {
        let blown: Vec<u64> = self
            .hosts
            .values()
            .filter(|host| host.is_up() && host.disk.platter.is_blown())
            .map(|host| host.id)
            .collect();
        for id in blown {
            self.kill(id, true)?;
        }
        for panic in panics::take() {
            note!(self.trace, "panic: {panic}");
            self.watch.judge("nothing panics", Err(panic));
        }
        if now.is_multiple_of(LOOK_EVERY_MS) {
            self.look_at_replicas()?;
            self.let_linger();
        }
        if now.is_multiple_of(RECOUNT_EVERY_MS) {
            let hosts: Vec<u64> = self.hosts.keys().copied().collect();
            if let Some(id) = self.turns.pick(&hosts).copied() {
                self.recount(id);
            }
        }
        Ok(())
    }

    fn look_at_replicas(&mut self) -> Go {
        let mut stopped = Vec::new();
        for host in self.hosts.values() {
            self.lobby.doors.look(host);
            let why = match host.running() {
                Some(running) => running.replica.status().stopped,
                None => host.boot_error(),
            };
            if let Some(why) = why {
                stopped.push((host.id, why));
            }
        }
        for (id, why) in stopped {
            note!(self.trace, "n{id} stopped by itself: {why}");
            if !self.may_stop(&why) {
                let judged = Err(format!("node {id}: {why}"));
                self.watch
                    .judge("a replica stops only for its disk", judged);
            }
            // A process ends when its replica does; what it could not sync is lost.
            self.kill(id, true)?;
        }
        Ok(())
    }

    /// Is this what a broken disk makes a replica say?
    fn may_stop(&self, why: &str) -> bool {
        ["EIO", "the power is gone"]
            .iter()
            .any(|disk| why.contains(disk))
    }

    fn recount(&self, id: u64) {
        let Some(host) = self.hosts.get(&id) else {
            return;
        };
        // A disk that is gone cannot be read; the next life's can.
        if let Ok(reading) = host.disk.state.read() {
            self.watch.recount(id, &reading.view);
        }
    }

    /// Ends a node's process; it comes back a while later.
    pub(crate) fn kill(&mut self, id: u64, is_power_cut: bool) -> Go {
        let Some(host) = self.hosts.get_mut(&id) else {
            return Ok(());
        };
        if !host.is_up() {
            return Ok(());
        }
        host.kill(is_power_cut).map_err(Stop::Broken)?;
        self.lobby.doors.look(host);
        self.watch.count(|it| {
            if is_power_cut {
                it.power_cuts += 1;
            } else {
                it.kills += 1;
            }
        });
        let lasts = self.lasts();
        self.later(lasts, Deed::Start(id));
        Ok(())
    }

    fn lasts(&mut self) -> u64 {
        let (low, high) = self.shape.fault_lasts_ms;
        self.faults.between(low, high)
    }

    fn later(&mut self, after_ms: u64, deed: Deed) {
        self.deed_count += 1;
        let at = clock::now_ms() + after_ms.max(1);
        self.deeds.insert((at, self.deed_count), deed);
    }
}
