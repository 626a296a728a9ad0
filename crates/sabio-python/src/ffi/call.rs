//! Calls into Python without a tuple of arguments (PEP 590), and resuming coroutines.

use std::mem::MaybeUninit;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::error::{Outcome, Raised};
use super::object::Obj;

/// What a coroutine gave when it was resumed.
pub(crate) enum Sent {
    /// It yielded this.
    Next(Obj),
    /// It returned this.
    Return(Obj),
}

/// Calls longer than this go over a heap-allocated array.
pub(super) const STACK_ARGS: usize = 8;

/// SystemError for a call that these functions are not made for.
#[cold]
fn misused(py: Python<'_>) -> Raised {
    pyo3::exceptions::PySystemError::new_err("wrong number of arguments for a native call").restore(py);
    Raised::new()
}

/// Calls with a vector whose first word is free for the callee to overwrite.
///
/// # Safety
/// All other words are objects that live for the time of the call.
#[inline]
pub(super) unsafe fn vectorcall(
    py: Python<'_>,
    callable: &Obj,
    vector: &[*mut py_ffi::PyObject],
) -> Outcome<Obj> {
    // SAFETY: attached; the arguments are alive by this function's contract.
    unsafe {
        Obj::from_owned_or_err(
            py,
            py_ffi::PyObject_Vectorcall(
                callable.as_ptr(),
                vector.as_ptr().add(1),
                (vector.len() - 1) | py_ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                std::ptr::null_mut(),
            ),
        )
    }
}

/// `callable()`.
#[inline]
pub(crate) fn call0(py: Python<'_>, callable: &Obj) -> Outcome<Obj> {
    // SAFETY: attached; no arguments.
    unsafe { Obj::from_owned_or_err(py, py_ffi::PyObject_CallNoArgs(callable.as_ptr())) }
}

/// `callable(arg)`.
#[inline]
pub(crate) fn call1(py: Python<'_>, callable: &Obj, arg: &Obj) -> Outcome<Obj> {
    call_args(py, callable, std::slice::from_ref(arg))
}

/// `callable(*args)`.
#[inline]
pub(crate) fn call_args(py: Python<'_>, callable: &Obj, args: &[Obj]) -> Outcome<Obj> {
    with_vector(args, |vector, count| {
        // SAFETY: attached; the vector holds `count` live arguments behind one word that the callee may overwrite.
        unsafe {
            Obj::from_owned_or_err(
                py,
                py_ffi::PyObject_Vectorcall(
                    callable.as_ptr(),
                    vector,
                    count | py_ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                    std::ptr::null_mut(),
                ),
            )
        }
    })
}

/// `receiver.name(*args)`; `name` is an interned string.
#[inline]
pub(crate) fn call_method(py: Python<'_>, receiver: &Obj, name: &Obj, args: &[&Obj]) -> Outcome<Obj> {
    if args.len() + 1 > STACK_ARGS {
        return Err(misused(py));
    }
    let mut vector = [std::ptr::null_mut(); STACK_ARGS + 1];
    vector[1] = receiver.as_ptr();
    for (place, arg) in vector[2..].iter_mut().zip(args) {
        *place = arg.as_ptr();
    }
    // SAFETY: attached; receiver and arguments are alive; the word before the receiver is the callee's to overwrite.
    unsafe {
        Obj::from_owned_or_err(
            py,
            py_ffi::PyObject_VectorcallMethod(
                name.as_ptr(),
                vector.as_ptr().add(1),
                (args.len() + 1) | py_ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                std::ptr::null_mut(),
            ),
        )
    }
}

/// Lays the arguments out behind one free word and calls `body` with their address.
#[inline]
fn with_vector<R>(args: &[Obj], body: impl FnOnce(*const *mut py_ffi::PyObject, usize) -> R) -> R {
    if args.len() <= STACK_ARGS {
        let mut vector = [const { MaybeUninit::<*mut py_ffi::PyObject>::uninit() }; STACK_ARGS + 1];
        for (place, arg) in vector[1..].iter_mut().zip(args) {
            place.write(arg.as_ptr());
        }
        body(vector[1..].as_ptr().cast(), args.len())
    } else {
        let vector: Vec<_> = std::iter::once(std::ptr::null_mut())
            .chain(args.iter().map(Obj::as_ptr))
            .collect();
        body(vector[1..].as_ptr(), args.len())
    }
}

/// Whether this is the coroutine of an `async def` function.
#[inline]
pub(crate) fn is_coroutine_exact(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive; only its class is looked at.
    unsafe { py_ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Resumes a coroutine or iterator with `value`, as `PyIter_Send` does.
pub(crate) fn send(_py: Python<'_>, coroutine: &Obj, value: &Obj) -> Outcome<Sent> {
    // SAFETY: attached; a live value.
    unsafe { send_pointer(coroutine, value.as_ptr()) }
}

/// Resumes a coroutine or iterator with None.
#[inline(always)]
pub(crate) fn send_none(_py: Python<'_>, coroutine: &Obj) -> Outcome<Sent> {
    // SAFETY: attached; None is always alive.
    unsafe { send_pointer(coroutine, py_ffi::Py_None()) }
}

/// # Safety
/// This thread is attached, and `value` is a live object.
#[inline(always)]
unsafe fn send_pointer(coroutine: &Obj, value: *mut py_ffi::PyObject) -> Outcome<Sent> {
    let mut result = std::ptr::null_mut();
    // SAFETY: the caller's; on NEXT and RETURN the result is a new reference, on ERROR an exception is set.
    unsafe {
        match py_ffi::PyIter_Send(coroutine.as_ptr(), value, &raw mut result) {
            py_ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Next(Obj::from_owned(result))),
            py_ffi::PySendResult::PYGEN_RETURN => Ok(Sent::Return(Obj::from_owned(result))),
            py_ffi::PySendResult::PYGEN_ERROR => Err(Raised::new()),
        }
    }
}
