//! The coroutines of what is waited for without anything else happening: locks, semaphores and events.
//!
//! They hold no reference to the state behind the object: the coroutine has the object, and its place in the line.

use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;
use sabio_sync::{Place, WaitQueue};

use super::owner_as;
use crate::begun::Wait;
use crate::coroutine;
use crate::ffi::{IntoObj, Obj, ObjCell, Outcome, Ref};
use crate::loop_binding::LoopBound;

/// A class whose objects are waited for.
pub(super) trait Waited: LoopBound {
    /// Takes what it gives, if that needs no waiting.
    fn take(&self) -> bool;

    /// Polls for it from a place in its line.
    fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()>;

    /// Its line.
    fn line(&self) -> &WaitQueue;

    /// Gives a place up.
    fn leave(&self, place: &Place);
}

/// What the method returns.
trait Give: 'static {
    fn give(py: Python<'_>) -> Outcome<Obj>;
}

struct True;

impl Give for True {
    #[inline]
    fn give(py: Python<'_>) -> Outcome<Obj> {
        Ok(true.into_obj(py)?)
    }
}

struct Nothing;

impl Give for Nothing {
    #[inline]
    fn give(py: Python<'_>) -> Outcome<Obj> {
        Ok(Obj::none(py))
    }
}

/// `acquire()` or `wait()`, which return True: a coroutine.
#[inline]
pub(super) fn give_true<T: Waited>(py: Python<'_>, name: &'static str, waited: &Ref<T>) -> PyResult<Obj> {
    coroutine::create_waiting(py, name, waited.as_obj().clone(), None, wait::<T, True>())
}

/// What `__aenter__()` waits for, which returns None.
pub(super) const fn enter<T: Waited>() -> &'static Wait {
    wait::<T, Nothing>()
}

const fn wait<T: Waited, G: Give>() -> &'static Wait {
    const {
        &Wait {
            at_once: at_once::<T, G>,
            poll: poll::<T, G>,
            take_waker: take_waker::<T>,
            leave: leave::<T>,
        }
    }
}

fn at_once<T: Waited, G: Give>(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Option<Obj>> {
    if owner_as::<T>(py, owner)?.take() {
        return Ok(Some(G::give(py)?));
    }
    Ok(None)
}

fn poll<T: Waited, G: Give>(
    py: Python<'_>,
    owner: &Obj,
    _argument: &ObjCell,
    place: &Place,
    cx: &mut Context<'_>,
) -> Poll<Outcome<Obj>> {
    let waited = owner_as::<T>(py, owner)?;
    if place.is_outside() {
        if waited.take() {
            return Poll::Ready(G::give(py));
        }
        waited.binding().bind_for(cx.waker(), |_| Ok(owner.clone()))?;
    }
    waited.poll(place, cx).map(|()| G::give(py))
}

fn take_waker<T: Waited>(py: Python<'_>, owner: &Obj, place: &Place) -> Option<Waker> {
    owner_as::<T>(py, owner).ok()?.line().take_waker(place)
}

fn leave<T: Waited>(py: Python<'_>, owner: &Obj, place: &Place) {
    if let Ok(waited) = owner_as::<T>(py, owner) {
        waited.leave(place);
    }
}
