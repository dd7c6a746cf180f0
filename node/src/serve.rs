//! `yin serve`: the parts of a node, in the order in which they start and stop.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gossip::Gossip;
use model::id::NodeId;
use raft::clock::{Clock, SystemClock};
use raft::options::{Limits, Options as ReplicaOptions, Parts as ReplicaParts, Timing};
use raft::replica::{Replica, Role};
use storage::disk::Reserve;
use storage::state::StateStore as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transport::endpoint::{Endpoint, Options as EndpointOptions};
use transport::network::{Handler, Network, Service};

use crate::admission::{ADMIT, Admission, HELLO, Hello, SEAL, Seal};
use crate::background::{Background, Teller};
use crate::cli::Serve;
use crate::config::Config;
use crate::directory::{Directory, Who};
use crate::stores::{self, Opened, Stores};
use crate::{admin, found, http, join, room, telemetry};

/// How long a node that stops waits for requests in flight.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part of it dies.
pub(crate) async fn run(flags: &Serve) -> Result<()> {
    let config = Config::load(flags)?;
    let metrics = telemetry::metrics()?;
    let directory = Arc::new(Directory::hold(&config.data)?);
    let (who, stores) = settle_in(&config, &directory).await?;
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("listening for clients on {}", config.http.listen))?;
    let node = Node::start(&config, directory, who, stores).await?;
    let stopped_by = node.serve(&config, listener, metrics).await;
    node.stop().await;
    stopped_by
}

/// Finds out who this node is, joining or coming back as another where it must, and opens its stores.
async fn settle_in(config: &Config, directory: &Directory) -> Result<(Who, Stores)> {
    if let Some(aside) = directory.finish_superseding()? {
        tracing::warn!(kept = %aside.display(), "completed an interrupted change of identity");
    }
    let mut who = match directory.who()? {
        Some(who) => who,
        None => join::join(config, directory).await?,
    };
    loop {
        match stores::open(config, directory, &mut who)? {
            Opened::Ready(stores) => return Ok((who, stores)),
            Opened::Damaged(what) => who = join::replace(config, directory, &who, &what).await?,
        }
    }
}

