//! Exceptions: telling kinds apart, panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi as py_ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;

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

/// An exception that is to be raised where it is returned, as by `raise` in Python: what is being handled there becomes
/// its context.
pub(crate) fn raising(error: Bound<'_, PyAny>) -> PyErr {
    PyErr::from_type(error.get_type(), error.unbind())
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
