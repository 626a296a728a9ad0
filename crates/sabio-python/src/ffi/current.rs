//! The task that this thread is stepping natively, if any: what a native coroutine parks.
//!
//! A task of asyncio's own may be started eagerly inside of a step of ours, by calling its class. It asks the loop whether
//! it is running before that: from then on, until the next step, the current task is in doubt.
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

/// The bit of the place that says that somebody else may be stepping meanwhile: addresses of objects leave it free.
const DOUBTED: usize = 1;

fn object(place: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    place.map_addr(|address| address & !DOUBTED)
}

/// Makes `task` the current one, beyond doubt, and gives back the one before.
#[inline]
pub(crate) fn set_current<T: Current>(task: Option<Ref<T>>) -> Option<Ref<T>> {
    let new = task.map_or(std::ptr::null_mut(), |task| task.into_obj().into_ptr());
    let old = object(CURRENT.replace(new));
    if old.is_null() {
        None
    } else {
        // SAFETY: the place owned the reference, and only instances of the one class that is `Current` get there.
        Some(unsafe { Ref::from_obj(Obj::from_owned(old)) })
    }
}

/// Runs `body` with `task` as the current one, or with none, inside of the step of another, which `body` gets and which
/// is current again afterwards.
pub(crate) fn with_current<T: Current, R>(
    task: Option<Ref<T>>,
    body: impl FnOnce(Option<&Ref<T>>) -> R,
) -> R {
    let doubted = CURRENT.get().addr() & DOUBTED;
    let outer = set_current(task);
    let result = body(outer.as_ref());
    drop(set_current(outer));
    CURRENT.set(CURRENT.get().map_addr(|address| address | doubted));
    result
}

/// From now on until the next step it is not certain who is stepping: a task that is not ours may be started inside of
/// the step of the current one, and does not say so.
#[inline]
pub(crate) fn doubt_current() {
    let task = CURRENT.get();
    if !task.is_null() {
        CURRENT.set(task.map_addr(|address| address | DOUBTED));
    }
}

/// The current task.
pub(crate) enum Stepping<T: Current> {
    /// There is none.
    Nobody,
    /// It is this one.
    Certain(Ref<T>),
    /// It is this one, or one that is not ours and was started inside of its step.
    Doubtful(Ref<T>),
}

/// A new reference to the current task.
#[inline]
pub(crate) fn current<T: Current>(_class: PhantomData<T>) -> Stepping<T> {
    let place = CURRENT.get();
    let task = object(place);
    if task.is_null() {
        return Stepping::Nobody;
    }
    // SAFETY: the place owns a reference to an instance of the one class that is `Current`.
    let task = unsafe { Ref::from_obj(Obj::from_borrowed(task)) };
    if place.addr() & DOUBTED == 0 {
        Stepping::Certain(task)
    } else {
        Stepping::Doubtful(task)
    }
}
