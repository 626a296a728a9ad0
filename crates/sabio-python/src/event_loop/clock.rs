//! The loop's clock: the system's, unless a program has put a `time()` of its own in its place.
//!
//! Tests do so to have hours pass at once, by a subclass or by an attribute of the loop. Timers follow that clock then,
//! as they do in asyncio. Whether there is one is found out where it can come about: when a loop is made, when its
//! attribute is set or deleted, and when it begins to run. So nobody who has none pays for it.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::Nanos;

use super::replaced::is_replaced;
use super::{Loop, PUBLIC};
use crate::ffi::{Ref, call_method};
use crate::names::names;

/// Whether a loop goes by a `time()` of the program's own.
pub(super) struct Clock {
    is_own: Cell<bool>,
}

impl Clock {
    /// The clock of a new instance of `class`.
    pub(super) fn of(class: &Bound<'_, PyType>) -> PyResult<Clock> {
        let public = PUBLIC.get(class.py())?.bind(class.py());
        let is_own = !class.is(public) && !class.getattr("time")?.is(&public.getattr("time")?);
        Ok(Clock {
            is_own: Cell::new(is_own),
        })
    }
}

/// The time since the system's clock started, in seconds, as `loop.time()` gives it.
#[inline]
pub(crate) fn time() -> f64 {
    Nanos::now().as_secs_f64()
}

impl Loop {
    /// `loop.time()` in seconds, whosever it is. What a `time()` of the program's own raises.
    #[inline]
    pub(crate) fn time(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<f64> {
        if slf.has_own_clock() {
            own_time(slf, py)
        } else {
            Ok(time())
        }
    }

    /// Whether `loop.time()` is the program's own and not the system's clock.
    #[inline]
    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock.is_own.get()
    }
}

#[cold]
#[inline(never)]
fn own_time(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<f64> {
    let shown = call_method(py, slf.as_obj(), &names(py)?.time, &[])?;
    shown.bind(py).extract()
}

/// What a clock of the program's own shows, as deadlines are kept: one of `when` seconds is over if it shows as much.
#[cold]
#[inline(never)]
pub(super) fn own_now(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Nanos> {
    Ok(Nanos::at_or_after(own_time(slf, py)?))
}

/// Finds out whose `time()` the loop has now.
pub(super) fn find(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    slf.clock.is_own.set(is_replaced(slf, py, &names(py)?.time)?);
    Ok(())
}
