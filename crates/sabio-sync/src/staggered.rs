//! Happy eyeballs (RFC 8305, section 5) without any input or output: attempts that start one after
//! another, each with a head start over the next.
//!
//! `create_connection(happy_eyeballs_delay=...)` runs its connects through here. At any moment
//! every attempt before `started` is running or has failed, and none after it has been polled.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs `attempts` in order, starting the next one when `delay()` has passed since the last start
/// or as soon as the last started one has failed. The first success wins and the other attempts
/// are dropped; if all fail, their errors come back in the order of the attempts.
///
/// # Errors
/// Every attempt's error, in order; an empty list when there was no attempt.
pub async fn staggered_race<F, T, E, D>(attempts: Vec<F>, mut delay: impl FnMut() -> D) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
    D: Future<Output = ()>,
{
    let mut race = Race {
        attempts: attempts
            .into_iter()
            .map(|attempt| Attempt::Running(Box::pin(attempt)))
            .collect(),
        started: 0,
        head_start: None,
    };
    let winner = poll_fn(|cx| race.poll(cx, &mut delay)).await;
    winner.ok_or_else(|| race.into_errors())
}

enum Attempt<F, E> {
    Running(Pin<Box<F>>),
    Failed(E),
}

struct Race<F, E, D> {
    attempts: Vec<Attempt<F, E>>,
    /// How many attempts have been started: a prefix of `attempts`.
    started: usize,
    /// The head start of the last started attempt, while it lasts.
    head_start: Option<Pin<Box<D>>>,
}

impl<F, T, E, D> Race<F, E, D>
where
    F: Future<Output = Result<T, E>>,
    D: Future<Output = ()>,
{
    /// `Some(value)` for the winner, `None` when every attempt has failed.
    ///
    /// There is one waker for all, so each wake-up polls every attempt that still runs: a handful
    /// of addresses of one host.
    fn poll(&mut self, cx: &mut Context<'_>, delay: &mut impl FnMut() -> D) -> Poll<Option<T>> {
        for index in 0..self.started {
            if let Some(value) = self.poll_attempt(index, cx) {
                return Poll::Ready(Some(value));
            }
        }
        while self.started < self.attempts.len() && self.may_start_next(cx) {
            let index = self.started;
            self.started += 1;
            self.head_start = None;
            if let Some(value) = self.poll_attempt(index, cx) {
                return Poll::Ready(Some(value));
            }
            if self.started < self.attempts.len() && self.is_running(index) {
                self.head_start = Some(Box::pin(delay()));
            }
        }
        let all_failed = self.started == self.attempts.len()
            && self
                .attempts
                .iter()
                .all(|attempt| matches!(attempt, Attempt::Failed(_)));
        if all_failed {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Polls one started attempt; its error, if it has one now, takes its place.
    fn poll_attempt(&mut self, index: usize, cx: &mut Context<'_>) -> Option<T> {
        let Attempt::Running(future) = &mut self.attempts[index] else {
            return None;
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(Ok(value)) => Some(value),
            Poll::Ready(Err(error)) => {
                self.attempts[index] = Attempt::Failed(error);
                None
            }
            Poll::Pending => None,
        }
    }

    fn may_start_next(&mut self, cx: &mut Context<'_>) -> bool {
        if self.started == 0 || !self.is_running(self.started - 1) {
            return true;
        }
        match &mut self.head_start {
            Some(head_start) => head_start.as_mut().poll(cx).is_ready(),
            None => false,
        }
    }

    fn is_running(&self, index: usize) -> bool {
        matches!(self.attempts[index], Attempt::Running(_))
    }

    fn into_errors(self) -> Vec<E> {
        let failed = self.attempts.into_iter().filter_map(|attempt| match attempt {
            Attempt::Failed(error) => Some(error),
            Attempt::Running(_) => None,
        });
        failed.collect()
    }
}
