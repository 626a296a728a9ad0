//! The first of two futures to finish; the other one is dropped, which cancels it.
//!
//! Callers put a timeout or a cancellation beside an operation with it. The first argument is
//! polled first, so it wins when both are ready: an answer that came in time beats its timeout.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Which of the two futures of a [`race`] finished, with its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first argument finished first, or both were ready at once.
    First(A),
    /// The second argument finished first.
    Second(B),
}

/// Polls `a`, then `b`, until one of them is ready. Both are dropped before this returns.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let mut a = pin!(a);
    let mut b = pin!(b);
    poll_fn(|cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        b.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
