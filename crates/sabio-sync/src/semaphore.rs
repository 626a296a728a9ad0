//! A number of permits that tasks take and give back: `asyncio.Semaphore`.
//!
//! A permit that is given back goes to the first in line, at once and not only when that task runs:
//! the count of free permits never includes it. A newcomer takes a free permit only if nobody is in
//! line, but for those who are cancelled. No permit is lost: a task that was given one and is
//! cancelled before it runs gives it on.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::waiters::{Departure, Place, WaitQueue};

/// A semaphore. Clones are the same semaphore.
#[derive(Clone)]
pub struct Semaphore {
    state: Rc<SemaphoreState>,
}

/// The semaphore itself, for who has a place of its own for it.
pub struct SemaphoreState {
    value: Cell<u64>,
    waiters: WaitQueue,
}

impl Semaphore {
    /// So many permits that never run out: taking and giving back does not change them.
    pub const UNLIMITED: u64 = SemaphoreState::UNLIMITED;

    /// A semaphore with `value` free permits.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self {
            state: Rc::new(SemaphoreState::with_doomed(value, |_| false)),
        }
    }

    /// A future that takes a permit. It acts, and gets in line, when it is first polled.
    pub fn acquire(&self) -> AcquireSemaphore {
        AcquireSemaphore {
            semaphore: self.clone(),
            place: Place::default(),
        }
    }
}

impl Deref for Semaphore {
    type Target = SemaphoreState;

    #[inline]
    fn deref(&self) -> &SemaphoreState {
        &self.state
    }
}

impl SemaphoreState {
    /// See [`Semaphore::UNLIMITED`].
    pub const UNLIMITED: u64 = u64::MAX;

    /// A semaphore with `value` free permits, which passes over the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub const fn with_doomed(value: u64, doomed: fn(&Waker) -> bool) -> Self {
        Self {
            value: Cell::new(value),
            waiters: WaitQueue::with_doomed(doomed),
        }
    }

    /// How many permits are free. Some of them may be on the way to tasks that have not run yet.
    #[must_use]
    #[inline]
    pub fn value(&self) -> u64 {
        self.value.get()
    }

    /// Changes the number of free permits, without waking anybody.
    pub fn set_value(&self, value: u64) {
        self.value.set(value);
    }

    /// Whether a newcomer would have to wait.
    #[must_use]
    #[inline]
    pub fn locked(&self) -> bool {
        self.value() == 0 || self.waiters.is_contended()
    }

    /// Takes a permit, if that can be done without waiting and without jumping the line.
    #[must_use]
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let free = !self.locked();
        if free {
            self.add(-1);
        }
        free
    }

    /// [`Semaphore::acquire`] for who keeps the place in line as such: polls from there. Every wait ends with
    /// [`leave`](Self::leave).
    #[inline(always)]
    pub fn poll_acquire(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        if place.is_outside() && self.try_acquire() {
            place.finish();
            return Poll::Ready(());
        }
        if self.waiters.poll(place, cx).is_pending() {
            return Poll::Pending;
        }
        self.hand_out_all();
        Poll::Ready(())
    }

    /// Gives up a place of [`poll_acquire`](Self::poll_acquire), and passes on what it stood for.
    #[inline]
    pub fn leave(&self, place: &Place) {
        match self.waiters.leave(place) {
            Departure::Outside => return,
            Departure::Waiting => {}
            Departure::Woken | Departure::WokenWithAll => self.add(1),
        }
        self.hand_out_all();
    }

    /// Gives a permit back: to the first in line, if there is anybody.
    #[inline]
    pub fn release(&self) {
        self.add(1);
        self.hand_out();
    }

    /// Those in line.
    #[must_use]
    pub fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }

    #[inline]
    fn add(&self, change: i64) {
        let value = self.value();
        if value != Self::UNLIMITED {
            self.set_value(value.saturating_add_signed(change));
        }
    }

    /// Gives one free permit to the first in line; `false` if nobody is.
    #[inline]
    fn hand_out(&self) -> bool {
        // Taken off before the wake-up, which may run foreign code, and put back if it is not wanted.
        self.add(-1);
        let woken = self.waiters.wake_one();
        if !woken {
            self.add(1);
        }
        woken
    }

    /// Newcomers had to get in line behind a task that has left it now: gives out what is free.
    fn hand_out_all(&self) {
        while self.value() > 0 && self.hand_out() {}
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(formatter)
    }
}

impl fmt::Debug for SemaphoreState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Semaphore")
            .field("value", &self.value())
            .field("waiters", &self.waiters.inside())
            .finish()
    }
}

/// The future that [`Semaphore::acquire`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireSemaphore {
    semaphore: Semaphore,
    /// Inside from the first poll that had to wait until a permit is taken.
    place: Place,
}

impl Future for AcquireSemaphore {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &*self;
        this.semaphore.poll_acquire(&this.place, cx)
    }
}

impl Drop for AcquireSemaphore {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.leave(&self.place);
    }
}

impl fmt::Debug for AcquireSemaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AcquireSemaphore").finish_non_exhaustive()
    }
}