/// A running node.
struct Node {
    who: Who,
    directory: Arc<Directory>,
    stores: Stores,
    reserve: Arc<Reserve>,
    network: Arc<dyn Network>,
    replica: Replica,
    gossip: Gossip,
    clock: Arc<dyn Clock>,
    address: SocketAddr,
    draining: watch::Sender<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Node {
    async fn start(
        config: &Config,
        directory: Arc<Directory>,
        who: Who,
        stores: Stores,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let reserve = Arc::new(Reserve::new(
            directory.path(),
            config.storage.disk_reserve_bytes,
        ));
        let endpoint = Endpoint::bind(EndpointOptions {
            listen: config.cluster.listen,
            advertise: config.cluster.advertise,
            identity: who.identity(),
            gate: None,
        })
        .with_context(|| format!("opening the cluster endpoint on {}", config.cluster.listen))?;
        let network: Arc<dyn Network> = endpoint.clone();
        #[cfg(feature = "tcp")]
        let network: Arc<dyn Network> =
            tcp::Tcp::over(network, &who.identity(), config.cluster.listen)
                .await
                .context("opening TCP beside QUIC")?;
        let address = network.local_addr();
        for (peer, address) in who.peers() {
            network.set_address(peer, address);
        }
        let (replica, mut handlers) = Replica::start(
            replica_options(config, &who),
            ReplicaParts {
                network: network.clone(),
                log: stores.log.clone(),
                state: stores.state.clone(),
                clock: clock.clone(),
                room: Some(room::is_low(&reserve)),
            },
        )
        .await?;
        let admission = Admission {
            cluster_id: who.cluster_id.clone(),
            replica: replica.clone(),
            network: network.clone(),
            directory: directory.clone(),
            clock: clock.clone(),
        };
        handlers.requests.extend(own_services(&admission));
        network.serve(handlers);
        endpoint.set_gate(Arc::new(admission));
        let gossip = start_gossip(config, &who, network.clone()).await?;
        found::found(&directory, &who, &replica, address, &*clock).await?;
        Ok(Self {
            who,
            directory,
            stores,
            reserve,
            network,
            replica,
            gossip,
            clock,
            address,
            draining: watch::channel(false).0,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Serves clients until a signal comes or a part dies; then finishes what is in flight.
    async fn serve(
        &self,
        config: &Config,
        listener: TcpListener,
        metrics: metrics_exporter_prometheus::PrometheusHandle,
    ) -> Result<()> {
        let http_address = listener.local_addr().context("the HTTP listener")?;
        let front = http::front(self.http_parts(config, metrics))?;
        self.spawn_background(config, http_address, &front);
        let admin = self.tasks.spawn({
            let (admin, data) = (self.admin(), self.directory.path().to_owned());
            let stop = self.stop.clone();
            async move { admin::server::serve(admin, &data, stop).await }
        });
        let http_stop = CancellationToken::new();
        let mut serving = self.tasks.spawn(api::serve(
            listener,
            front.router,
            http_stop.clone().cancelled_owned(),
            DRAIN_MAX,
        ));
        tracing::info!(
            node = self.who.node,
            http = %http_address,
            cluster = %self.address,
            "serving"
        );
        notify(&[sd_notify::NotifyState::Ready]);
        let ended = tokio::select! {
            () = signalled() => Ok(()),
            ended = &mut serving => ended.context("the HTTP server").and_then(|served| served.context("serving HTTP")),
            ended = admin => ended.context("the admin server").and_then(|served| served),
            why = self.died() => Err(anyhow::anyhow!("the replica has stopped: {why}")),
        };
        self.drain(http_stop, serving).await;
        ended
    }

    /// Lets balancers and peers know, hands leadership over, finishes requests in flight.
    async fn drain(
        &self,
        http_stop: CancellationToken,
        serving: tokio::task::JoinHandle<std::io::Result<()>>,
    ) {
        notify(&[sd_notify::NotifyState::Stopping]);
        self.draining.send_replace(true);
        if self.replica.status().role == Role::Leader && self.replica.status().voters.len() > 1 {
            let handed_over =
                tokio::time::timeout(Duration::from_secs(5), self.replica.transfer_leader(None));
            match handed_over.await {
                Ok(Ok(())) => tracing::info!("handed leadership over"),
                Ok(Err(error)) => tracing::warn!(%error, "could not hand leadership over"),
                Err(_) => tracing::warn!("handing leadership over took too long"),
            }
        }
        http_stop.cancel();
        if !serving.is_finished()
            && let Ok(Err(error)) = serving.await
        {
            tracing::warn!(%error, "the HTTP server ended badly");
        }
    }

    async fn died(&self) -> String {
        let mut status = self.replica.watch();
        match status.wait_for(|status| status.stopped.is_some()).await {
            Ok(status) => status.stopped.clone().unwrap_or_default(),
            Err(_) => "its status is gone".to_owned(),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.gossip.stop().await;
        self.replica.stop().await;
        self.network.close().await;
        let Stores { log, state } = self.stores;
        let closed = tokio::task::spawn_blocking(move || {
            // So that the next start, which may be another version's, has nothing to apply again.
            if let Err(error) = state.make_durable() {
                tracing::error!(%error, "writing the state; the next start applies its end again");
            }
            drop(state);
            log.close()
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "closing the log"),
            Err(error) => tracing::error!(%error, "closing the stores"),
        }
        tracing::info!("stopped");
    }

    fn http_parts(
        &self,
        config: &Config,
        metrics: metrics_exporter_prometheus::PrometheusHandle,
    ) -> http::Parts {
        http::Parts {
            node: NodeId(self.who.node),
            config: config.clone(),
            data: self.directory.path().to_owned(),
            replica: self.replica.clone(),
            members: self.gossip.members(),
            clock: self.clock.clone(),
            draining: self.draining.subscribe(),
            metrics,
        }
    }

    fn admin(&self) -> admin::server::Admin {
        admin::server::Admin {
            cluster_id: self.who.cluster_id.clone(),
            me: NodeId(self.who.node),
            replica: self.replica.clone(),
            members: self.gossip.members(),
            reserve: self.reserve.clone(),
            clock: self.clock.clone(),
            ca_certificate: self.who.ca_certificate.0.clone(),
            address: self.address.to_string(),
            draining: self.draining.subscribe(),
        }
    }

    fn spawn_background(&self, config: &Config, http: SocketAddr, front: &http::Front) {
        let background = Background {
            me: NodeId(self.who.node),
            address: self.address,
            replica: self.replica.clone(),
            network: self.network.clone(),
            directory: self.directory.clone(),
            members: self.gossip.members(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        self.tasks.spawn(background.clone().keep_place());
        self.tasks.spawn(background.clone().follow_plan());
        self.tasks.spawn(background.clone().follow_addresses());
        self.tasks.spawn(background.clone().sweep());
        self.tasks
            .spawn(background.clone().report(self.stores.state.clone()));
        self.tasks
            .spawn(background.sweep_blobs(front.sweeper.clone()));
        let url = config
            .http
            .advertise_url
            .clone()
            .or_else(|| config.api.public_url.clone())
            .unwrap_or_else(|| format!("http://{http}"));
        self.tasks.spawn(
            Teller {
                gossip: self.gossip.clone(),
                replica: self.replica.clone(),
                reserve: self.reserve.clone(),
                load: front.load.clone(),
                clock: self.clock.clone(),
                http_url: url,
                zone: self.who.zone.clone(),
                draining: self.draining.subscribe(),
                stop: self.stop.clone(),
            }
            .run(),
        );
    }
}

/// What a node answers to beside its replica's services.
fn own_services(admission: &Admission) -> [(Service, Arc<dyn Handler>); 3] {
    let hello = Hello {
        replica: admission.replica.clone(),
    };
    let seal = Seal {
        cluster_id: admission.cluster_id.clone(),
        replica: admission.replica.clone(),
        directory: admission.directory.clone(),
    };
    [
        (ADMIT, Arc::new(admission.clone())),
        (HELLO, Arc::new(hello)),
        (SEAL, Arc::new(seal)),
    ]
}

fn replica_options(config: &Config, who: &Who) -> ReplicaOptions {
    ReplicaOptions {
        timing: Timing {
            heartbeat_ms: config.raft.heartbeat_ms,
            election_min_ms: config.raft.election_min_ms,
            election_max_ms: config.raft.election_max_ms,
            ..Timing::lan()
        },
        limits: Limits {
            snapshot_entries: config.raft.snapshot_entries,
            keep_entries: config.raft.keep_entries,
            ..Limits::default()
        },
        ..ReplicaOptions::new(NodeId(who.node))
    }
}

async fn start_gossip(config: &Config, who: &Who, network: Arc<dyn Network>) -> Result<Gossip> {
    let seeds = who
        .peers()
        .into_iter()
        .map(|(_, address)| address)
        .collect();
    let generation = SystemClock.now().0;
    Gossip::start(
        gossip::Options {
            cluster_id: who.cluster_id.clone(),
            interval: Duration::from_millis(config.cluster.gossip_interval_ms),
            seeds,
            generation,
            ..Default::default()
        },
        network,
    )
    .await
    .context("starting gossip")
}

/// Returns at the first SIGTERM or SIGINT; a second one ends the process at once.
pub(crate) async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be awaited");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be awaited");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
}

fn notify(states: &[sd_notify::NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "telling the service manager");
    }
}
