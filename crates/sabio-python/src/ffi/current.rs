//! The task that this thread is stepping natively, if any: what a native coroutine parks.
//!
//! A task of asyncio's own may be started eagerly inside of a step of ours, by calling its class. It asks the loop whether
//! it is running before that: from then on, until the next step, the current task is in doubt.
//!
//! The place owns its task. It is a plain pointer in a thread-local without a destructor: reading it costs one load,
//! and a thread that ends in the middle of a step leaks one reference instead of touching Python while detached.
//!
//! Invariant: a task that is current when a step begins stays in the place until the step is over, or is held by who has
//! put another one there meanwhile and brings it back. So it is borrowed during a step, and not counted.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;

use pyo3::ffi as py_ffi;

use super::class::Class;
use super::object::{Obj, Ref};

type Place = Cell<*mut py_ffi::PyObject>;

thread_local! {
    static CURRENT: Place = const { Cell::new(std::ptr::null_mut()) };
}

/// Marks the one class whose instances may be current. Only [`crate::task::Task`] implements it.
pub(crate) trait Current: Class {}

/// The bit of the place that says that somebody else may be stepping meanwhile: addresses of objects leave it free.
const DOUBTED: usize = 1;

fn object(place: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    place.map_addr(|address| address & !DOUBTED)
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
struct Outer<'a, T: Current> {
    place: &'a Place,
    task: Option<Ref<T>>,
    doubted: usize,
}

impl<'a, T: Current> Outer<'a, T> {
    fn put_aside(place: &'a Place, task: Option<Ref<T>>) -> Outer<'a, T> {
        let doubted = place.get().addr() & DOUBTED;
        let task = replace(place, task);
        Outer { place, task, doubted }
    }
}

impl<T: Current> Drop for Outer<'_, T> {
    fn drop(&mut self) {
        let inner = replace(self.place, self.task.take());
        self.place
            .set(self.place.get().map_addr(|address| address | self.doubted));
        drop(inner);
    }
}

/// Runs `body` with `task` as the current one, or with none, inside of the step of another, which `body` gets and which
/// is current again afterwards.
pub(crate) fn with_current<T: Current, R>(
    task: Option<Ref<T>>,
    body: impl FnOnce(Option<&Ref<T>>) -> R,
) -> R {
    CURRENT.with(|place| {
        let outer = Outer::put_aside(place, task);
        body(outer.task.as_ref())
    })
}

/// Where the steps of a loop that runs on this thread make their tasks current: one after the other, never one inside
/// of another.
pub(crate) struct Stage<'a, T: Current> {
    place: &'a Place,
    class: PhantomData<T>,
}

/// Runs `body`, which runs a loop. No task is current at first; the one that is now is so again afterwards.
pub(crate) fn with_stage<T: Current, R>(body: impl FnOnce(&mut Stage<'_, T>) -> R) -> R {
    CURRENT.with(|place| {
        let _outer = Outer::<T>::put_aside(place, None);
        body(&mut Stage {
            place,
            class: PhantomData,
        })
    })
}

impl<T: Current> Stage<'_, T> {
    /// Makes `task` current, beyond doubt, and gives back the one before, which may be the same.
    #[inline(always)]
    pub(crate) fn enter(&mut self, task: Ref<T>) -> (Entered<'_, T>, Option<Ref<T>>) {
        // SAFETY: the place owns the reference from the next line on. It gives it away in `enter` and `leave`, which the
        // borrow of the stage forbids for as long as there is an `Entered`, and to an `Outer`, which brings it back when
        // the function that made it ends: that is, within the step.
        let entered = unsafe { Ref::from_obj(Obj::from_owned(task.as_obj().as_ptr())) };
        let before = replace(self.place, Some(task));
        (
            Entered {
                task: ManuallyDrop::new(entered),
                stage: PhantomData,
            },
            before,
        )
    }

    /// No task is current any more.
    #[inline(always)]
    pub(crate) fn leave(&mut self) -> Option<Ref<T>> {
        if self.place.get().is_null() {
            return None;
        }
        replace(self.place, None)
    }
}

/// The current task of a stage, borrowed from it.
pub(crate) struct Entered<'a, T: Current> {
    task: ManuallyDrop<Ref<T>>,
    stage: PhantomData<&'a mut Place>,
}

impl<T: Current> Deref for Entered<'_, T> {
    type Target = Ref<T>;

    #[inline(always)]
    fn deref(&self) -> &Ref<T> {
        &self.task
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
pub(crate) enum Stepping<'a, T: Current> {
    /// There is none.
    Nobody,
    /// It is this one.
    Certain(&'a Ref<T>),
    /// It is this one, or one that is not ours and was started inside of its step.
    Doubtful(&'a Ref<T>),
}

/// Calls `body` with the current task.
#[inline(always)]
pub(crate) fn current<T: Current, R>(body: impl FnOnce(Stepping<'_, T>) -> R) -> R {
    let place = CURRENT.get();
    let task = object(place);
    if task.is_null() {
        return body(Stepping::Nobody);
    }
    // SAFETY: the place owns a reference to an instance of the one class that is `Current`, or whoever has taken it out
    // since brings it back before `body` ends: see the invariant above. A loop's turn changes the place only between
    // two steps, where nothing that could call this is running.
    let task = unsafe { Ref::from_ptr_ref(&task) };
    body(if place.addr() & DOUBTED == 0 {
        Stepping::Certain(task)
    } else {
        Stepping::Doubtful(task)
    })
}
