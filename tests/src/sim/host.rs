//! A node of the run: one runtime for all its tasks, so that it can be killed at once, stand still,
//! and come back; its replica and its HTTP face, called as a service.
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gossip::members::Members;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use media::child::Studio;
use metrics_exporter_prometheus::PrometheusBuilder;
use model::id::NodeId;
use raft::options::Parts;
use raft::replica::Replica;
use storage::blob::MemoryBlobs;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, advance, sleep_until};
use tower::ServiceExt;
use transport::memory::address_of;
use transport::network::{Network, PeerId};

use super::clock::{self, WallClock};
use super::disk::Disk;
use super::network::{Net, Plug};
use super::seams::{InPlace, Seeded};
use super::shape::Shape;

/// What came back over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Asked = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send>>;
/// A node's HTTP face as a service.
pub(crate) type Front = Arc<dyn Fn(Request<Full<Bytes>>) -> Asked + Send + Sync>;

/// A node that has booted.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) replica: Replica,
    pub(crate) front: Front,
}

/// How a boot went, once it did.
type Booted = Arc<Mutex<Option<Result<Running, String>>>>;

/// One life of a node's process.
struct Life {
    runtime: Runtime,
    /// When it began, by its own clock and by the run's.
    base: Instant,
    began_ms: u64,
    /// Up to where it has run.
    ran_ms: u64,
    is_paused: bool,
    booted: Booted,
}

/// What all hosts share.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) shape: Arc<Shape>,
    pub(crate) net: Net,
    pub(crate) blobs: MemoryBlobs,
    pub(crate) spool: PathBuf,
    pub(crate) seed: u64,
}

pub(crate) struct Host {
    pub(crate) id: u64,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<WallClock>,
    ground: Ground,
    life: Option<Life>,
    lives: u64,
}

impl Host {
    pub(crate) fn new(id: u64, disk: Disk, ground: Ground) -> Self {
        Self {
            id,
            disk,
            clock: Arc::default(),
            ground,
            life: None,
            lives: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// The replica and the HTTP face, once booted.
    pub(crate) fn running(&self) -> Option<Running> {
        self.booted()?.ok()
    }

    /// Why it did not boot.
    pub(crate) fn boot_error(&self) -> Option<String> {
        self.booted()?.err()
    }

    fn booted(&self) -> Option<Result<Running, String>> {
        let life = self.life.as_ref()?;
        let booted = life.booted.lock().unwrap_or_else(PoisonError::into_inner);
        booted.clone()
    }

    pub(crate) fn handle(&self) -> Option<Handle> {
        self.life.as_ref().map(|life| life.runtime.handle().clone())
    }

    /// Starts the process on what the disk holds.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        self.lives += 1;
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let plug = self.ground.net.plug(self.id, runtime.handle().clone());
        let booted = Booted::default();
        let boot = Boot {
            id: self.id,
            life: self.lives,
            disk: self.disk.clone(),
            clock: Arc::clone(&self.clock),
            ground: self.ground.clone(),
            plug,
        };
        let slot = Arc::clone(&booted);
        runtime.spawn(async move {
            let done = boot.run().await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        });
        let base = {
            let _inside = runtime.enter();
            Instant::now()
        };
        self.life = Some(Life {
            runtime,
            base,
            began_ms: clock::now_ms(),
            ran_ms: clock::now_ms(),
            is_paused: false,
            booted,
        });
        Ok(())
    }

    /// Lets it run up to now.
    pub(crate) fn run(&mut self) {
        let Some(life) = &mut self.life else {
            return;
        };
        let now = clock::now_ms();
        if life.is_paused || now <= life.ran_ms {
            return;
        }
        life.ran_ms = now;
        let until = life.base + Duration::from_millis(now - life.began_ms);
        life.runtime
            .block_on(async move { sleep_until(until).await });
    }

    /// Stops in the middle of everything, as SIGSTOP does.
    pub(crate) fn pause(&mut self) {
        if let Some(life) = &mut self.life {
            life.is_paused = true;
        }
    }

    /// Goes on: for the process no time has passed, for its clocks it has.
    pub(crate) fn resume(&mut self) {
        let Some(life) = &mut self.life else {
            return;
        };
        if !life.is_paused {
            return;
        }
        life.is_paused = false;
        let now = clock::now_ms();
        let missed = now - life.ran_ms;
        life.ran_ms = now;
        life.runtime
            .block_on(async move { advance(Duration::from_millis(missed)).await });
    }

    /// Ends the process at once; the disk is what is left of it.
    ///
    /// # Errors
    /// When what is left cannot be read.
    pub(crate) fn kill(&mut self, is_power_cut: bool) -> Result<(), String> {
        self.ground.net.unplug(self.id);
        // Before the tasks are dropped: what they still do on their way out reaches nothing.
        self.disk = self.disk.reborn(is_power_cut)?;
        if let Some(life) = self.life.take() {
            life.booted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            drop(life.runtime);
        }
        Ok(())
    }
}

/// What a process does first.
struct Boot {
    id: u64,
    life: u64,
    disk: Disk,
    clock: Arc<WallClock>,
    ground: Ground,
    plug: Arc<Plug>,
}

impl Boot {
    async fn run(self) -> Result<Running, String> {
        for other in 1..=16 {
            self.plug
                .set_address(PeerId(other), address_of(PeerId(other)));
        }
        let parts = Parts {
            network: Arc::clone(&self.plug) as Arc<dyn Network>,
            log: Arc::new(self.disk.log.clone()),
            state: Arc::new(self.disk.state.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn raft::clock::Clock>,
            room: None,
        };
        let options = self.ground.shape.replica(self.id);
        let (replica, handlers) = Replica::start(options, parts)
            .await
            .map_err(|error| error.to_string())?;
        self.plug.serve(handlers);
        let front = self.front(&replica)?;
        Ok(Running { replica, front })
    }

    fn front(&self, replica: &Replica) -> Result<Front, String> {
        let ground = &self.ground;
        let purpose = format!("random {} {}", self.id, self.life);
        let router = api::router(
            ground.shape.api(),
            api::Parts {
                node: NodeId(self.id),
                replica: replica.clone(),
                blobs: Arc::new(ground.blobs.clone()),
                members: watch::channel(Arc::new(Members::default())).1,
                clock: Arc::clone(&self.clock) as Arc<dyn raft::clock::Clock>,
                random: Arc::new(Seeded::new(ground.seed, &purpose)),
                blocking: Arc::new(InPlace),
                hashing: Arc::new(InPlace),
                studio: Studio::new("/nonexistent", None::<&str>),
                spool: ground.spool.clone(),
                room: Arc::new(|| true),
                metrics: PrometheusBuilder::new().build_recorder().handle(),
                draining: watch::channel(false).1,
                load: api::Load::default(),
            },
        )
        .map_err(|invalid| invalid.to_string())?;
        Ok(Arc::new(move |request| {
            let router = router.clone();
            Box::pin(async move {
                let Ok(response) = router.oneshot(request).await;
                let (head, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| error.to_string())?;
                Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    body: body.to_bytes(),
                })
            })
        }))
    }
}
