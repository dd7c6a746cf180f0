//! Questions to openraft that are asked to their end.
//!
//! Whoever is told nothing by openraft's core because it has died waits for the core's task to end,
//! so as to say why, and openraft does not bear that this one wait is given up: all others who wait
//! panic then, and whoever asks later does. Callers do give up: their time is over, their
//! connection is gone, another node leads. So what they leave behind while the core dies is
//! finished by a task; at any other time it is dropped as usual.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::runtime::Handle;

use crate::types::Raft;

/// Asks `raft` something that may be given up at any time.
pub(crate) fn whole<F>(raft: &Raft, question: F) -> impl Future<Output = F::Output> + Send + use<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    let raft = raft.clone();
    Whole {
        question: Some(Box::pin(question)),
        is_dying: move || is_dying(&raft),
    }
}

/// Has the core ended, or is it about to?
fn is_dying(raft: &Raft) -> bool {
    let mut metrics = raft.metrics();
    let has_error = metrics.borrow_and_update().running_state.is_err();
    // The sender goes with the core, also when that panics.
    has_error || matches!(metrics.changed().now_or_never(), Some(Err(_)))
}

struct Whole<F, D>
where
    F: Future<Output: Send> + Send + 'static,
    D: Fn() -> bool,
{
    question: Option<Pin<Box<F>>>,
    is_dying: D,
}

impl<F, D> Future for Whole<F, D>
where
    F: Future<Output: Send> + Send + 'static,
    D: Fn() -> bool + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let question = self.question.as_mut().expect("nobody polls what is done");
        let output = std::task::ready!(question.as_mut().poll(context));
        self.question = None;
        Poll::Ready(output)
    }
}

impl<F, D> Drop for Whole<F, D>
where
    F: Future<Output: Send> + Send + 'static,
    D: Fn() -> bool,
{
    fn drop(&mut self) {
        let Some(question) = self.question.take() else {
            return;
        };
        // Without a runtime everything ends, and nobody is left to panic.
        if (self.is_dying)()
            && let Ok(runtime) = Handle::try_current()
        {
            // Ends with the core's task, which is about to.
            runtime.spawn(question);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Gives a question up after its first poll; was it finished all the same?
    async fn is_finished(is_dying: bool) -> bool {
        let (ended, has_ended) = oneshot::channel();
        let (go, may_go) = oneshot::channel::<()>();
        let question = async move {
            may_go.await.expect("it may go on");
            ended.send(()).expect("somebody looks");
        };
        let mut asked = Whole {
            question: Some(Box::pin(question)),
            is_dying: move || is_dying,
        };
        assert!((&mut asked).now_or_never().is_none());
        drop(asked);
        // Fails when the question is gone.
        let _ = go.send(());
        has_ended.await.is_ok()
    }

    #[tokio::test]
    async fn what_is_given_up_while_the_core_dies_is_finished() {
        assert!(is_finished(true).await);
        assert!(!is_finished(false).await);
    }

    #[tokio::test]
    async fn an_answer_comes_through() {
        let asked = Whole {
            question: Some(Box::pin(async { 7 })),
            is_dying: || true,
        };
        assert_eq!(asked.await, 7);
    }
}
