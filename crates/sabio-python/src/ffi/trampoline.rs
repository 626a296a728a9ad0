//! The C functions that CPython calls for our methods, attributes and slots: each is made for one plain Rust function,
//! turns panics into exceptions and results into references.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::args::{Args, borrow};
use super::call::Sent;
use super::class::Class;
use super::convert::IntoObj;
use super::ending::keep_thread;
use super::error::{Outcome, guard, guard_outcome, panic_error};
use super::object::{Obj, Ref};

/// A value of a type of size zero, of which the program has had a value before: a registered function.
#[inline(always)]
pub(super) fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "only plain functions can be registered") };
    // SAFETY: a type of size zero has no bytes to read; one value of it was passed to the builder, and it is `Copy`.
    unsafe { NonNull::<F>::dangling().as_ptr().read() }
}

/// The result as CPython wants it. Inside of the guard against panics, so that no more than a pointer leaves it.
#[inline(always)]
fn finish<R: IntoObj>(py: Python<'_>, body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    keep_thread();
    let result = catch_unwind(AssertUnwindSafe(|| {
        match body(py).and_then(|value| value.into_obj(py)) {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    }));
    match result {
        Ok(pointer) => pointer,
        Err(payload) => {
            panic_error(&*payload).restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Runs the body of a C function that returns an object: attached in PyO3's eyes too, panics turned into exceptions.
#[inline(always)]
pub(super) fn enter<R: IntoObj>(body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    Python::attach(|py| finish(py, body))
}

/// As [`enter`], without telling PyO3.
#[inline(always)]
fn enter_fast<R: IntoObj>(body: impl FnOnce(Python<'_>) -> PyResult<R>) -> *mut py_ffi::PyObject {
    // SAFETY: CPython calls the functions of a class only on an attached thread.
    let py = unsafe { Python::assume_attached() };
    finish(py, body)
}

/// Runs the body of a C function that returns 0, or -1 for an exception.
#[inline(always)]
pub(super) fn enter_int(body: impl FnOnce(Python<'_>) -> PyResult<()>) -> c_int {
    keep_thread();
    Python::attach(|py| match guard(|| body(py)) {
        Ok(()) => 0,
        Err(error) => {
            error.restore(py);
            -1
        }
    })
}

pub(super) unsafe extern "C" fn fastcall<T, F, R>(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the arguments are those of this vectorcall.
    enter(|py| unsafe {
        conjure::<F>()(
            Ref::from_ptr_ref(&slf),
            Args::new(py, args, nargs as usize, kwnames),
        )
    })
}

pub(super) unsafe extern "C" fn fastcall_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the arguments are those of this vectorcall.
    enter_fast(|py| unsafe {
        conjure::<F>()(
            Ref::from_ptr_ref(&slf),
            Args::new(py, args, nargs as usize, kwnames),
        )
    })
}

/// A function of the module.
pub(super) unsafe extern "C" fn function<F, R>(
    _: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    F: for<'a, 'py> Fn(Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: the arguments are those of this vectorcall.
    enter(|py| unsafe { conjure::<F>()(Args::new(py, args, nargs as usize, kwnames)) })
}

/// As [`function`], for hot paths.
pub(super) unsafe extern "C" fn function_fast<F, R>(
    _: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    nargs: py_ffi::Py_ssize_t,
    kwnames: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    F: for<'a, 'py> Fn(Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: the arguments are those of this vectorcall.
    enter_fast(|py| unsafe { conjure::<F>()(Args::new(py, args, nargs as usize, kwnames)) })
}

pub(super) unsafe extern "C" fn noargs<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance.
    enter(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

pub(super) unsafe extern "C" fn noargs_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

pub(super) unsafe extern "C" fn onearg_fast<T, F, R>(
    slf: *mut py_ffi::PyObject,
    arg: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a method descriptor checks that `slf` is an instance; the argument is alive for the call.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), borrow(py, &arg)) })
}

/// A slot with one object in and one out.
pub(super) unsafe extern "C" fn unary<T, F, R>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a slot of the class gets an instance of it.
    enter(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

/// As [`unary`], for hot paths.
pub(super) unsafe extern "C" fn unary_fast<T, F, R>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a slot of the class gets an instance of it.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

/// `am_send`.
pub(super) unsafe extern "C" fn am_send<T, F>(
    slf: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
    result: *mut *mut py_ffi::PyObject,
) -> py_ffi::PySendResult
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> Outcome<Sent> + Copy,
{
    keep_thread();
    // SAFETY: CPython calls slots on an attached thread with an instance of the class, a live value, and a place for
    // one result, of which we give a new reference.
    unsafe {
        let py = Python::assume_attached();
        let sent = guard_outcome(py, || {
            let value = (!value.is_null()).then(|| &*(&raw const value).cast::<Obj>());
            conjure::<F>()(Ref::from_ptr_ref(&slf), py, value)
        });
        match sent {
            Ok(Sent::Next(object)) => {
                *result = object.into_ptr();
                py_ffi::PySendResult::PYGEN_NEXT
            }
            Ok(Sent::Return(object)) => {
                *result = object.into_ptr();
                py_ffi::PySendResult::PYGEN_RETURN
            }
            Err(raised) => {
                raised.leave();
                *result = std::ptr::null_mut();
                py_ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

/// `tp_iternext`: a return value other than None travels as StopIteration.
pub(super) unsafe extern "C" fn iternext<T, F>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>, Option<&Obj>) -> Outcome<Sent> + Copy,
{
    keep_thread();
    // SAFETY: CPython calls slots on an attached thread with an instance of the class.
    let (py, sent) = unsafe {
        let py = Python::assume_attached();
        (
            py,
            guard_outcome(py, || conjure::<F>()(Ref::from_ptr_ref(&slf), py, None)),
        )
    };
    match sent {
        Ok(Sent::Next(object)) => object.into_ptr(),
        Ok(Sent::Return(object)) => {
            if !object.bind(py).is_none() {
                super::stop_iteration::set_stop_iteration(py, object);
            }
            std::ptr::null_mut()
        }
        Err(raised) => {
            raised.leave();
            std::ptr::null_mut()
        }
    }
}

/// `tp_iternext` of an iterator that is no coroutine.
pub(super) unsafe extern "C" fn next<T, F>(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<Option<Obj>> + Copy,
{
    keep_thread();
    Python::attach(|py| {
        // SAFETY: a slot of the class gets an instance of it.
        match guard(|| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) }) {
            Ok(Some(object)) => object.into_ptr(),
            Ok(None) => std::ptr::null_mut(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

/// `tp_setattro` of a class that hears of what is set and deleted.
pub(super) unsafe extern "C" fn setattro<T, F>(
    slf: *mut py_ffi::PyObject,
    name: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
) -> c_int
where
    T: Class,
    F: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<()> + Copy,
{
    // SAFETY: attached; the slot gets an instance, a name, and a value or null.
    if unsafe { py_ffi::PyObject_GenericSetAttr(slf, name, value) } != 0 {
        return -1;
    }
    // SAFETY: a slot of the class gets an instance of it; the name is alive for the call.
    enter_int(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), borrow(py, &name)) })
}

/// `tp_hash`.
pub(super) unsafe extern "C" fn hash<T, F>(slf: *mut py_ffi::PyObject) -> py_ffi::Py_hash_t
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<isize> + Copy,
{
    keep_thread();
    // SAFETY: a slot of the class gets an instance of it.
    Python::attach(
        |py| match guard(|| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) }) {
            Ok(-1) => -2,
            Ok(hash) => hash,
            Err(error) => {
                error.restore(py);
                -1
            }
        },
    )
}

/// `tp_richcompare`.
pub(super) unsafe extern "C" fn richcompare<T, F>(
    slf: *mut py_ffi::PyObject,
    other: *mut py_ffi::PyObject,
    op: c_int,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, &Bound<'_, PyAny>, CompareOp) -> PyResult<Option<bool>> + Copy,
{
    enter(|py| {
        let op = CompareOp::from_raw(op).ok_or_else(|| PyTypeError::new_err("unknown comparison"))?;
        // SAFETY: a slot of the class gets an instance of it as its first operand.
        match unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), borrow(py, &other), op)? } {
            Some(answer) => answer.into_obj(py),
            None => Ok(Obj::from(&py.NotImplemented().into_bound(py))),
        }
    })
}

pub(super) unsafe extern "C" fn getter<T, F, R>(
    slf: *mut py_ffi::PyObject,
    _closure: *mut c_void,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    // SAFETY: a getset descriptor checks that `slf` is an instance.
    enter_fast(|py| unsafe { conjure::<F>()(Ref::from_ptr_ref(&slf), py) })
}

pub(super) unsafe extern "C" fn setter<T, G>(
    slf: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
    _closure: *mut c_void,
) -> c_int
where
    T: Class,
    G: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<()> + Copy,
{
    enter_int(|py| {
        if value.is_null() {
            return Err(pyo3::exceptions::PyAttributeError::new_err(
                "this attribute cannot be deleted",
            ));
        }
        // SAFETY: a getset descriptor checks that `slf` is an instance; the value is alive for the call.
        unsafe { conjure::<G>()(Ref::from_ptr_ref(&slf), borrow(py, &value)) }
    })
}
