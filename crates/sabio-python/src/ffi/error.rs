//! Exceptions: telling kinds apart, panics, StopIteration with a value.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyKeyboardInterrupt, PyStopIteration, PySystemExit};
use pyo3::ffi as py_ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;

use super::cell::ObjCell;
use super::global::Global;
use super::object::Obj;

/// "An exception is set": the error of calls on hot paths. It has no size, so that results travel in registers; it
/// becomes a `PyErr` by `?`. Dropped unused, it clears the exception.
#[must_use]
#[derive(Debug)]
pub(crate) struct Raised(());

/// The result of a call on a hot path.
pub(crate) type Outcome<T> = Result<T, Raised>;

impl Raised {
    /// To be made only where CPython has just reported an exception.
    #[inline(always)]
    pub(super) fn new() -> Raised {
        Raised(())
    }

    /// Leaves the exception set, for a caller in C.
    #[inline(always)]
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Raised {
    #[cold]
    fn drop(&mut self) {
        // SAFETY: made on an attached thread only and, like the interpreter's error indicator, bound to it by use.
        unsafe { py_ffi::PyErr_Clear() }
    }
}

impl From<Raised> for PyErr {
    #[cold]
    fn from(raised: Raised) -> PyErr {
        raised.leave();
        Python::attach(PyErr::fetch)
    }
}

impl From<PyErr> for Raised {
    #[cold]
    fn from(error: PyErr) -> Raised {
        Python::attach(|py| error.restore(py));
        Raised(())
    }
}

/// How asyncio treats an exception that comes out of a callback or a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BaseKind {
    /// SystemExit or KeyboardInterrupt: leaves the loop.
    Exit,
    /// Anything else.
    Other,
}

/// Which kind an exception is.
pub(crate) fn base_kind(py: Python<'_>, error: &PyErr) -> BaseKind {
    if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
        BaseKind::Exit
    } else {
        BaseKind::Other
    }
}

/// Whether the exception is an instance of `class` (`asyncio.CancelledError`).
pub(crate) fn is_cancelled_error(py: Python<'_>, error: &PyErr, class: &Obj) -> bool {
    error.matches(py, class.bind(py)).unwrap_or(false)
}

/// The exception that stands for a panic.
#[cold]
pub(crate) fn panic_error(payload: &(dyn Any + Send)) -> PyErr {
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic in sabio".to_owned());
    PanicException::new_err((message,))
}

/// Runs `body`; a panic becomes an exception.
#[inline(always)]
pub(super) fn guard<R>(body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(panic_error(&*payload)),
    }
}

/// As [`guard`], for what leaves its exception set.
#[inline(always)]
pub(super) fn guard_outcome<R>(py: Python<'_>, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            panic_error(&*payload).restore(py);
            Err(Raised::new())
        }
    }
}

/// Sets StopIteration with `value` as its value, whatever it is, a tuple or an exception too. Sets MemoryError if there
/// is no memory for it.
pub(super) fn set_stop_iteration(py: Python<'_>, value: &Obj) {
    // SAFETY: attached; the address of an immortal object.
    if std::ptr::eq(value.as_ptr(), unsafe { py_ffi::Py_True() }) {
        set_stop_iteration_true(py, value);
    } else if let Some(exception) = new_stop_iteration(py, value) {
        set_raised(exception);
    }
}

/// `StopIteration(value)`, made without a call, which would cost twice as much. `None` if an exception is set instead.
#[inline]
fn new_stop_iteration(_py: Python<'_>, value: &Obj) -> Option<Obj> {
    // SAFETY: attached. The constructor that StopIteration inherits gives a zeroed instance with these arguments; its
    // value, which the initialiser would take from them, is written before anybody sees it. Each reference is owned.
    unsafe {
        let class = py_ffi::PyExc_StopIteration.cast::<py_ffi::PyTypeObject>();
        let args = py_ffi::PyTuple_New(1);
        if args.is_null() {
            return None;
        }
        py_ffi::PyTuple_SET_ITEM(args, 0, value.clone().into_ptr());
        let args = Obj::from_owned(args);
        let exception = (*class).tp_new?(class, args.as_ptr(), std::ptr::null_mut());
        if exception.is_null() {
            return None;
        }
        let fields = exception.cast::<py_ffi::PyStopIterationObject>();
        let before = (&raw mut (*fields).value).replace(value.clone().into_ptr());
        py_ffi::Py_XDECREF(before);
        Some(Obj::from_owned(exception))
    }
}

/// Sets a StopIteration as the exception that is being raised.
#[inline]
fn set_raised(exception: Obj) {
    // SAFETY: attached, as whoever has an exception in hand is; the references are given away.
    unsafe {
        let pointer = exception.into_ptr();
        #[cfg(Py_3_12)]
        py_ffi::PyErr_SetRaisedException(pointer);
        #[cfg(not(Py_3_12))]
        py_ffi::PyErr_Restore(
            Obj::from_borrowed(py_ffi::PyExc_StopIteration).into_ptr(),
            pointer,
            std::ptr::null_mut(),
        );
    }
}

/// One `StopIteration(True)` for all who are told so by C code, which takes the value and drops the exception:
/// what locks and their like end with, again and again. Another one replaces it once somebody has got hold of it.
static TRUE: Global<ObjCell> = Global::new();

fn set_stop_iteration_true(py: Python<'_>, value: &Obj) {
    if TRUE.try_get(py).is_none() {
        TRUE.set(py, ObjCell::new(None));
    }
    let Ok(shared) = TRUE.get(py) else { return };
    let exception = shared.take().filter(|exception| is_untouched(py, exception));
    let exception = match exception {
        Some(exception) => exception,
        None => {
            let error = raise_stop_iteration(py, value);
            if !error.is_instance_of::<PyStopIteration>(py) {
                return error.restore(py);
            }
            Obj::from(error.into_value(py).into_bound(py))
        }
    };
    shared.set(Some(exception.clone()));
    set_raised(exception);
}

/// Whether nobody but us has the exception, and no Python code has ever caught it.
fn is_untouched(_py: Python<'_>, exception: &Obj) -> bool {
    // SAFETY: attached; the exception is alive. Both getters give a new reference or null.
    unsafe {
        let given = |object: *mut py_ffi::PyObject| {
            py_ffi::Py_XDECREF(object);
            !object.is_null()
        };
        exception.refcount() == 1
            && !given(py_ffi::PyException_GetTraceback(exception.as_ptr()))
            && !given(py_ffi::PyException_GetContext(exception.as_ptr()))
    }
}

/// `StopIteration(value)` as an error to return.
pub(crate) fn raise_stop_iteration(py: Python<'_>, value: &Obj) -> PyErr {
    match py.get_type::<PyStopIteration>().call1((value.bind(py),)) {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}
