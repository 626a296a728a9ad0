//! The task that this thread is stepping natively, if any: what a native coroutine parks.
//!
//! From CPython 3.14 on that is the task that asyncio knows as the running one, which costs as little to ask for as a place
//! of our own ([`running`](super::running)) and is right whoever has changed it. Before, asking is dear, so that the steps
//! leave their task in a place of this thread. A task of asyncio's own may be started eagerly inside of a step of ours,
//! by calling its class. It asks the loop whether it is running before that: from then on, until the next step, the
//! current task is in doubt there.
//!
//! The place is a plain pointer in a thread-local without a destructor: reading it costs one load, and a thread that
//! ends in the middle of a step leaks one reference instead of touching Python while detached.
//!
//! Steps on one thread need not end in the order in which they began: a coroutine may switch to another stack (greenlets)
//! in the middle of one. So whoever takes a step owns its task, and the place owns what is in it.

use std::cell::Cell;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::class::Class;
use super::object::{Obj, Ref};

type Place = Cell<*mut py_ffi::PyObject>;

thread_local! {
    static CURRENT: Place = const { Cell::new(std::ptr::null_mut()) };
}

/// Marks the one class whose instances may be current. Only [`crate::task::Task`] implements it.
pub(crate) trait Current: Class {
    /// Whether it is being stepped natively, and nobody has only called it the running one.
    #[cfg(Py_3_14)]
    fn is_stepped(&self) -> bool;
}

/// The bit of the place that says that somebody else may be stepping meanwhile: addresses of objects leave it free.
const DOUBTED: usize = 1;

fn object(place: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    place.map_addr(|address| address & !DOUBTED)
}

/// Whether the places of the threads are out of use, asyncio being asked.
#[inline(always)]
fn asks_asyncio() -> bool {
    #[cfg(Py_3_14)]
    return super::running::is_known();
    #[cfg(not(Py_3_14))]
    return false;
}

/// Puts `task` in the place, beyond doubt, and gives back what was there.
#[inline(always)]
fn replace<T: Current>(place: &Place, task: Option<Ref<T>>) -> Option<Ref<T>> {
    let new = task.map_or(std::ptr::null_mut(), |task| task.into_obj().into_ptr());
    let old = object(place.replace(new));
    if old.is_null() {
        None
    } else {
        // SAFETY: the place owned the reference, and only instances of the one class that is `Current` get there.
        Some(unsafe { Ref::from_obj(Obj::from_owned(old)) })
    }
}

/// Puts back, when it is dropped, what was in the place, with its doubt.
struct Outer<T: Current> {
    task: Option<Ref<T>>,
    doubted: usize,
}

impl<T: Current> Outer<T> {
    fn put_aside(task: Option<Ref<T>>) -> Outer<T> {
        CURRENT.with(|place| {
            let doubted = place.get().addr() & DOUBTED;
            let task = replace(place, task);
            Outer { task, doubted }
        })
    }
}

impl<T: Current> Drop for Outer<T> {
    fn drop(&mut self) {
        let inner = CURRENT.with(|place| {
            let inner = replace(place, self.task.take());
            place.set(place.get().map_addr(|address| address | self.doubted));
            inner
        });
        drop(inner);
    }
}

/// Runs `body` with `task` as the current one, or with none, inside of the step of another, which `body` gets and which
/// is current again afterwards. For asyncio, the caller makes it so.
pub(crate) fn with_current<T: Current, R>(
    task: Option<Ref<T>>,
    body: impl FnOnce(Option<&Ref<T>>) -> R,
) -> R {
    if asks_asyncio() {
        return body(None);
    }
    let outer = Outer::put_aside(task);
    body(outer.task.as_ref())
}

/// Where the steps of a loop that runs on this thread make their tasks current, one after the other. It owns the last one
/// until there is another, or none.
pub(crate) struct Stage<T: Current> {
    entered: Option<Ref<T>>,
}

/// Runs `body`, which runs a loop. No task is current at first; the one that is now is so again afterwards.
pub(crate) fn with_stage<T: Current, R>(body: impl FnOnce(&mut Stage<T>) -> R) -> R {
    let _outer = (!asks_asyncio()).then(|| Outer::<T>::put_aside(None));
    body(&mut Stage { entered: None })
}

impl<T: Current> Stage<T> {
    /// Makes `task` current, beyond doubt, and gives back the one before, which may be the same.
    #[inline(always)]
    pub(crate) fn enter(&mut self, task: Ref<T>) -> (&Ref<T>, Option<Ref<T>>) {
        if !asks_asyncio() {
            drop(CURRENT.with(|place| replace(place, Some(task.clone()))));
        }
        let before = self.entered.take();
        (self.entered.insert(task), before)
    }

    /// No task is current any more.
    #[inline(always)]
    pub(crate) fn leave(&mut self) -> Option<Ref<T>> {
        let left = self.entered.take()?;
        if !asks_asyncio() {
            drop(CURRENT.with(|place| replace::<T>(place, None)));
        }
        Some(left)
    }
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

#[cfg(Py_3_14)]
#[inline(always)]
fn is_stepped<T: Current>(task: &Bound<'_, PyAny>) -> bool {
    let task = Ref::<T>::downcast_exact(task).or_else(|| Ref::<T>::downcast(task));
    task.is_some_and(|task| task.is_stepped())
}

/// The current task of this thread.
#[inline(always)]
pub(crate) fn current<T: Current>(py: Python<'_>) -> Stepping<T> {
    #[cfg(Py_3_14)]
    if asks_asyncio() {
        return match super::running::running_task(py) {
            Some(task) if is_stepped::<T>(task.bind(py)) => {
                // SAFETY: just checked.
                Stepping::Certain(unsafe { Ref::from_obj(task) })
            }
            _ => Stepping::Nobody,
        };
    }
    let _ = py;
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
