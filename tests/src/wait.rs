//! Waiting for a condition, with a deadline.
use std::time::{Duration, Instant};

/// Looks again after this long.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `condition` gives something.
///
/// # Panics
/// When it gave nothing `within` the time: says `what` was awaited.
pub async fn until<T, F>(what: &str, within: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            begun.elapsed() < within,
            "waited {} s in vain for: {what}",
            within.as_secs()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
