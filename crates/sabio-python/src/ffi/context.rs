//! `contextvars` contexts (PEP 567) without a call to `Context.run`.

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::error::{Outcome, Raised};
use super::object::Obj;

/// A copy of the current context, as `contextvars.copy_context()` gives it.
#[inline]
pub(crate) fn context_copy_current(py: Python<'_>) -> Outcome<Obj> {
    // SAFETY: attached; the call returns a new reference or sets an exception.
    unsafe { Obj::from_owned_or_err(py, py_ffi::PyContext_CopyCurrent()) }
}

/// A copy of `context`. TypeError if it is no `contextvars.Context`.
pub(crate) fn context_copy(py: Python<'_>, context: &Obj) -> Outcome<Obj> {
    // SAFETY: attached; a wrong type is reported by CPython as an exception.
    unsafe { Obj::from_owned_or_err(py, py_ffi::PyContext_Copy(context.as_ptr())) }
}

/// Whether the object is a `contextvars.Context`.
#[inline]
pub(crate) fn is_context(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached, and the object is alive; only its type is looked at.
    unsafe { py_ffi::PyContext_CheckExact(object.as_ptr()) != 0 }
}

/// Makes `context` the current one. RuntimeError if it is entered already, TypeError if it is no context.
#[inline]
pub(crate) fn context_enter(_py: Python<'_>, context: &Obj) -> Outcome<()> {
    // SAFETY: attached; CPython checks the type and the state.
    if unsafe { py_ffi::PyContext_Enter(context.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(Raised::new())
    }
}

/// Leaves `context`. RuntimeError if it is not the current one.
#[inline]
pub(crate) fn context_exit(_py: Python<'_>, context: &Obj) -> Outcome<()> {
    // SAFETY: attached; CPython checks the type and the state.
    if unsafe { py_ffi::PyContext_Exit(context.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(Raised::new())
    }
}
