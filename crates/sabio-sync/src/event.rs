//! A flag that tasks wait for: `asyncio.Event`.
//!
//! Whoever waited when the flag was set is told so, also if it has been cleared again before the
//! task runs.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::waiters::{Place, WaitQueue};

/// A flag, false at first. Clones are the same flag.
#[derive(Clone, Default)]
pub struct Event {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    set: Cell<bool>,
    waiters: WaitQueue,
}

impl Event {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), with a queue that knows the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        let inner = Inner {
            set: Cell::new(false),
            waiters: WaitQueue::with_doomed(doomed),
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// Whether the flag is set.
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.inner.set.get()
    }

    /// Sets the flag and wakes everybody who waits for it, in the order in which they came.
    #[inline]
    pub fn set(&self) {
        if !self.inner.set.replace(true) {
            self.inner.waiters.wake_all();
        }
    }

    /// Clears the flag: from now on tasks wait for the next [`set`](Self::set).
    #[inline]
    pub fn clear(&self) {
        self.inner.set.set(false);
    }

    /// A future that ends when the flag is set; at once if it is set at the first poll.
    pub fn wait(&self) -> WaitForEvent {
        WaitForEvent {
            event: self.clone(),
            place: Place::default(),
        }
    }

    /// [`wait`](Self::wait) for who keeps the place in line as such: polls from there. Every wait ends with
    /// [`leave`](Self::leave).
    #[inline(always)]
    pub fn poll_wait(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        if place.is_outside() && self.is_set() {
            place.finish();
            return Poll::Ready(());
        }
        self.inner.waiters.poll(place, cx)
    }

    /// Gives up a place of [`poll_wait`](Self::poll_wait).
    #[inline]
    pub fn leave(&self, place: &Place) {
        // Whoever was woken was woken with all others: there is nothing to pass on.
        self.inner.waiters.leave(place);
    }

    /// Those who wait.
    #[must_use]
    pub fn waiters(&self) -> &WaitQueue {
        &self.inner.waiters
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiters", &self.inner.waiters.inside())
            .finish()
    }
}

/// The future that [`Event::wait`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct WaitForEvent {
    event: Event,
    place: Place,
}

impl Future for WaitForEvent {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &*self;
        this.event.poll_wait(&this.place, cx)
    }
}

impl Drop for WaitForEvent {
    #[inline]
    fn drop(&mut self) {
        self.event.leave(&self.place);
    }
}

impl fmt::Debug for WaitForEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WaitForEvent").finish_non_exhaustive()
    }
}
