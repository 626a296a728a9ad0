//! The coroutines of what is waited for without anything else happening: locks, semaphores and events.
//!
//! They hold no reference to the state behind the object: the coroutine has the object, and its place in the line.

use std::task::{Context, Poll};

use pyo3::prelude::*;
use sabio_sync::Place;

use super::owner_as;
use crate::begun::{Begun, Wait};
use crate::ffi::{IntoObj, Obj, ObjCell, Outcome};
use crate::loop_binding::LoopBound;

/// A class whose objects are waited for.
pub(super) trait Waited: LoopBound {
    /// Takes what it gives, if that needs no waiting.
    fn take(&self) -> bool;

    /// Polls for it from a place in its line.
    fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()>;

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

/// `acquire()` or `wait()`, which return True.
pub(super) fn begin_true<T: Waited>(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    begin::<T, True>(py, owner)
}

/// `__aenter__()`, which returns None.
pub(super) fn begin_none<T: Waited>(py: Python<'_>, owner: &Obj, _argument: &ObjCell) -> Outcome<Begun> {
    begin::<T, Nothing>(py, owner)
}

#[inline]
fn begin<T: Waited, G: Give>(py: Python<'_>, owner: &Obj) -> Outcome<Begun> {
    if owner_as::<T>(py, owner)?.take() {
        return Ok(Begun::Done(G::give(py)?));
    }
    Ok(Begun::Waits(
        const {
            &Wait {
                poll: poll::<T, G>,
                leave: leave::<T>,
            }
        },
    ))
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
        waited.binding().bind_for(cx.waker(), |_| Ok(owner.clone()))?;
    }
    waited.poll(place, cx).map(|()| G::give(py))
}

fn leave<T: Waited>(py: Python<'_>, owner: &Obj, place: &Place) {
    if let Ok(waited) = owner_as::<T>(py, owner) {
        waited.leave(place);
    }
}
