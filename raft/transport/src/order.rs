//! Things that begin in order and then go on side by side.
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::{Either, Ready, ready};

/// A future that has begun: it is done, or at its first wait.
pub type Begun<F> = Either<Ready<<F as Future>::Output>, Pin<Box<F>>>;

/// Lets `future` run up to its first wait, so that what it does until then is done before what the
/// caller does next.
///
/// Without the runtime's budget: with it, a queue with room may tell a busy task to come again, and
/// whoever is begun next would get ahead.
pub async fn begin<F: Future>(future: F) -> Begun<F> {
    let mut future = Box::pin(future);
    let first = poll_fn(|context| {
        let mut whole = tokio::task::unconstrained(future.as_mut());
        Poll::Ready(Pin::new(&mut whole).poll(context))
    });
    match first.await {
        Poll::Ready(output) => Either::Left(ready(output)),
        Poll::Pending => Either::Right(future),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_begins_first_is_first_even_when_the_budget_is_spent() {
        let (sender, mut received) = mpsc::channel(4_096);
        let mut rest = Vec::new();
        // More than a task may do at once.
        for number in 0..1_024_u32 {
            let sender = sender.clone();
            rest.push(
                begin(async move {
                    sender.send(number).await.expect("it is received below");
                    std::future::pending::<()>().await;
                })
                .await,
            );
            assert_eq!(received.try_recv(), Ok(number));
        }
        assert!(rest.iter().all(|it| matches!(it, Either::Right(_))));
    }

    #[tokio::test]
    async fn what_does_not_wait_is_done() {
        assert!(matches!(begin(async { 7 }).await, Either::Left(_)));
        assert_eq!(begin(async { 7 }).await.await, 7);
    }
}
