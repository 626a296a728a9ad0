//! From Rust values to Python objects, and numbers back.

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::error::{Outcome, Raised};
use super::object::Obj;

/// What a function can return to Python.
pub(crate) trait IntoObj {
    /// A new reference to the value as a Python object.
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj>;
}

impl IntoObj for Obj {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        Ok(self)
    }
}

impl IntoObj for () {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        Ok(Obj::none(py))
    }
}

impl IntoObj for bool {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: `True` and `False` are always alive.
        Ok(unsafe {
            Obj::from_borrowed(if self {
                py_ffi::Py_True()
            } else {
                py_ffi::Py_False()
            })
        })
    }
}

impl IntoObj for f64 {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: attached; a new reference or MemoryError.
        Ok(unsafe { Obj::from_owned_or_err(py, py_ffi::PyFloat_FromDouble(self))? })
    }
}

impl IntoObj for usize {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        // SAFETY: attached; a new reference or MemoryError.
        Ok(unsafe { Obj::from_owned_or_err(py, py_ffi::PyLong_FromSize_t(self))? })
    }
}

impl<T: IntoObj> IntoObj for Option<T> {
    #[inline]
    fn into_obj(self, py: Python<'_>) -> PyResult<Obj> {
        match self {
            Some(value) => value.into_obj(py),
            None => Ok(Obj::none(py)),
        }
    }
}

/// `float(number)`, without an object in between for an int. TypeError for what is no number, OverflowError.
#[inline]
pub(crate) fn double(number: &Bound<'_, PyAny>) -> Outcome<f64> {
    // SAFETY: attached; the object is alive and is read as a float or an int only if it is exactly one.
    let value = unsafe {
        let number = number.as_ptr();
        if py_ffi::PyFloat_CheckExact(number) != 0 {
            return Ok(py_ffi::PyFloat_AS_DOUBLE(number));
        }
        if py_ffi::PyLong_CheckExact(number) != 0 {
            py_ffi::PyLong_AsDouble(number)
        } else {
            py_ffi::PyFloat_AsDouble(number)
        }
    };
    // SAFETY: attached.
    if value == -1.0 && unsafe { !py_ffi::PyErr_Occurred().is_null() } {
        return Err(Raised::new());
    }
    Ok(value)
}
