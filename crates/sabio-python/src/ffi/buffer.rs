//! Views of objects with the buffer protocol (PEP 3118), held for as long as the view lives.

use std::marker::PhantomData;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

struct View(Box<py_ffi::Py_buffer>, PhantomData<*mut ()>);

impl View {
    fn new(object: &Bound<'_, PyAny>, flags: std::ffi::c_int) -> PyResult<View> {
        let mut view = Box::new(py_ffi::Py_buffer::new());
        // SAFETY: attached; the box gives the view a stable address until it is released.
        if unsafe { py_ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(View(view, PhantomData))
    }

    fn len(&self) -> usize {
        self.0.len as usize
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the view was filled by `PyObject_GetBuffer`; not `Send`, so this thread is attached.
        unsafe { py_ffi::PyBuffer_Release(&raw mut *self.0) }
    }
}

/// A contiguous readable view of a bytes-like object.
pub(crate) struct ReadBuffer(View);

impl ReadBuffer {
    /// TypeError if `object` is not bytes-like, BufferError if it is not contiguous.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<ReadBuffer> {
        Ok(ReadBuffer(View::new(object, py_ffi::PyBUF_SIMPLE)?))
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes. Python code on this thread could change them (a bytearray), so no call into Python may be made
    /// while the slice is used.
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.len() == 0 {
            return &[];
        }
        // SAFETY: a simple buffer is contiguous, `len` bytes long and stays in place while the view is held; with the
        // GIL held and no call into Python (see above) nobody writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(self.0.0.buf.cast::<u8>(), self.len()) }
    }
}

/// A contiguous writable view of a bytes-like object.
pub(crate) struct WriteBuffer(View);

impl WriteBuffer {
    /// TypeError or BufferError if `object` has no writable contiguous memory.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<WriteBuffer> {
        Ok(WriteBuffer(View::new(object, py_ffi::PyBUF_WRITABLE)?))
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The memory to write to; no call into Python may be made while the slice is used.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.len() == 0 {
            return &mut [];
        }
        // SAFETY: as in `ReadBuffer::as_slice`, and the exporter has granted write access.
        unsafe { std::slice::from_raw_parts_mut(self.0.0.buf.cast::<u8>(), self.len()) }
    }
}

/// Calls `fill` with the writable memory of a bytes-like object, without an allocation. TypeError or BufferError if it
/// has no writable contiguous memory. `fill` must not call into Python.
#[inline]
pub(crate) fn fill_buffer<R>(object: &Bound<'_, PyAny>, fill: impl FnOnce(&mut [u8]) -> R) -> PyResult<R> {
    struct Held<'a>(&'a mut py_ffi::Py_buffer);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            // SAFETY: made only after `PyObject_GetBuffer` has filled the view, and on the same attached thread.
            unsafe { py_ffi::PyBuffer_Release(&raw mut *self.0) }
        }
    }

    let mut view = py_ffi::Py_buffer::new();
    // SAFETY: attached; the view stays where it is until it is released.
    if unsafe { py_ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, py_ffi::PyBUF_WRITABLE) } != 0 {
        return Err(PyErr::fetch(object.py()));
    }
    let held = Held(&mut view);
    if held.0.len <= 0 {
        return Ok(fill(&mut []));
    }
    // SAFETY: a writable simple buffer is contiguous, `len` bytes long and in place while it is held; with the GIL held
    // and no call into Python (see above) nobody else reads or writes it meanwhile.
    let memory = unsafe { std::slice::from_raw_parts_mut(held.0.buf.cast::<u8>(), held.0.len as usize) };
    Ok(fill(memory))
}
