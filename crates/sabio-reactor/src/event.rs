//! What the poller reports: one readiness event, and the buffer that a wait fills.

use crate::token::Token;

/// How many events one wait reports at most; the rest come with the next one.
pub const CAPACITY: usize = 1024;

/// A descriptor is ready, by the token it was registered under.
///
/// As in asyncio's selectors a hangup or an error counts as readable and as writable: whoever waits
/// learns of it from the call it makes next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The registration that is ready.
    pub token: Token,
    /// A read would not block.
    pub readable: bool,
    /// A write would not block.
    pub writable: bool,
    /// Both directions are shut down (`EPOLLHUP`).
    pub hangup: bool,
    /// An error is pending on the descriptor (`EPOLLERR`).
    pub error: bool,
}

/// A reusable list of events, filled by [`Poller::wait`](crate::sys::Poller::wait).
#[derive(Debug)]
pub struct Events {
    list: Vec<Event>,
}

impl Events {
    /// An empty list with room for [`CAPACITY`] events.
    #[must_use]
    pub fn new() -> Self {
        Self {
            list: Vec::with_capacity(CAPACITY),
        }
    }

    /// The events of the last wait, in the kernel's order.
    pub fn iter(&self) -> std::iter::Copied<std::slice::Iter<'_, Event>> {
        self.list.iter().copied()
    }

    /// The event at `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.list.get(index).copied()
    }

    /// How many events the last wait reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the last wait ended without an event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets the events.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// For backends: appends what the kernel said.
    pub(crate) fn push(&mut self, event: Event) {
        self.list.push(event);
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, Event>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
