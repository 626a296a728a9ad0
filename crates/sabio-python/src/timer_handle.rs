//! `TimerHandle`: a handle with a time, on the loop's heap of timers.

use std::cell::Cell;

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::PyType;
use sabio_reactor::TimerKey;

use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, Derived, IntoObj, MethodTable, Obj, Ref, Visit};
use crate::handle::{Handle, args_tuple};

/// The data of a timer's handle, behind that of a [`Handle`].
pub(crate) struct TimerHandle {
    when: f64,
    key: Cell<Option<TimerKey>>,
}

static TIMER_HANDLE: ClassCell = ClassCell::new();

impl Class for TimerHandle {
    const NAME: &'static std::ffi::CStr = c"sabio.TimerHandle";
    const PLAIN: bool = false;
    const COLLECTED: bool = false;

    fn cell() -> &'static ClassCell {
        &TIMER_HANDLE
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

impl Derived for TimerHandle {
    type Parent = Handle;
}

impl TimerHandle {
    /// The data of a new timer for `when` seconds of the loop's clock.
    #[inline]
    pub(crate) fn new(when: f64) -> TimerHandle {
        TimerHandle {
            when,
            key: Cell::new(None),
        }
    }

    /// The time to run at, as a Python object.
    fn when(slf: &Ref<TimerHandle>, py: Python<'_>) -> PyResult<Obj> {
        match slf.as_parent().given() {
            Some(given) => Ok(given),
            None => slf.when.into_obj(py),
        }
    }

    /// Remembers its place among the loop's timers; `None` once it has left them.
    #[inline]
    pub(crate) fn set_key(&self, key: Option<TimerKey>) {
        self.key.set(key);
    }

    /// Takes the timer off the loop's heap, if it is there.
    pub(crate) fn unschedule(&self, event_loop: &Ref<Loop>) {
        if let Some(key) = self.key.take() {
            // The loop's reference to this very handle: the caller still holds one.
            drop(event_loop.reactor().cancel(key));
        }
    }
}

fn compare_timers(slf: &Ref<TimerHandle>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Option<bool>> {
    let py = other.py();
    let Some(other_handle) = Ref::<TimerHandle>::downcast(other) else {
        return Ok(None);
    };
    let (a, b) = (slf.when, other_handle.when);
    Ok(match op {
        CompareOp::Lt => Some(a < b),
        CompareOp::Gt => Some(a > b),
        CompareOp::Le | CompareOp::Ge | CompareOp::Eq | CompareOp::Ne => {
            let (this, that) = (slf.as_parent(), other_handle.as_parent());
            let same_call = a == b
                && this.is_cancelled() == that.is_cancelled()
                && match (this.callback(), that.callback()) {
                    (Some(one), Some(two)) => one.bind(py).eq(two.bind(py))?,
                    (None, None) => true,
                    _ => false,
                }
                && match (args_tuple(this, py)?, args_tuple(that, py)?) {
                    (Some(one), Some(two)) => one.bind(py).eq(two.bind(py))?,
                    (None, None) => true,
                    _ => false,
                };
            Some(match op {
                CompareOp::Le => a < b || same_call,
                CompareOp::Ge => a > b || same_call,
                CompareOp::Ne => !same_call,
                _ => same_call,
            })
        }
    })
}

fn define_timer_handle(table: &mut MethodTable<TimerHandle>) {
    table
        .noargs(
            c"when",
            c"when($self, /)\n--\n\nThe time to run at, in seconds of loop.time().",
            TimerHandle::when,
        )
        .getter(
            c"__class__",
            c"The class of asyncio that this handle stands for.",
            |_slf, py| Ok(asyncio(py)?.timer_handle.clone()),
        )
        .getter(
            c"_when",
            c"The time to run at, in seconds of loop.time().",
            TimerHandle::when,
        )
        .getter(
            c"_scheduled",
            c"Whether the timer waits for its time.",
            |slf, _py| {
                let key = slf.key.get();
                Ok(key.is_some())
            },
        );
}

/// Builds the class on top of that of handles.
pub(crate) fn build<'py>(handle: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    let py = handle.py();
    ClassBuilder::<TimerHandle>::new(
        c"A callback that the loop will call at a time: what loop.call_later() and loop.call_at() give.",
    )
    .members(define_timer_handle)
    .comparison(compare_timers)
    .hash(|slf, py| TimerHandle::when(slf, py)?.bind(py).hash())
    .build(py, &Base::Native(handle.clone()))
}
