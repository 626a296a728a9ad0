//! How long one descriptor is read from before the others have their turn.
//!
//! As a rule that is one read: less than could have come means that the descriptor is drained, and otherwise the poller
//! says so again. A read that gave as much as could come is followed by another one in the same turn, because a sender
//! that is held up by the receiver costs the kernel more than one that finds room (`docs/design/reads.md`). The
//! descriptors that are readable in a turn share the time for that, so a busy peer cannot keep the others waiting.
//!
//! Between two reads the transport looks again whether, how and for whom it is to read: the protocol may have changed
//! everything.

use sabio_reactor::Nanos;

use super::receive::LARGE;
use crate::event_loop::Loop;

/// So long full reads are followed by others, in all the descriptors of a turn together: what the receive buffer of one
/// connection may hold is read in this time, and a timer that is due meanwhile is hardly late.
const SHARED: u64 = 2_000_000;

/// The reads of one descriptor in one turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Whether the last read gave as much as it could.
    full: bool,
    /// When the time is over; not known before a full read.
    end: Option<Nanos>,
}

impl Turn {
    /// A read gave `size` bytes, where `most` would have had room. Small memory says nothing about how much there is.
    #[inline]
    pub(super) fn read(&mut self, size: usize, most: usize) {
        self.full = size == most && size >= LARGE;
    }

    /// Whether to read once more, after each read.
    #[inline]
    pub(super) fn goes_on(&mut self, event_loop: &Loop) -> bool {
        std::mem::take(&mut self.full) && self.is_time(event_loop)
    }

    #[inline(never)]
    fn is_time(&mut self, event_loop: &Loop) -> bool {
        let now = Nanos::now();
        let share = SHARED / u64::from(event_loop.readable().max(1));
        now < *self.end.get_or_insert(Nanos(now.0.saturating_add(share)))
    }
}
