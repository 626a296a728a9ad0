//! Waiting for a change under a lock: `asyncio.Condition`.
//!
//! A task that waits gives the lock back meanwhile and holds it again when it goes on, also when it
//! goes on because it was cancelled. A cancelled task notifies another one in its place, which may
//! be one notification too many but never one too few: who waits looks at the state again anyway.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::task::Waker;

use crate::lock::{Lock, LockState};
use crate::waiters::Waiters;

/// How a task learns that it was cancelled while it waits, so that it can put things in order.
///
/// Rust's futures are cancelled by being dropped, and then nothing can be awaited any more. Whoever
/// drives the tasks can do better: `catch` drops only the future that it was given.
pub trait Catch {
    /// What comes instead of the future's output.
    type Error;

    /// Awaits `future`; when the task is cancelled meanwhile, drops it and gives the error.
    fn catch<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Self::Error>>;

    /// Whether the error is a cancellation, which a task that must have its lock back puts off.
    fn is_cancellation(&self, error: &Self::Error) -> bool;
}

/// The lock of a condition, as one task sees it.
pub trait Monitor: Catch {
    /// Gives the lock back.
    ///
    /// # Errors
    /// Whatever the lock has to say against it; the task does not wait then.
    fn release(&self) -> Result<(), Self::Error>;

    /// Takes the lock.
    fn acquire(&self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Takes the lock if that can be done at once.
    fn try_acquire(&self) -> bool;
}

/// Tasks that are dropped when they are cancelled, on a lock that they hold.
impl Catch for Lock {
    type Error = Infallible;

    async fn catch<F: Future>(&self, future: F) -> Result<F::Output, Infallible> {
        Ok(future.await)
    }

    fn is_cancellation(&self, error: &Infallible) -> bool {
        match *error {}
    }
}

impl Monitor for Lock {
    fn release(&self) -> Result<(), Infallible> {
        // Waiting without the lock is an error of the caller's that it can look for itself.
        let _ = LockState::release(self);
        Ok(())
    }

    async fn acquire(&self) -> Result<(), Infallible> {
        Self::acquire(self).await;
        Ok(())
    }

    fn try_acquire(&self) -> bool {
        LockState::try_acquire(self)
    }
}

/// Tasks that wait to be notified. Clones are the same condition.
#[derive(Clone, Default)]
pub struct Condition {
    waiters: Waiters,
}

impl Condition {
    /// A condition for which nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), passing over the doomed: see [`Waiters::with_doomed`].
    #[must_use]
    pub fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            waiters: Waiters::with_doomed(doomed),
        }
    }

    /// Gives the lock back, waits until it is notified, and takes the lock again.
    ///
    /// A future that is dropped while it waits takes the lock back if it is free: the task that it
    /// was part of is about to release it.
    ///
    /// # Errors
    /// The last thing that was caught, after the lock was taken again; or what the lock itself
    /// answered to giving it back or taking it, and then it is not held.
    pub async fn wait<M: Monitor>(&self, monitor: &M) -> Result<(), M::Error> {
        monitor.release()?;
        let retaking = Retaking {
            condition: self,
            monitor,
        };
        let mut wait = self.waiters.wait_alone();
        let mut outcome = monitor.catch(&mut wait).await;
        drop(wait);
        loop {
            match monitor.acquire().await {
                Ok(()) => break,
                Err(error) => {
                    let goes_on = monitor.is_cancellation(&error);
                    outcome = Err(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        std::mem::forget(retaking);
        if outcome.is_err() {
            self.notify(1);
        }
        outcome
    }

    /// Wakes `count` of the tasks that wait, or all if there are fewer. The caller holds the lock,
    /// and each of them goes on when it gets it.
    pub fn notify(&self, count: usize) {
        for _ in 0..count {
            if !self.waiters.wake_one() {
                break;
            }
        }
    }

    /// Wakes everybody who waits now.
    pub fn notify_all(&self) {
        self.notify(self.waiters.len());
    }

    /// Those who wait.
    #[must_use]
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Condition")
            .field("waiters", &self.waiters.inside())
            .finish()
    }
}

/// A task between giving the lock back and having it again.
struct Retaking<'a, M: Monitor> {
    condition: &'a Condition,
    monitor: &'a M,
}

impl<M: Monitor> Drop for Retaking<'_, M> {
    fn drop(&mut self) {
        let _ = self.monitor.try_acquire();
        self.condition.notify(1);
    }
}
