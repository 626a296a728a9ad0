//! Who waits, as the attribute `_waiters` shows it: asyncio has a queue of futures there, and tests look at it.

use pyo3::prelude::*;
use pyo3::types::PyList;
use sabio_sync::WaitQueue;

use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Obj, Ref, Visit};
use crate::waker::is_doomed;

/// One task that waits, at the moment when somebody looked.
struct Waiter {
    done: bool,
    cancelled: bool,
}

static WAITER: ClassCell = ClassCell::new();

impl Class for Waiter {
    const NAME: &'static std::ffi::CStr = c"sabio._Waiter";
    const COLLECTED: bool = false;

    fn cell() -> &'static ClassCell {
        &WAITER
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

/// A list with one object for each task that waits, oldest first. Changing it changes nothing else.
pub(super) fn list(py: Python<'_>, waiters: &WaitQueue) -> PyResult<Obj> {
    let mut seen = Vec::with_capacity(waiters.inside());
    waiters.look(&mut |waker| {
        let cancelled = waker.is_some_and(is_doomed);
        seen.push(Waiter {
            done: waker.is_none() || cancelled,
            cancelled,
        });
    });
    let list = PyList::empty(py);
    for waiter in seen {
        list.append(Ref::create(py, waiter)?.bind(py))?;
    }
    Ok(list.into())
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Waiter>::new(c"A task that waits, as it was when somebody looked.")
        .members(|table| {
            table
                .noargs(
                    c"done",
                    c"done($self, /)\n--\n\nWhether the task had been woken or cancelled.",
                    |slf, _py| Ok(slf.done),
                )
                .noargs(
                    c"cancelled",
                    c"cancelled($self, /)\n--\n\nWhether the task had been cancelled.",
                    |slf, _py| Ok(slf.cancelled),
                );
        })
        .build(py, &Base::Object)?;
    Ok(())
}
