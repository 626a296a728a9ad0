//! The task that this thread is stepping natively, if any: what a native coroutine parks.
//!
//! The place owns its task. It is a plain pointer in a thread-local without a destructor: reading it costs one load,
//! and a thread that ends in the middle of a step leaks one reference instead of touching Python while detached.

use std::cell::Cell;
use std::marker::PhantomData;

use pyo3::ffi as py_ffi;

use super::class::Class;
use super::object::{Obj, Ref};

thread_local! {
    static CURRENT: Cell<*mut py_ffi::PyObject> = const { Cell::new(std::ptr::null_mut()) };
}

/// Marks the one class whose instances may be current. Only [`crate::task::Task`] implements it.
pub(crate) trait Current: Class {}

/// Makes `task` the current one and gives back the one before.
#[inline]
pub(crate) fn set_current<T: Current>(task: Option<Ref<T>>) -> Option<Ref<T>> {
    let new = task.map_or(std::ptr::null_mut(), |task| task.into_obj().into_ptr());
    let old = CURRENT.replace(new);
    if old.is_null() {
        None
    } else {
        // SAFETY: the place owned the reference, and only instances of the one class that is `Current` get there.
        Some(unsafe { Ref::from_obj(Obj::from_owned(old)) })
    }
}

/// A new reference to the current task.
#[inline]
pub(crate) fn current<T: Current>(_class: PhantomData<T>) -> Option<Ref<T>> {
    let task = CURRENT.get();
    if task.is_null() {
        None
    } else {
        // SAFETY: the place owns a reference to an instance of the one class that is `Current`.
        Some(unsafe { Ref::from_obj(Obj::from_borrowed(task)) })
    }
}
