//! `sabio.Lock` (asyncio: Synchronization Primitives, Lock).

use std::task::{Context, Poll};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sabio_sync::{NotAcquired, Place, WaitQueue};

use super::async_with::{self, Acquirable};
use super::waited::{Waited, enter, give_true};
use super::{PublicClass, describe, only_parameter, waiter, with_waiters};
use crate::begun::Wait;
use crate::copying::{self, Copied};
use crate::ffi::{Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Ref, Visit};
use crate::loop_binding::{self, LoopBinding, LoopBound};
use crate::waker::{is_doomed, visit_waker};

/// The data of `sabio.Lock`.
pub(crate) struct Lock {
    state: sabio_sync::LockState,
    binding: LoopBinding,
}

static LOCK: ClassCell = ClassCell::new();
static PUBLIC: PublicClass = PublicClass::new();

impl Class for Lock {
    const NAME: &'static std::ffi::CStr = c"sabio._LockCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &LOCK
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.binding.visit(visit);
        self.state.waiters().visit(&mut |waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        self.binding.set(None);
    }
}

impl LoopBound for Lock {
    fn binding(&self) -> &LoopBinding {
        &self.binding
    }
}

impl Lock {
    fn new() -> Lock {
        Lock {
            state: sabio_sync::LockState::with_doomed(is_doomed),
            binding: LoopBinding::default(),
        }
    }

    /// A new `sabio.Lock`.
    pub(super) fn create(py: Python<'_>) -> PyResult<Ref<Lock>> {
        Ref::create_as(PUBLIC.get(py)?, Lock::new())
    }

    /// The state, for who waits in its own way.
    pub(super) fn state(&self) -> &sabio_sync::LockState {
        &self.state
    }

    /// RuntimeError if it is not acquired.
    #[inline]
    pub(super) fn release(&self) -> PyResult<()> {
        self.state.release().map_err(not_acquired)
    }
}

/// The lock is nobody's to release.
#[cold]
pub(super) fn not_acquired(error: NotAcquired) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Whether this is a `sabio.Lock` itself and no subclass, which may have replaced methods.
pub(super) fn as_plain<'a>(py: Python<'a>, object: &'a Obj) -> Option<&'a Ref<Lock>> {
    if !PUBLIC.is_exact(py, object) {
        return None;
    }
    Ref::<Lock>::downcast(object.bind(py))
}

impl Waited for Lock {
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

/// `acquire()`: a coroutine.
pub(super) fn acquire(slf: &Ref<Lock>, py: Python<'_>) -> PyResult<Obj> {
    give_true(py, "Lock.acquire", slf)
}

impl Acquirable for Lock {
    const ENTER: &'static str = "Lock.__aenter__";
    const EXIT: &'static str = "Lock.__aexit__";
    const WAIT: &'static Wait = enter::<Lock>();

    #[inline]
    fn is_plain(slf: &Ref<Lock>, py: Python<'_>) -> bool {
        PUBLIC.is_exact(py, slf.as_obj())
    }

    #[inline]
    fn try_acquire(slf: &Ref<Lock>, _py: Python<'_>) -> bool {
        slf.state.try_acquire()
    }

    #[inline]
    fn release(slf: &Ref<Lock>, _py: Python<'_>) -> PyResult<()> {
        Lock::release(slf)
    }
}

fn repr(slf: &Ref<Lock>, py: Python<'_>) -> PyResult<Obj> {
    let state = if slf.state.locked() { "locked" } else { "unlocked" };
    let state = with_waiters(state.to_owned(), slf.state.waiters());
    describe(py, slf.as_obj(), &state)
}

impl Copied for Lock {
    const STATE: &'static [&'static str] = &["_locked", "_loop"];

    fn is_in_use(&self) -> bool {
        self.state.waiters().inside() > 0
    }
}

fn define(table: &mut MethodTable<Lock>) {
    loop_binding::define(table);
    async_with::define(table);
    copying::define(table);
    table
        .fast_noargs(
            c"acquire",
            c"acquire($self, /)\n--\n\nWait until the lock is free and take it; gives True.",
            acquire,
        )
        .fast_noargs(
            c"release",
            c"release($self, /)\n--\n\nGive the lock back; the task that waits longest gets it. RuntimeError if it is not locked.",
            |slf, _py| Lock::release(slf),
        )
        .fast_noargs(c"locked", c"locked($self, /)\n--\n\nWhether the lock is locked.", |slf, _py| Ok(slf.state.locked()))
        .attribute(
            c"_locked",
            c"Whether the lock is locked.",
            |slf, _py| Ok(slf.state.locked()),
            |slf, value| {
                match (value.is_truthy()?, slf.state.locked()) {
                    (true, false) => drop(slf.state.try_acquire()),
                    (false, true) => Lock::release(slf)?,
                    (true, true) | (false, false) => {}
                }
                Ok(())
            },
        )
        .getter(c"_waiters", c"Who waits, at this moment.", |slf, py| waiter::list(py, slf.state.waiters()));
}

/// Builds the class and adds it to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let core = ClassBuilder::<Lock>::new(c"The native part of sabio.Lock.")
        .members(define)
        .constructor(|_class, _args, _kwargs| Ok(Lock::new()))
        .initializer(|slf, args, kwargs| only_parameter(slf.as_obj(), None, args, kwargs).map(drop))
        .repr(repr)
        .build(module.py(), &Base::Object)?;
    let doc =
        "Lock()\n--\n\nA lock for tasks, handed on in the order in which they ask for it (asyncio: Lock).";
    LOCK.set_public(&PUBLIC.publish(module, "Lock", doc, &core)?)?;
    Ok(())
}
