//! `async with` on what can be acquired and released.
//!
//! What `__aenter__()` and `__aexit__()` return is always awaited at once, so they act when they are called wherever
//! that needs no waiting, and return one shared awaitable that has finished. A subclass may have replaced `acquire()`
//! or `release()`: for it they are called by name, when the result is awaited.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

use super::PublicClass;
use crate::begun::{Begun, Wait};
use crate::coroutine;
use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Global, MethodTable, Obj, ObjCell, Outcome, Ref, Sent,
    Signature, Visit, call_method,
};
use crate::names::names;
use crate::thrown::Thrown;

/// A class whose objects are acquired and released.
pub(super) trait Acquirable: Class {
    /// `__qualname__` of the coroutines of `__aenter__` and `__aexit__`.
    const ENTER: &'static str;
    const EXIT: &'static str;

    /// Whether neither `acquire()` nor `release()` was replaced.
    fn is_plain(slf: &Ref<Self>, py: Python<'_>) -> bool;

    /// Acquires it, if that needs no waiting.
    fn try_acquire(slf: &Ref<Self>, py: Python<'_>) -> bool;

    /// Releases it. RuntimeError or ValueError if it is not acquired.
    fn release(slf: &Ref<Self>, py: Python<'_>) -> PyResult<()>;

    /// Acquires it by waiting, for [`Self::waited_for`]; the coroutine returns None.
    const WAIT: &'static Wait;

    /// What a task that acquires it waits for: the object itself, or the lock that it stands on.
    #[inline]
    fn waited_for(slf: &Ref<Self>) -> PyResult<Obj> {
        Ok(slf.as_obj().clone())
    }
}

/// Whether the object's very class is one of these.
#[inline]
pub(super) fn is_plain<T: Class>(slf: &Ref<T>, py: Python<'_>, classes: &[&PublicClass]) -> bool {
    classes.iter().any(|class| class.is_exact(py, slf.as_obj()))
}

#[inline]
fn enter<T: Acquirable>(slf: &Ref<T>, py: Python<'_>) -> PyResult<Obj> {
    if !T::is_plain(slf, py) {
        return coroutine::create_method(py, T::ENTER, slf.as_obj(), None, enter_by_name);
    }
    if T::try_acquire(slf, py) {
        return finished(py);
    }
    coroutine::create_waiting(py, T::ENTER, T::waited_for(slf)?, None, T::WAIT)
}

const AEXIT: Signature<3> = Signature {
    function: "__aexit__",
    parameters: ["exc_type", "exc", "tb"],
    required: 3,
    positional: 3,
};

#[inline]
fn exit<T: Acquirable>(slf: &Ref<T>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    args.all(&AEXIT)?;
    if !T::is_plain(slf, py) {
        return coroutine::create_method(py, T::EXIT, slf.as_obj(), None, exit_by_name);
    }
    T::release(slf, py)?;
    finished(py)
}

/// `await self.acquire()`.
pub(super) fn enter_by_name(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    let acquiring = call_method(py, owner, &names(py)?.acquire, &[])?;
    Ok(Begun::awaits(|awaiter| async move {
        awaiter.wait(acquiring).await?;
        Ok(Python::attach(Obj::none))
    }))
}

/// `self.release()`.
fn exit_by_name(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    call_method(py, owner, &names(py)?.release, &[])?;
    Ok(Begun::Done(Obj::none(py)))
}

/// `__aenter__` and `__aexit__`.
pub(super) fn define<T: Acquirable>(table: &mut MethodTable<T>) {
    table
        .fast_noargs(
            c"__aenter__",
            c"__aenter__($self, /)\n--\n\nAcquire it.",
            enter::<T>,
        )
        .fast_method(
            c"__aexit__",
            c"__aexit__($self, exc_type, exc, tb)\n--\n\nRelease it.",
            exit::<T>,
        );
}

/// An awaitable that has finished with None, any number of times.
struct Finished;

static FINISHED_CLASS: ClassCell = ClassCell::new();
static FINISHED: Global<Obj> = Global::new();

impl Class for Finished {
    const NAME: &'static std::ffi::CStr = c"sabio._Finished";
    const COLLECTED: bool = false;

    fn cell() -> &'static ClassCell {
        &FINISHED_CLASS
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

/// What `async with` awaits where there is nothing to wait for.
#[inline]
pub(super) fn finished(py: Python<'_>) -> PyResult<Obj> {
    Ok(FINISHED.get(py)?.clone())
}

/// Builds the class of the finished awaitable and its instance.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Finished>::new(c"An awaitable that has finished with None.")
        .coroutine(
            |slf, _py| Ok(slf.as_obj().clone()),
            |_slf, py, _value| Ok(Sent::Return(Obj::none(py))),
        )
        .members(|table| {
            table
                .fast_onearg(
                    c"send",
                    c"send($self, value, /)\n--\n\nRaise StopIteration.",
                    |_slf, _value| Err::<Obj, PyErr>(PyStopIteration::new_err(())),
                )
                .method(
                    c"throw",
                    c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception.",
                    |_slf, args| Err::<Obj, PyErr>(Thrown::new(args)?.into_error()),
                )
                .noargs(
                    c"close",
                    c"close($self, /)\n--\n\nDo nothing.",
                    |_slf, _py| Ok(()),
                );
        })
        .build(py, &Base::Object)?;
    FINISHED.set(py, Ref::create(py, Finished)?.into_obj());
    Ok(())
}
