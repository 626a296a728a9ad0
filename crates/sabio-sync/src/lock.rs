//! A lock for tasks: held by at most one, handed on in the order in which they came.
//!
//! The rules are those of `asyncio.Lock`: a newcomer takes a free lock only if nobody is in line,
//! but for those who are cancelled; a release wakes the first in line, which takes the lock when it
//! runs; who leaves the line without the lock wakes the next if the lock is free. So a free lock
//! with somebody in line always has one on the way to it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::waiters::{Departure, Place, WaitQueue};

/// A lock. Clones are the same lock.
#[derive(Clone, Default)]
pub struct Lock {
    state: Rc<LockState>,
}

/// The lock itself, for who has a place of its own for it.
#[derive(Default)]
pub struct LockState {
    locked: Cell<bool>,
    waiters: WaitQueue,
}

/// The lock is not held, so it can not be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAcquired;

impl fmt::Display for NotAcquired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lock is not acquired.")
    }
}

impl std::error::Error for NotAcquired {}

impl Lock {
    /// A lock that nobody holds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), passing over the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            state: Rc::new(LockState::with_doomed(doomed)),
        }
    }

    /// A future that takes the lock. It acts, and gets in line, when it is first polled.
    pub fn acquire(&self) -> AcquireLock {
        AcquireLock {
            lock: self.clone(),
            place: Place::default(),
        }
    }
}

impl Deref for Lock {
    type Target = LockState;

    #[inline]
    fn deref(&self) -> &LockState {
        &self.state
    }
}

impl LockState {
    /// A lock that nobody holds, which passes over the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub const fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            locked: Cell::new(false),
            waiters: WaitQueue::with_doomed(doomed),
        }
    }

    /// Whether somebody holds the lock.
    #[must_use]
    #[inline]
    pub fn locked(&self) -> bool {
        self.locked.get()
    }

    /// Takes the lock, if that can be done without waiting and without jumping the line.
    #[must_use]
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let free = !self.locked.get() && !self.waiters.is_contended();
        if free {
            self.locked.set(true);
        }
        free
    }

    /// [`Lock::acquire`] for who keeps the place in line as such: polls from there. Every wait ends with
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
        // Between the wake-up and this poll nobody else could take it: this task was in line.
        self.locked.set(true);
        Poll::Ready(())
    }

    /// Gives up a place of [`poll_acquire`](Self::poll_acquire), and passes on what it stood for.
    #[inline]
    pub fn leave(&self, place: &Place) {
        if self.waiters.leave(place) != Departure::Outside && !self.locked() {
            self.waiters.wake_first();
        }
    }

    /// Gives the lock back and wakes the first in line.
    ///
    /// # Errors
    /// [`NotAcquired`] if nobody holds the lock.
    #[inline]
    pub fn release(&self) -> Result<(), NotAcquired> {
        if !self.locked.replace(false) {
            return Err(NotAcquired);
        }
        self.waiters.wake_first();
        Ok(())
    }

    /// Those in line.
    #[must_use]
    pub fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(formatter)
    }
}

impl fmt::Debug for LockState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lock")
            .field("locked", &self.locked())
            .field("waiters", &self.waiters.inside())
            .finish()
    }
}

/// The future that [`Lock::acquire`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireLock {
    lock: Lock,
    /// Inside from the first poll that had to wait until the lock is taken.
    place: Place,
}

impl Future for AcquireLock {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &*self;
        this.lock.poll_acquire(&this.place, cx)
    }
}

impl Drop for AcquireLock {
    #[inline]
    fn drop(&mut self) {
        self.lock.leave(&self.place);
    }
}

impl fmt::Debug for AcquireLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AcquireLock").finish_non_exhaustive()
    }
}
