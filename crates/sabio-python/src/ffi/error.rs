//! Exceptions: telling kinds apart, panics.
//!
//! The constructors of PyO3 that cannot raise (`PyDict::new`, `PyBytes::new`) panic when there is no memory for the
//! object. That is no mistake of ours: at the next border to the interpreter it becomes MemoryError, as any other lack of
//! memory does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PySystemExit};
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
        Python::attach(|py| {
            // PyO3 goes on with a panic that one of its own functions has turned into an exception.
            catch_unwind(|| PyErr::fetch(py)).unwrap_or_else(|payload| panic_error(&*payload))
        })
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

/// The words in which PyO3 panics when CPython has given it no object.
const NO_OBJECT: &str = "PyObject pointer is null";

/// Whether a panic says that there was no memory for an object. The words are a `String` where PyO3 has had the panic as
/// an exception in between.
fn is_lack_of_memory(payload: &(dyn Any + Send)) -> bool {
    payload.downcast_ref::<&str>() == Some(&NO_OBJECT)
        || payload
            .downcast_ref::<String>()
            .is_some_and(|words| words == NO_OBJECT)
}

/// Has a lack of memory not printed as a panic; called once by the module.
pub(crate) fn quiet_lack_of_memory() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_lack_of_memory(panic.payload()) {
            usual(panic);
        }
    }));
}

/// The exception that stands for a panic.
#[cold]
pub(crate) fn panic_error(payload: &(dyn Any + Send)) -> PyErr {
    if is_lack_of_memory(payload) {
        return PyMemoryError::new_err(());
    }
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic in sabio".to_owned());
    PanicException::new_err((message,))
}

/// Runs `body`; a panic becomes an exception.
#[inline(always)]
pub(crate) fn guard<R>(body: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => Err(panic_error(&*payload)),
    }
}

/// As [`guard`], for what leaves its exception set.
#[inline(always)]
pub(crate) fn guard_outcome<R>(py: Python<'_>, body: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            panic_error(&*payload).restore(py);
            Err(Raised::new())
        }
    }
}
