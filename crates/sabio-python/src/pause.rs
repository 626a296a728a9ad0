//! The coroutine of `sleep(0)`: one bare yield, which gives up one turn of the loop, and then None.
//!
//! Programs call it in tight loops, so it has no Rust future and no memory besides the object, and one that has ended is
//! used again; to Python it is a coroutine like any other.

use std::cell::Cell;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::{
    Args, Base, Class, ClassBuilder, ClassCell, Kept, MethodTable, Obj, Outcome, Ref, Sent, Visit,
    raise_stop_iteration,
};
use crate::future_iterator::thrown;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Created,
    Suspended,
    Closed,
}

/// The data of the coroutine.
pub(crate) struct Pause {
    life: Cell<Life>,
}

static PAUSE: ClassCell = ClassCell::new();
static KEPT: Kept<Pause> = Kept::new();

impl Class for Pause {
    const NAME: &'static std::ffi::CStr = c"sabio._Pause";
    const COLLECTED: bool = false;
    const RECYCLED: bool = true;

    fn cell() -> &'static ClassCell {
        &PAUSE
    }

    fn needs_finalizer(&self) -> bool {
        self.life.get() == Life::Created
    }

    fn visit(&self, _visit: &mut Visit<'_>) {}

    fn clear(&self) {}
}

/// A new coroutine that gives up one turn. MemoryError.
#[inline]
pub(crate) fn create(py: Python<'_>) -> Outcome<Obj> {
    if let Some(pause) = KEPT.take(py) {
        pause.life.set(Life::Created);
        return Ok(pause.into_obj());
    }
    let pause = Ref::create_with(py, || Pause {
        life: Cell::new(Life::Created),
    })?;
    Ok(pause.into_obj())
}

#[inline]
fn resume(slf: &Ref<Pause>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent> {
    match slf.life.get() {
        Life::Created if value.is_some_and(|value| !value.bind(py).is_none()) => {
            Err(PyTypeError::new_err("can't send non-None value to a just-started coroutine").into())
        }
        Life::Created => {
            slf.life.set(Life::Suspended);
            Ok(Sent::Next(Obj::none(py)))
        }
        Life::Suspended => {
            slf.life.set(Life::Closed);
            KEPT.keep(slf);
            Ok(Sent::Return(Obj::none(py)))
        }
        Life::Closed => Err(reused().into()),
    }
}

#[cold]
fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

/// `await`: RuntimeError if somebody else is at it.
#[inline]
fn awaited(slf: &Ref<Pause>, _py: Python<'_>) -> PyResult<Obj> {
    match slf.life.get() {
        Life::Suspended => Err(PyRuntimeError::new_err("coroutine is being awaited already")),
        Life::Created | Life::Closed => Ok(slf.as_obj().clone()),
    }
}

fn throw(slf: &Ref<Pause>, args: Args<'_, '_>) -> PyResult<Obj> {
    let error = thrown(args)?;
    match slf.life.replace(Life::Closed) {
        Life::Closed => Err(reused()),
        Life::Created | Life::Suspended => Err(error),
    }
}

fn finalize(slf: &Ref<Pause>, py: Python<'_>) -> PyResult<()> {
    slf.life.set(Life::Closed);
    PyErr::warn(
        py,
        &py.get_type::<PyRuntimeWarning>(),
        c"coroutine 'sleep' was never awaited",
        1,
    )
}

fn define(table: &mut MethodTable<Pause>) {
    table
        .fast_onearg(c"send", c"send($self, value, /)\n--\n\nResume the coroutine.", |slf, value| {
            let py = value.py();
            match resume(slf, py, Some(&Obj::from(value)))? {
                Sent::Next(object) => Ok(object),
                Sent::Return(object) => Err(raise_stop_iteration(py, &object)),
            }
        })
        .method(
            c"throw",
            c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception in the coroutine: it is cancelled.",
            throw,
        )
        .noargs(c"close", c"close($self, /)\n--\n\nCancel the coroutine.", |slf, _py| {
            slf.life.set(Life::Closed);
            Ok(())
        })
        .getter(c"__name__", c"The name of the function.", |_slf, py| Ok(Obj::from(PyString::intern(py, "sleep"))))
        .getter(c"__qualname__", c"The name of the function.", |_slf, py| Ok(Obj::from(PyString::intern(py, "sleep"))))
        .getter(c"cr_running", c"Whether the coroutine is being resumed.", |_slf, _py| Ok(false))
        .getter(c"cr_suspended", c"Whether the coroutine waits.", |slf, _py| Ok(slf.life.get() == Life::Suspended))
        .getter(c"cr_await", c"None: nothing is awaited.", |_slf, _py| Ok(()))
        .getter(c"cr_frame", c"None: a native coroutine has no Python frame.", |_slf, _py| Ok(()))
        .getter(c"cr_origin", c"None: not tracked.", |_slf, _py| Ok(()));
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Pause>::new(c"The coroutine of sleep(0); await it.")
        .members(define)
        .awaitable(awaited)
        .resumable(resume)
        .finalizer(finalize)
        .weakrefs()
        .repr(|slf, py| {
            let text = format!("<coroutine object sleep at {:p}>", slf.as_obj().as_ptr());
            Ok(Obj::from(PyString::new(py, &text)))
        })
        .build(py, &Base::Object)?;
    Ok(())
}
