//! What every native coroutine is to Python: the methods and attributes of a coroutine object.
//!
//! `coroutine`, `pause` and `prompt` differ in how they are resumed; to whoever holds one of them they are all the same.

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::{Class, MethodTable, Obj, Outcome, Ref, Sent, raise_stop_iteration};
use crate::interpreter::interpreter;
use crate::thrown::Thrown;

/// A class of native coroutines.
pub(crate) trait NativeCoroutine: Class {
    /// `__qualname__`: class and name of the method, or the name of the function.
    fn name(&self) -> &'static str;

    /// `send(value)`, or the next step of whoever awaits it. RuntimeError once it has ended.
    fn resume(slf: &Ref<Self>, py: Python<'_>, value: Option<&Obj>) -> Outcome<Sent>;

    /// `throw(error)`. What comes out is mostly `error` itself.
    fn throw(slf: &Ref<Self>, py: Python<'_>, error: PyErr) -> PyResult<Sent>;

    /// `close()`: it never goes on.
    fn close(slf: &Ref<Self>, py: Python<'_>) -> PyResult<()>;

    /// Whether it is being resumed.
    fn is_running(&self) -> bool {
        false
    }

    /// Whether it waits.
    fn is_suspended(&self) -> bool {
        false
    }

    /// Whether it has ended.
    fn is_closed(&self) -> bool;

    /// The Python object that it awaits.
    fn awaited(&self) -> Option<Obj> {
        None
    }
}

/// To a caller of `send()` or `throw()`, a return is StopIteration.
fn to_caller(py: Python<'_>, sent: Sent) -> PyResult<Obj> {
    match sent {
        Sent::Next(object) => Ok(object),
        Sent::Return(object) => Err(raise_stop_iteration(py, &object)),
    }
}

/// What `inspect.getcoroutinestate()` calls the state of a coroutine.
fn state<C: NativeCoroutine>(slf: &C) -> &'static str {
    if slf.is_running() {
        "CORO_RUNNING"
    } else if slf.is_suspended() {
        "CORO_SUSPENDED"
    } else if slf.is_closed() {
        "CORO_CLOSED"
    } else {
        "CORO_CREATED"
    }
}

/// Adds the methods and attributes (language reference: Coroutine Objects).
pub(crate) fn define<C: NativeCoroutine>(table: &mut MethodTable<C>) {
    table
        .fast_onearg(
            c"send",
            c"send($self, value, /)\n--\n\nResume the coroutine.",
            |slf, value| {
                let py = value.py();
                let sent = C::resume(slf, py, Some(&Obj::from(value)))?;
                to_caller(py, sent)
            },
        )
        .method(
            c"throw",
            c"throw($self, typ, val=None, tb=None, /)\n--\n\nRaise an exception in the coroutine: it is cancelled.",
            |slf, args| {
                let error = match Thrown::new(args)? {
                    // What one that waits awaits refuses it, and so that error is thrown into it.
                    Thrown::Refused(error) if !slf.is_suspended() => return Err(error),
                    Thrown::Exception(error) | Thrown::Refused(error) => error,
                };
                let sent = C::throw(slf, args.py(), error)?;
                to_caller(args.py(), sent)
            },
        )
        .noargs(
            c"close",
            c"close($self, /)\n--\n\nCancel the coroutine.",
            C::close,
        )
        .getter(c"__name__", c"The name of the function.", |slf, py| {
            let name = slf.name();
            let name = name.rsplit('.').next().unwrap_or(name);
            Ok(Obj::from(PyString::new(py, name)))
        })
        .getter(
            c"__qualname__",
            c"The name of the function, after that of its class.",
            |slf, py| Ok(Obj::from(PyString::new(py, slf.name()))),
        )
        .getter(
            c"cr_running",
            c"Whether the coroutine is being resumed.",
            |slf, _py| Ok(slf.is_running()),
        )
        .getter(
            c"cr_suspended",
            c"Whether the coroutine waits.",
            |slf, _py| Ok(slf.is_suspended()),
        )
        .getter(
            c"cr_state",
            c"The state of the coroutine, as inspect.getcoroutinestate() calls it.",
            |slf, py| Ok(Obj::from(PyString::new(py, state::<C>(slf)))),
        )
        .getter(
            c"cr_await",
            c"The Python object that the coroutine awaits, or None.",
            |slf, _py| Ok(slf.awaited()),
        )
        .getter(
            c"cr_frame",
            c"None: a native coroutine has no Python frame.",
            |_slf, _py| Ok(()),
        )
        .getter(c"cr_origin", c"None: not tracked.", |_slf, _py| Ok(()));
}

/// `repr()`, as of a coroutine of the interpreter.
pub(crate) fn repr<C: NativeCoroutine>(slf: &Ref<C>, py: Python<'_>) -> PyResult<Obj> {
    let text = format!("<coroutine object {} at {:p}>", slf.name(), slf.as_obj().as_ptr());
    Ok(Obj::from(PyString::new(py, &text)))
}

/// The error of a coroutine that is resumed after its end.
#[cold]
pub(crate) fn reused() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited coroutine")
}

/// The interpreter's RuntimeWarning for a coroutine that nobody has awaited, with the coroutine as its source, where
/// `tracemalloc` knows of its making. Raises it where warnings are errors.
#[cold]
pub(crate) fn warn_never_awaited<C: NativeCoroutine>(slf: &Ref<C>, py: Python<'_>) -> PyResult<()> {
    let message = format!("coroutine '{}' was never awaited", slf.name());
    interpreter(py)?.warn(&message, &py.get_type::<PyRuntimeWarning>(), slf.bind(py))
}
