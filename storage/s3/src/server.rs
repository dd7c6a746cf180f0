//! The listener: who may talk, how many, and how it ends.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clean::{UPLOAD_AGE_MAX, clean};
use crate::disk::{Disk, SystemDisk};
use crate::durable::Durable;
use crate::faults::Faults;

/// Requests in flight may end within this time when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client has so long for the headers of a request.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

/// How to run the server.
#[derive(Clone)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Created if missing; one server at a time.
    pub dir: PathBuf,
    pub access_key: String,
    pub secret_key: String,
    /// Created if missing.
    pub buckets: Vec<String>,
    /// Further clients wait in the system's queue.
    pub connections_max: usize,
    pub disk: Arc<dyn Disk>,
    /// For tests.
    pub faults: Option<Faults>,
}

impl Default for Options {
    /// A free port on loopback; directory and keys have no default.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            dir: PathBuf::new(),
            access_key: String::new(),
            secret_key: String::new(),
            buckets: Vec::new(),
            connections_max: 256,
            disk: Arc::new(SystemDisk),
            faults: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("dir", &self.dir)
            .field("access_key", &self.access_key)
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the S3 server needs an access key and a secret key of at least one character")]
    NoKeys,
    #[error(
        "{name:?} can't be the name of a bucket: use 3 to 63 lower-case letters, digits, '-' and '.'"
    )]
    BucketName { name: String },
    #[error("the S3 server can't use its directory {dir}: {why}")]
    Dir { dir: String, why: String },
    #[error("the S3 server can't listen on {listen}: {why}; choose another address or port")]
    Listen {
        listen: SocketAddr,
        why: std::io::Error,
    },
}

/// A running server. Dropping it stops it without waiting for anybody.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: DropGuard,
    accepting: JoinHandle<()>,
    tasks: TaskTracker,
}

impl Server {
    /// Opens the directory, removes what an earlier run left there, creates the buckets, listens.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if options.access_key.is_empty() || options.secret_key.is_empty() {
            return Err(Error::NoKeys);
        }
        if let Some(name) = options
            .buckets
            .iter()
            .find(|name| !s3s::path::check_bucket_name(name))
        {
            return Err(Error::BucketName { name: name.clone() });
        }
        let dir = options.dir.clone();
        let refused = |why: String| Error::Dir {
            dir: dir.display().to_string(),
            why,
        };
        let prepared = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || prepare(&options)).await
        };
        let root = prepared
            .map_err(|error| refused(error.to_string()))?
            .map_err(|error| refused(error.to_string()))?;
        let store =
            Durable::new(&root, options.disk).map_err(|error| refused(format!("{error:?}")))?;
        let tasks = store.tasks.clone();
        let mut builder = S3ServiceBuilder::new(store);
        builder.set_auth(SimpleAuth::from_single(
            options.access_key,
            options.secret_key,
        ));
        let service = builder.build();

        let listen = options.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|why| Error::Listen { listen, why })?;
        let addr = listener
            .local_addr()
            .map_err(|why| Error::Listen { listen, why })?;
        tracing::info!(%addr, dir = %root.display(), buckets = ?options.buckets, "S3 server listens");
        let stop = CancellationToken::new();
        let places = Arc::new(Semaphore::new(options.connections_max.max(1)));
        let accepting = tokio::spawn(accept(
            listener,
            places,
            service,
            options.faults,
            stop.clone(),
        ));
        Ok(Self {
            addr,
            stop: stop.drop_guard(),
            accepting,
            tasks,
        })
    }

    /// Takes no further requests, lets those in flight end for up to 10 s, and returns when nothing
    /// is written any more.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the S3 server's listener failed");
        }
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the S3 server stopped while its disk was still busy");
        }
    }
}

/// Opens the directory; returns its canonical path. Blocking.
fn prepare(options: &Options) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(&options.dir)?;
    let root = options.dir.canonicalize()?;
    for bucket in &options.buckets {
        let bucket = root.join(bucket);
        std::fs::create_dir_all(&bucket)?;
        options.disk.sync(&bucket)?;
    }
    let cleaned = clean(&root, UPLOAD_AGE_MAX)?;
    options.disk.sync(&root)?;
    if cleaned != Default::default() {
        tracing::info!(
            ?cleaned,
            "removed what an earlier run of the S3 server left behind"
        );
    }
    Ok(root)
}

async fn accept(
    listener: TcpListener,
    places: Arc<Semaphore>,
    service: S3Service,
    faults: Option<Faults>,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            stream = next(&listener, &places) => stream,
        };
        let Some((stream, place)) = stream else {
            continue;
        };
        let (service, faults) = (service.clone(), faults.clone());
        let serve = service_fn(move |request| handle(service.clone(), faults.clone(), request));
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE);
        let connection = builder
            .serve_connection(TokioIo::new(stream), serve)
            .into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                // Clients leave when they like.
                tracing::debug!(%error, "an S3 connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(PATIENCE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "S3 requests were cut off: they took too long"
        );
    }
    connections.shutdown().await;
}

/// The next client, once there is a place for one.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small and urgent; without it they wait for the next packet.
            stream.set_nodelay(true).ok()?;
            Some((stream, place))
        }
        Err(error) => {
            // Out of descriptors, mostly: give those that have some a moment to end.
            tracing::warn!(%error, "the S3 server can't accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn handle(
    service: S3Service,
    faults: Option<Faults>,
    request: Request<Incoming>,
) -> Result<s3s::HttpResponse, s3s::HttpError> {
    let fault = faults.and_then(|faults| {
        let fault = faults.take(request.method(), request.uri())?;
        Some((faults, fault))
    });
    let answer = Service::call(&service, request);
    match fault {
        Some((faults, fault)) => faults.apply(fault, answer).await,
        None => answer.await,
    }
}
