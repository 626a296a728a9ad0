//! Waking the reactor from any thread.
//!
//! However often a [`Waker`] is asked, it makes one write to the reactor's eventfd until the reactor
//! has seen it; `call_soon_threadsafe` in a tight loop costs one system call, not one each.
//!
//! Why no wake-up is lost: whoever calls [`wake`](Waker::wake) has queued its work before, and
//! finds the flag either clear, then it signals, or set, then the reactor has not reset it yet. The
//! reactor empties the eventfd *first* and clears the flag *second*, and looks at the queues only
//! after that: what was queued under a set flag is therefore seen, and a signal that comes after
//! the flag was cleared stays in the eventfd. (The other way round it would empty a signal that
//! belongs to the next round, with the flag left set: nobody would ever signal again.)

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::primitive::{AtomicBool, Ordering};
use crate::sys::EventFd;

/// Ends the reactor's wait, from any thread. Clones wake the same reactor.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Set from the first wake-up until the reactor resets it.
    woken: AtomicBool,
    eventfd: EventFd,
}

impl Waker {
    /// A waker with an eventfd of its own.
    ///
    /// # Errors
    /// Those of eventfd(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        let eventfd = EventFd::new()?;
        Ok(Self {
            shared: Arc::new(Shared {
                woken: AtomicBool::new(false),
                eventfd,
            }),
        })
    }

    /// Ends the wait that is under way, or else the next one. What the caller wrote before is visible to
    /// the reactor's thread after it. Does nothing once the reactor is closed.
    #[inline]
    pub fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.shared.eventfd.signal();
        }
    }

    /// For the reactor's thread, when the waker's event came and before it looks at its queues.
    pub fn reset(&self) {
        self.shared.eventfd.drain();
        self.shared.woken.swap(false, Ordering::AcqRel);
    }

    /// The eventfd's number while it is open, to be registered with a poller.
    #[must_use]
    pub fn descriptor(&self) -> Option<RawFd> {
        self.shared.eventfd.descriptor()
    }

    /// Closes the eventfd, for all clones.
    pub(crate) fn close(&self) {
        self.shared.eventfd.close();
    }

    /// Blocks until the eventfd is readable, in place of a poller.
    #[cfg(loom)]
    pub fn wait_readable(&self) {
        self.shared.eventfd.wait_readable();
    }

    /// How many writes the eventfd got since the last reset.
    #[cfg(loom)]
    pub fn signals(&self) -> u64 {
        self.shared.eventfd.count()
    }
}
