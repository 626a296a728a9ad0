//! `bytes` objects that are filled in place.

use std::io;
use std::mem::MaybeUninit;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::error::Outcome;
use super::object::Obj;

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut py_ffi::PyObject, size: py_ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// A new `bytes` object with a copy of `data`. MemoryError.
#[inline]
pub(crate) fn bytes_from_slice(py: Python<'_>, data: &[u8]) -> Outcome<Obj> {
    // SAFETY: attached; pointer and length are those of a slice, which is at most isize::MAX long.
    unsafe {
        Obj::from_owned_or_err(
            py,
            py_ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as py_ffi::Py_ssize_t),
        )
    }
}

/// A new `bytes` object of at most `size` bytes that `fill` writes directly: it gets the whole memory and returns how
/// many bytes of it, from the start, it has initialised. The outer error is Python's (MemoryError), the inner `fill`'s.
pub(crate) fn recv_into_new_bytes(
    py: Python<'_>,
    size: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
) -> PyResult<io::Result<Obj>> {
    let size = size.min(isize::MAX as usize / 2);
    // SAFETY: attached; with a null source the memory is left uninitialised, and nobody else has the object yet.
    let mut object =
        unsafe { py_ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as py_ffi::Py_ssize_t) };
    if object.is_null() {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: the object owns `size` writable bytes and is not shared; `MaybeUninit` asks for no initialised memory.
    let memory = unsafe {
        std::slice::from_raw_parts_mut(py_ffi::PyBytes_AsString(object).cast::<MaybeUninit<u8>>(), size)
    };
    let filled = match fill(memory) {
        Ok(filled) => filled.min(size),
        Err(error) => {
            // SAFETY: the only reference to the object is ours.
            unsafe { py_ffi::Py_DECREF(object) };
            return Ok(Err(error));
        }
    };
    if filled != size {
        // SAFETY: the object has exactly one reference; on failure `_PyBytes_Resize` frees it and sets MemoryError.
        if unsafe { _PyBytes_Resize(&raw mut object, filled as py_ffi::Py_ssize_t) } != 0 {
            return Err(PyErr::fetch(py));
        }
    }
    // SAFETY: a new reference, and all of its bytes are initialised now.
    Ok(Ok(unsafe { Obj::from_owned(object) }))
}
