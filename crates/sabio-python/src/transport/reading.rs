//! Pausing and resuming what is read, for every transport over a descriptor that reads (asyncio: `ReadTransport`).

use std::cell::Cell;

use pyo3::prelude::*;

use super::receive::Amount;
use super::shared::{Transport, log_debug};
use crate::ffi::{MethodTable, Ref};

/// A kind of transport that reads.
pub(crate) trait Reading: Transport {
    /// Whether the protocol, or whoever stands for it, wants no data.
    fn reading_paused(&self) -> &Cell<bool>;

    /// What is expected of the next read.
    fn expected(&self) -> &Cell<Amount>;

    /// Reading goes on after a pause.
    fn resumed(_slf: &Ref<Self>) {}

    /// Neither paused nor closing.
    fn is_reading(&self) -> bool {
        !self.reading_paused().get() && !self.shared().closing.get()
    }
}

/// `pause_reading()`.
///
/// # Errors
/// OSError of the poller.
pub(crate) fn pause<T: Reading>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if !slf.is_reading() {
        return Ok(());
    }
    slf.reading_paused().set(true);
    T::update_interest(slf, py)?;
    log_debug(slf, py, "%r pauses reading")
}

/// `resume_reading()`.
///
/// # Errors
/// OSError of the poller.
pub(crate) fn resume<T: Reading>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if slf.shared().closing.get() || !slf.reading_paused().replace(false) {
        return Ok(());
    }
    T::update_interest(slf, py)?;
    T::resumed(slf);
    log_debug(slf, py, "%r resumes reading")
}

/// The methods of asyncio's read transports.
pub(super) fn define<T: Reading>(table: &mut MethodTable<T>) {
    table
        .fast_noargs(
            c"pause_reading",
            c"pause_reading($self, /)\n--\n\nStop reading until resume_reading() is called.",
            pause::<T>,
        )
        .fast_noargs(
            c"resume_reading",
            c"resume_reading($self, /)\n--\n\nGo on reading.",
            resume::<T>,
        )
        .fast_noargs(
            c"is_reading",
            c"is_reading($self, /)\n--\n\nWhether the transport reads: neither paused nor closing.",
            |slf, _py| Ok(slf.is_reading()),
        )
        .getter(c"_paused", c"Whether reading is paused.", |slf, _py| {
            Ok(slf.reading_paused().get())
        })
        .attribute(
            c"max_size",
            c"The most that one read gives, in bytes.",
            |slf, _py| Ok(slf.expected().get().max_size()),
            |slf, max_size| {
                slf.expected().set(Amount::limited(max_size)?);
                Ok(())
            },
        );
}
