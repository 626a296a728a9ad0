//! `sabio.Semaphore` and `sabio.BoundedSemaphore` (asyncio: Synchronization Primitives).
//!
//! Both have the same core; one that is bounded knows its bound, and refuses to be released beyond it.

use std::cell::Cell;
use std::task::{Context, Poll};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sabio_sync::{Place, WaitQueue};

use super::async_with::{self, Acquirable};
use super::waited::{Waited, enter, give_true};
use super::{PublicClass, describe, only_parameter, waiter, whole_number, with_waiters};
use crate::begun::Wait;
use crate::copying::{self, Copied};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, IntoObj, MethodTable, Obj, Ref, Visit};
use crate::loop_binding::{self, LoopBinding, LoopBound};
use crate::waker::{is_doomed, visit_waker};

/// The data of `sabio.Semaphore`.
pub(crate) struct Semaphore {
    state: sabio_sync::SemaphoreState,
    bound: Cell<Option<u64>>,
    binding: LoopBinding,
}

static SEMAPHORE: ClassCell = ClassCell::new();
static PUBLIC: PublicClass = PublicClass::new();
static PUBLIC_BOUNDED: PublicClass = PublicClass::new();

impl Class for Semaphore {
    const NAME: &'static std::ffi::CStr = c"sabio._SemaphoreCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &SEMAPHORE
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.binding.visit(visit);
        self.state.waiters().visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        self.binding.set(None);
    }
}

impl LoopBound for Semaphore {
    fn binding(&self) -> &LoopBinding {
        &self.binding
    }
}

/// Permits as Python gives them. ValueError for less than none.
fn permits(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number = whole_number(value)?;
    if number == i64::MAX {
        return Ok(sabio_sync::SemaphoreState::UNLIMITED);
    }
    u64::try_from(number).map_err(|_| PyValueError::new_err("Semaphore initial value must be >= 0"))
}

/// Permits as Python sees them: an unlimited number is infinity.
fn shown(py: Python<'_>, permits: u64) -> PyResult<Obj> {
    if permits == sabio_sync::SemaphoreState::UNLIMITED {
        return f64::INFINITY.into_obj(py);
    }
    Ok(Obj::from(permits.into_pyobject(py)?))
}

/// `Semaphore(value=1)`.
fn initialize(
    slf: &Ref<Semaphore>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let value = match only_parameter(slf.as_obj(), Some("value"), args, kwargs)? {
        Some(value) => permits(&value)?,
        None => 1,
    };
    slf.state.set_value(value);
    let is_bounded = slf.bind(py).is_instance(PUBLIC_BOUNDED.get(py)?)?;
    slf.bound.set(is_bounded.then_some(value));
    Ok(())
}

#[inline]
fn release(slf: &Ref<Semaphore>) -> PyResult<()> {
    if slf.bound.get().is_some_and(|bound| slf.state.value() >= bound) {
        return Err(PyValueError::new_err("BoundedSemaphore released too many times"));
    }
    slf.state.release();
    Ok(())
}

impl Waited for Semaphore {
    #[inline]
    fn take(&self) -> bool {
        self.state.try_acquire()
    }

    #[inline]
    fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll_acquire(place, cx)
    }

    fn line(&self) -> &WaitQueue {
        self.state.waiters()
    }

    fn leave(&self, place: &Place) {
        self.state.leave(place);
    }
}

impl Acquirable for Semaphore {
    const ENTER: &'static str = "Semaphore.__aenter__";
    const EXIT: &'static str = "Semaphore.__aexit__";
    const WAIT: &'static Wait = enter::<Semaphore>();

    #[inline]
    fn is_plain(slf: &Ref<Semaphore>, py: Python<'_>) -> bool {
        async_with::is_plain(slf, py, &[&PUBLIC, &PUBLIC_BOUNDED])
    }

    #[inline]
    fn try_acquire(slf: &Ref<Semaphore>, _py: Python<'_>) -> bool {
        slf.state.try_acquire()
    }

    #[inline]
    fn release(slf: &Ref<Semaphore>, _py: Python<'_>) -> PyResult<()> {
        release(slf)
    }
}

fn repr(slf: &Ref<Semaphore>, py: Python<'_>) -> PyResult<Obj> {
    let state = if slf.state.locked() {
        "locked".to_owned()
    } else {
        format!("unlocked, value:{}", shown(py, slf.state.value())?.bind(py))
    };
    let state = with_waiters(state, slf.state.waiters());
    describe(py, slf.as_obj(), &state)
}

impl Copied for Semaphore {
    const STATE: &'static [&'static str] = &["_value", "_bound_value", "_loop"];

    fn is_in_use(&self) -> bool {
        self.state.waiters().inside() > 0
    }
}

fn define(table: &mut MethodTable<Semaphore>) {
    loop_binding::define(table);
    async_with::define(table);
    copying::define(table);
    table
        .fast_noargs(
            c"acquire",
            c"acquire($self, /)\n--\n\nWait until there is a permit and take it; gives True.",
            |slf, py| give_true(py, "Semaphore.acquire", slf),
        )
        .fast_noargs(
            c"release",
            c"release($self, /)\n--\n\nGive a permit back; the task that waits longest gets it. ValueError if a bounded semaphore has all of its permits.",
            |slf, _py| release(slf),
        )
        .fast_noargs(c"locked", c"locked($self, /)\n--\n\nWhether acquire() would have to wait.", |slf, _py| Ok(slf.state.locked()))
        .attribute(
            c"_value",
            c"How many permits are free.",
            |slf, py| shown(py, slf.state.value()),
            |slf, value| {
                slf.state.set_value(permits(value)?);
                Ok(())
            },
        )
        .attribute(
            c"_bound_value",
            c"How many permits a bounded semaphore has, or None.",
            |slf, py| slf.bound.get().map(|bound| shown(py, bound)).transpose(),
            |slf, value| {
                slf.bound.set(Some(permits(value)?));
                Ok(())
            },
        )
        .getter(c"_waiters", c"Who waits, at this moment.", |slf, py| waiter::list(py, slf.state.waiters()));
}

/// Builds the classes and adds them to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<Semaphore>::new(c"The native part of sabio.Semaphore.")
        .members(define)
        .constructor(|_class, _args, _kwargs| {
            Ok(Semaphore {
                state: sabio_sync::SemaphoreState::with_doomed(1, is_doomed),
                bound: Cell::new(None),
                binding: LoopBinding::default(),
            })
        })
        .initializer(initialize)
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc = "Semaphore(value=1)\n--\n\nA number of permits, given out in the order in which tasks ask for them (asyncio: Semaphore).";
    let public = PUBLIC.publish(module, "Semaphore", doc, &core)?;
    SEMAPHORE.set_public(&public)?;
    let doc = "BoundedSemaphore(value=1)\n--\n\nA semaphore that can not be released more often than it was acquired (asyncio: BoundedSemaphore).";
    PUBLIC_BOUNDED.publish(module, "BoundedSemaphore", doc, &public)?;
    Ok(())
}
