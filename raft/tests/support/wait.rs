//! Waiting for conditions, never for time.
use std::future::Future;
use std::time::Duration;

use crate::replica::{Replica, Status};

/// More than anything here takes; with paused time it costs nothing.
const LONG: Duration = Duration::from_secs(60);

/// Waits until the replica's status is as wished.
pub(crate) async fn until(what: &str, replica: &Replica, is_so: impl Fn(&Status) -> bool) {
    let mut status = replica.watch();
    let waiting = status.wait_for(|status| is_so(status));
    if tokio::time::timeout(LONG, waiting).await.is_err() {
        panic!("never {what}: {:?}", replica.status());
    }
}

/// Asks again and again until the answer is there.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(LONG, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("never {what}"),
    }
}
