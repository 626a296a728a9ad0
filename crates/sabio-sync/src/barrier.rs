//! A point where a number of tasks wait for each other: `asyncio.Barrier`.
//!
//! It *fills* until all parties wait, then *drains* until all have gone on, and only then fills
//! again; who comes while it drains waits for that. A reset lets those who wait go on with an error
//! and starts anew when the last of them has left; an abort breaks it until somebody resets it.
//!
//! The state changes under a lock with a condition, as in asyncio, so that tasks go on in the order
//! in which they would there.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;

use crate::condition::{Catch, Condition, Monitor};
use crate::lock::Lock;

/// A barrier. Clones are the same barrier.
#[derive(Clone)]
pub struct Barrier {
    inner: Rc<Inner>,
}

struct Inner {
    parties: usize,
    state: Cell<BarrierState>,
    /// How many tasks are inside: they wait, or have not gone on yet.
    count: Cell<usize>,
    lock: Lock,
    changed: Condition,
}

/// What a barrier is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierState {
    /// Tasks wait until all are there.
    Filling,
    /// All were there and go on.
    Draining,
    /// It was reset while tasks waited, and they leave.
    Resetting,
    /// It was aborted.
    Broken,
}

/// Why a task did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The barrier was broken when the task came.
    Before,
    /// The barrier was aborted or reset while the task waited.
    Meanwhile,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "Barrier aborted",
            Self::Meanwhile => "Abort or reset of barrier",
        })
    }
}

impl std::error::Error for Broken {}

impl Barrier {
    /// A barrier for so many tasks, at least one.
    #[must_use]
    pub fn new(parties: usize) -> Self {
        Self::with_doomed(parties, |_| false)
    }

    /// As [`new`](Self::new), passing over the doomed: see
    /// [`WaitQueue::with_doomed`](crate::WaitQueue::with_doomed).
    #[must_use]
    pub fn with_doomed(parties: usize, doomed: fn(&Waker) -> bool) -> Self {
        let inner = Inner {
            parties: parties.max(1),
            state: Cell::new(BarrierState::Filling),
            count: Cell::new(0),
            lock: Lock::with_doomed(doomed),
            changed: Condition::with_doomed(doomed),
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// How many tasks it takes to get through.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.inner.parties
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> BarrierState {
        self.inner.state.get()
    }

    /// How many tasks are inside: they wait, or have not gone on yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.count.get()
    }

    /// How many tasks wait for the others.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        match self.state() {
            BarrierState::Filling => self.count(),
            BarrierState::Draining | BarrierState::Resetting | BarrierState::Broken => 0,
        }
    }

    /// Waits until all parties are there; a number from zero, another one for each of them.
    ///
    /// # Errors
    /// What the task caught, a cancellation for one; inside of that [`Broken`].
    pub async fn wait<C: Catch>(&self, task: &C) -> Result<Result<usize, Broken>, C::Error> {
        let held = Held::acquire(self, task).await?;
        let is_emptying =
            |state: BarrierState| matches!(state, BarrierState::Draining | BarrierState::Resetting);
        self.wait_while(&held, is_emptying).await?;
        if self.state() == BarrierState::Broken {
            return Ok(Err(Broken::Before));
        }
        let index = self.count();
        let _inside = Inside::enter(self);
        if index + 1 == self.inner.parties {
            self.enter_state(BarrierState::Draining);
            return Ok(Ok(index));
        }
        self.wait_while(&held, |state| state == BarrierState::Filling)
            .await?;
        Ok(match self.state() {
            BarrierState::Broken | BarrierState::Resetting => Err(Broken::Meanwhile),
            BarrierState::Filling | BarrierState::Draining => Ok(index),
        })
    }

    /// Back to the start: those who wait go on with an error, and a broken barrier works again.
    ///
    /// # Errors
    /// What the task caught while it waited for the lock.
    pub async fn reset<C: Catch>(&self, task: &C) -> Result<(), C::Error> {
        let _held = Held::acquire(self, task).await?;
        self.enter_state(if self.count() > 0 {
            BarrierState::Resetting
        } else {
            BarrierState::Filling
        });
        Ok(())
    }

    /// Breaks the barrier: those who wait and all who come go on with an error.
    ///
    /// # Errors
    /// What the task caught while it waited for the lock.
    pub async fn abort<C: Catch>(&self, task: &C) -> Result<(), C::Error> {
        let _held = Held::acquire(self, task).await?;
        self.enter_state(BarrierState::Broken);
        Ok(())
    }

    /// Shows the waker of each task that waits: see [`WaitQueue::visit`](crate::WaitQueue::visit).
    pub fn visit(&self, visit: &mut dyn FnMut(&Waker)) {
        self.inner.lock.waiters().visit(visit);
        self.inner.changed.waiters().visit(visit);
    }

    fn enter_state(&self, state: BarrierState) {
        self.inner.state.set(state);
        self.inner.changed.notify_all();
    }

    async fn wait_while<C: Catch>(
        &self,
        held: &Held<'_, C>,
        is_so: impl Fn(BarrierState) -> bool,
    ) -> Result<(), C::Error> {
        while is_so(self.state()) {
            self.inner.changed.wait(held).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Barrier")
            .field("state", &self.state())
            .field("count", &self.count())
            .field("parties", &self.inner.parties)
            .finish()
    }
}

/// A task that is counted; it leaves when this is dropped, and the last one lets the next round in.
struct Inside<'a>(&'a Barrier);

impl Inside<'_> {
    fn enter(barrier: &Barrier) -> Inside<'_> {
        barrier.inner.count.set(barrier.count() + 1);
        Inside(barrier)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let count = self.0.count() - 1;
        self.0.inner.count.set(count);
        if count == 0 {
            let state = match self.0.state() {
                BarrierState::Resetting | BarrierState::Draining => BarrierState::Filling,
                state @ (BarrierState::Filling | BarrierState::Broken) => state,
            };
            self.0.enter_state(state);
        }
    }
}

/// The barrier's lock in the hands of a task, which gives it back when this is dropped.
struct Held<'a, C> {
    lock: &'a Lock,
    task: &'a C,
    held: Cell<bool>,
}

impl<'a, C: Catch> Held<'a, C> {
    async fn acquire(barrier: &'a Barrier, task: &'a C) -> Result<Self, C::Error> {
        let held = Self {
            lock: &barrier.inner.lock,
            task,
            held: Cell::new(false),
        };
        Monitor::acquire(&held).await?;
        Ok(held)
    }
}

impl<C: Catch> Catch for Held<'_, C> {
    type Error = C::Error;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, C::Error>> {
        self.task.catch(future)
    }

    fn is_cancellation(&self, error: &C::Error) -> bool {
        self.task.is_cancellation(error)
    }
}

impl<C: Catch> Monitor for Held<'_, C> {
    fn release(&self) -> Result<(), C::Error> {
        if self.held.replace(false) {
            let _ = self.lock.release();
        }
        Ok(())
    }

    async fn acquire(&self) -> Result<(), C::Error> {
        self.task.catch(self.lock.acquire()).await?;
        self.held.set(true);
        Ok(())
    }

    fn try_acquire(&self) -> bool {
        let taken = self.lock.try_acquire();
        if taken {
            self.held.set(true);
        }
        taken
    }
}

impl<C> Drop for Held<'_, C> {
    fn drop(&mut self) {
        if self.held.replace(false) {
            let _ = self.lock.release();
        }
    }
}
