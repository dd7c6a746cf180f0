//! What all requests share: the parts of the node that this floor knows, and its own limits.
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gossip::members::Members;
use media::child::Studio;
use metrics_exporter_prometheus::PrometheusHandle;
use model::id::NodeId;
use raft::clock::Clock;
use raft::replica::Replica;
use storage::blob::Blobs;
use tokio::sync::watch;

use crate::arrivals::Arrivals;
use crate::base::Base;
use crate::body::Drain;
use crate::front::FrontPages;
use crate::head::FeedHead;
use crate::limit::Limiter;
use crate::meter::Meters;
use crate::options::{Invalid, Options, Understood};
use crate::password::Hasher;
use crate::picture::Pictures;
use crate::seam::{Blocking, Random};
use crate::upload::Intake;

/// What the API stands on.
#[derive(Clone)]
pub struct Parts {
    /// This node.
    pub node: NodeId,
    pub replica: Replica,
    pub blobs: Arc<dyn Blobs>,
    pub members: watch::Receiver<Arc<Members>>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub blocking: Arc<dyn Blocking>,
    /// For password hashes, as many at once as the options say.
    pub hashing: Arc<dyn Blocking>,
    /// Who looks at uploaded videos.
    pub studio: Studio,
    /// An own directory for uploads under way. What is in it is deleted at the start.
    pub spool: PathBuf,
    /// Is there room for uploads on the spool's disk?
    pub room: Arc<dyn Fn() -> bool + Send + Sync>,
    pub metrics: PrometheusHandle,
    /// True once this node is going away: `/readyz` says no.
    pub draining: watch::Receiver<bool>,
    /// Counts the requests in flight.
    pub load: Load,
}

/// How many requests are in flight. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicU64>);

impl Load {
    /// Requests whose answer is not sent to its end.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self) -> InFlight {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight(Load);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The shared state of all handlers.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) understood: Understood,
    pub(crate) parts: Parts,
    pub(crate) hasher: Hasher,
    pub(crate) limiter: Limiter,
    pub(crate) drain: Drain,
    pub(crate) pictures: Pictures,
    pub(crate) intake: Intake,
    pub(crate) feed_head: FeedHead,
    pub(crate) front_pages: FrontPages,
    pub(crate) meters: Meters,
    pub(crate) arrivals: Arrivals,
}

impl App {
    pub(crate) fn new(options: Options, parts: Parts) -> Result<Self, Invalid> {
        let understood = options.understand()?;
        let hasher = Hasher::new(
            &options.password,
            Arc::clone(&parts.hashing),
            &*parts.random,
        )?;
        Ok(Self(Arc::new(Inner {
            understood,
            hasher,
            limiter: Limiter::new(&options.limits),
            drain: Drain::default(),
            pictures: Pictures::new(
                parts.studio.clone(),
                &options.upload,
                Arc::clone(&parts.blocking),
            ),
            intake: Intake::new(&options.upload, &parts.spool)?,
            feed_head: FeedHead::default(),
            front_pages: FrontPages::default(),
            meters: Meters::default(),
            arrivals: Arrivals::default(),
            options,
            parts,
        })))
    }

    /// What absolute URLs begin with, for a client that used `own` to get here.
    pub(crate) fn media_base(&self, own: Option<Base>) -> Base {
        let configured = self
            .understood
            .cdn
            .as_ref()
            .or(self.understood.public.as_ref());
        configured
            .cloned()
            .or(own)
            .or_else(|| self.told_base())
            .unwrap_or_else(Base::localhost)
    }

    /// What this node tells the others about where it is.
    fn told_base(&self) -> Option<Base> {
        let members = self.parts.members.borrow();
        let (_, me) = members
            .iter()
            .find(|(peer, _)| peer.0 == self.parts.node.0)?;
        Base::parse(&me.told.http_url).ok()
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
