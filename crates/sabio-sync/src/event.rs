//! A flag that tasks wait for: `asyncio.Event`.
//!
//! Whoever waited when the flag was set is told so, also if it has been cleared again before the
//! task runs.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::waiters::{Place, WaitQueue};

/// A flag, false at first. Clones are the same flag.
#[derive(Clone, Default)]
pub struct Event {
    state: Rc<EventState>,
}

/// The flag itself, for who has a place of its own for it.
#[derive(Default)]
pub struct EventState {
    set: Cell<bool>,
    waiters: WaitQueue,
}

impl Event {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A future that ends when the flag is set; at once if it is set at the first poll.
    pub fn wait(&self) -> WaitForEvent {
        WaitForEvent {
            event: self.clone(),
            place: Place::default(),
        }
    }
}

impl Deref for Event {
    type Target = EventState;

    #[inline]
    fn deref(&self) -> &EventState {
        &self.state
    }
}

impl EventState {
    /// A flag that is not set, with a queue that knows the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub const fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            set: Cell::new(false),
            waiters: WaitQueue::with_doomed(doomed),
        }
    }

    /// Whether the flag is set.
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Sets the flag and wakes everybody who waits for it, in the order in which they came.
    #[inline]
    pub fn set(&self) {
        if !self.set.replace(true) {
            self.waiters.wake_all();
        }
    }

    /// Clears the flag: from now on tasks wait for the next [`set`](Self::set).
    #[inline]
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// [`Event::wait`] for who keeps the place in line as such: polls from there. Every wait ends with
    /// [`leave`](Self::leave).
    #[inline(always)]
    pub fn poll_wait(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        if place.is_outside() && self.is_set() {
            place.finish();
            return Poll::Ready(());
        }
        self.waiters.poll(place, cx)
    }

    /// Gives up a place of [`poll_wait`](Self::poll_wait).
    #[inline]
    pub fn leave(&self, place: &Place) {
        // Whoever was woken was woken with all others: there is nothing to pass on.
        self.waiters.leave(place);
    }

    /// Those who wait.
    #[must_use]
    pub fn waiters(&self) -> &WaitQueue {
        &self.waiters
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(formatter)
    }
}

impl fmt::Debug for EventState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiters", &self.waiters.inside())
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
