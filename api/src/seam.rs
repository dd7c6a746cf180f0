//! The two seams that only this floor has: randomness, and work that would hold up async threads.
use std::sync::Arc;

use rand::RngCore as _;
use tokio::sync::oneshot;

/// Makes what nobody can guess: tokens, blob keys, salts.
pub trait Random: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);

    /// As [`Random::fill`], for what must not come twice and is no secret: ids of requests.
    fn fill_id(&self, bytes: &mut [u8]) {
        self.fill(bytes);
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes)
            .expect("a system without a random source cannot serve anybody safely");
    }

    /// By a generator of each thread that the system's source feeds: asking the system for every
    /// request costs more than looking a profile up.
    fn fill_id(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// As many random bytes as asked for.
pub(crate) fn random<const N: usize>(source: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    source.fill(&mut bytes);
    bytes
}

/// As many random bytes as asked for, for an id.
pub(crate) fn id<const N: usize>(source: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    source.fill_id(&mut bytes);
    bytes
}

/// Runs work that blocks or computes for long: password hashes, decoding, long lists.
pub trait Blocking: Send + Sync + 'static {
    /// Starts `work` away from the async threads.
    fn start(&self, work: Box<dyn FnOnce() + Send>);
}

/// Tokio's pool of blocking threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadPool;

impl Blocking for ThreadPool {
    fn start(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// A thread for each piece of work, at a low priority: whatever else this node does goes first.
///
/// For long computations of which few run at once, since nothing here bounds their number.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuietThreads;

/// How much more patient than others a thread is (`nice`). It still gets about a tenth of what an
/// ordinary thread gets on a processor that both want all the time.
const PATIENCE: i32 = 10;

impl Blocking for QuietThreads {
    fn start(&self, work: Box<dyn FnOnce() + Send>) {
        let quiet = move || {
            // On Linux this is of the thread alone.
            if let Err(error) = rustix::process::nice(PATIENCE) {
                tracing::debug!(%error, "work that should wait for others does not");
            }
            work();
        };
        let started = std::thread::Builder::new()
            .name("quiet".to_owned())
            .spawn(quiet);
        // Who waits for the work is told that it was given up.
        if let Err(error) = started {
            tracing::error!(%error, "a thread could not be started");
        }
    }
}

/// The work panicked, no thread could be started for it, or the pool is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was given up")]
pub(crate) struct GivenUp;

/// Runs `work` on `blocking` and waits for its result.
pub(crate) async fn run<T: Send + 'static>(
    blocking: &Arc<dyn Blocking>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    let (done, result) = oneshot::channel();
    // A receiver that is gone belongs to a request that was given up: nobody wants the result.
    blocking.start(Box::new(move || drop(done.send(work()))));
    result.await.map_err(|_| GivenUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_its_result_or_that_it_was_given_up() {
        let pool: Arc<dyn Blocking> = Arc::new(ThreadPool);
        assert_eq!(run(&pool, || 6 * 7).await, Ok(42));
        assert_eq!(
            run(&pool, || panic!("on purpose")).await,
            Err::<(), _>(GivenUp)
        );
    }

    #[tokio::test]
    async fn quiet_work_goes_behind_other_work_and_nothing_else_does() {
        let quiet: Arc<dyn Blocking> = Arc::new(QuietThreads);
        let patience = || rustix::process::nice(0).unwrap();
        let own = patience();
        let most = 19;
        assert_eq!(run(&quiet, patience).await, Ok((own + PATIENCE).min(most)));
        assert_eq!(patience(), own);
        assert_eq!(
            run(&quiet, || panic!("on purpose")).await,
            Err::<(), _>(GivenUp)
        );
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>(&SystemRandom), random::<16>(&SystemRandom));
    }
}
