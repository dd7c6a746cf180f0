//! The floor of a replicated write: HTTP put in, the record in the logs of three processes, synced
//! by a quorum of them, 200 out. No consensus, no state, nothing to read.
//!
//! One process serves HTTP and keeps a log; two followers keep theirs and answer over TCP. Each of
//! the three takes all that has queued since its last sync and syncs once for it. The files are
//! written full of zeros beforehand and used again from the front when they end.
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use anyhow::{Context, Result, bail};
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::oneshot;

use super::web::{Hello, listen_without_delay};

/// A like's size in a log, rounded up.
pub(crate) const RECORD_BYTES: usize = 200;
pub(crate) const REPLICAS: usize = 3;
const LOG_BYTES: u64 = 64 << 20;
const ZEROS: usize = 1 << 20;

/// One replica's file.
struct Log {
    file: File,
    at: u64,
}

impl Log {
    fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        let zeros = vec![0; ZEROS];
        for _ in 0..LOG_BYTES / ZEROS as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    /// Returns when the bytes are on the disk.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let length = bytes.len() as u64;
        if self.at + length > LOG_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += length;
        self.file.sync_data()
    }
}

/// Serves one leader after the other: appends what comes, answers with its length.
pub(crate) fn follow(listen: SocketAddr, log: &Path) -> Result<()> {
    let mut log = Log::open(log)?;
    let listener = TcpListener::bind(listen).context("listening")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        // A look whether somebody listens ends here at once.
        let (mut length, mut bytes) = ([0; 8], Vec::new());
        // Its end is the leader's end.
        while stream.read_exact(&mut length).is_ok() {
            bytes.resize(usize::try_from(u64::from_le_bytes(length))?, 0);
            stream.read_exact(&mut bytes)?;
            log.append(&bytes)?;
            stream.write_all(&length)?;
        }
    }
    Ok(())
}

/// Records on their way.
#[derive(Default)]
struct Pending {
    /// What each replica has not been given yet.
    queued: [Vec<u8>; REPLICAS],
    /// Number of the last record.
    last: u64,
    synced: [u64; REPLICAS],
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

#[derive(Default)]
struct Leader {
    pending: Mutex<Pending>,
    is_work: [Condvar; REPLICAS],
}

impl Leader {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nobody panics under this lock")
    }

    /// Resolves when a quorum has the record on its disks.
    fn put(&self, record: &[u8]) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        let mut pending = self.lock();
        pending.last += 1;
        let number = pending.last;
        for queued in &mut pending.queued {
            queued.extend_from_slice(record);
        }
        pending.waiting.push_back((number, done));
        drop(pending);
        self.is_work.iter().for_each(Condvar::notify_one);
        is_done
    }

    /// One replica's turn, again and again until it fails.
    fn work(
        &self,
        replica: usize,
        mut store: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut pending = self.lock();
            while pending.queued[replica].is_empty() {
                let wait = self.is_work[replica].wait(pending);
                pending = wait.expect("nobody panics under this lock");
            }
            std::mem::swap(&mut bytes, &mut pending.queued[replica]);
            let last = pending.last;
            drop(pending);
            store(&bytes)?;
            self.synced(replica, last);
        }
    }

    fn synced(&self, replica: usize, last: u64) {
        let mut pending = self.lock();
        pending.synced[replica] = last;
        let quorum = quorum(pending.synced);
        let count = pending
            .waiting
            .partition_point(|(number, _)| *number <= quorum);
        let done: Vec<_> = pending.waiting.drain(..count).collect();
        drop(pending);
        for (_, done) in done {
            // A client that has gone needs no answer.
            let _is_awaited = done.send(()).is_ok();
        }
    }
}

/// What a majority has reached.
fn quorum(mut reached: [u64; REPLICAS]) -> u64 {
    reached.sort_unstable();
    reached[REPLICAS / 2]
}

/// Serves `POST /put` until it is killed.
pub(crate) fn lead(listen: SocketAddr, log: &Path, followers: &[SocketAddr]) -> Result<()> {
    if followers.len() != REPLICAS - 1 {
        bail!("needs {} followers", REPLICAS - 1);
    }
    let leader = Arc::new(Leader::default());
    let mut own = Log::open(log)?;
    let worker = Arc::clone(&leader);
    std::thread::spawn(move || report(worker.work(0, |bytes| own.append(bytes))));
    for (number, follower) in followers.iter().enumerate() {
        let mut stream = TcpStream::connect(follower).context("reaching a follower")?;
        stream.set_nodelay(true)?;
        let worker = Arc::clone(&leader);
        let mut store = move |bytes: &[u8]| {
            let length = (bytes.len() as u64).to_le_bytes();
            stream.write_all(&length)?;
            stream.write_all(bytes)?;
            stream.read_exact(&mut [0; 8])
        };
        std::thread::spawn(move || report(worker.work(number + 1, &mut store)));
    }
    let put = move || {
        let leader = Arc::clone(&leader);
        async move {
            match leader.put(&[3; RECORD_BYTES]).await {
                Ok(()) => Ok(Json(Hello::SUCCESS)),
                Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    };
    let router = Router::new().route("/put", post(put));
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(async {
        let listener = listen_without_delay(listen).await?;
        axum::serve(listener, router).await.context("serving")
    })
}

fn report(ended: std::io::Result<()>) {
    if let Err(error) = ended {
        eprintln!("a replica is lost: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_done_when_two_of_three_have_it() {
        let leader = Leader::default();
        let mut first = leader.put(b"a");
        let mut second = leader.put(b"b");
        leader.synced(2, 2);
        assert!(first.try_recv().is_err(), "one is no quorum");
        leader.synced(0, 1);
        assert!(first.try_recv().is_ok());
        assert!(second.try_recv().is_err());
        leader.synced(1, 2);
        assert!(second.try_recv().is_ok());
        assert_eq!(quorum([9, 1, 4]), 4);
    }

    #[test]
    fn a_log_starts_again_from_the_front() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path).unwrap();
        log.append(b"first").unwrap();
        log.at = LOG_BYTES - 2;
        log.append(b"again").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"again"));
        assert_eq!(bytes.len() as u64, LOG_BYTES);
    }
}
