//! The coroutines of methods of primitives, which finish at once where they can and wait in place where they must.
//!
//! They need no memory but the coroutine, and one that has ended is used again: see `begun` for what they run.

use std::cell::{Cell, OnceCell};
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;
use sabio_sync::Place;

use super::several::{tell_behind, without_exception};
use super::stander::{self, Comer, Stander};
use super::{Coroutine, Life, Resuming, poll, reused};
use crate::begun::{Begin, Begun, Wait};
use crate::ffi::{Kept, Obj, ObjCell, Outcome, Ref, Sent};
use crate::parked::park_marker;
use crate::task::Task;

/// Ended coroutines of methods that needed no future: they hold nothing.
static KEPT: Kept<Coroutine, 32> = Kept::new();

/// A new coroutine of a method of `owner` that acts when it is first awaited: `begin` does what can be done at once, and
/// only if that was not all is there a future. The coroutine keeps object and argument alive until it ends and shows
/// them to the garbage collector; a future must hold neither, as with [`create_for`](super::create_for).
#[inline]
pub(crate) fn create_method(
    py: Python<'_>,
    name: &'static str,
    owner: &Obj,
    argument: Option<Obj>,
    begin: Begin,
) -> PyResult<Obj> {
    Ok(make(py, name, owner.clone(), argument, Some(begin), None)?)
}

/// As [`create_method`], for a method that is over when its wait is.
#[inline]
pub(crate) fn create_waiting(
    py: Python<'_>,
    name: &'static str,
    owner: Obj,
    argument: Option<Obj>,
    wait: &'static Wait,
) -> PyResult<Obj> {
    Ok(make(py, name, owner, argument, None, Some(wait))?)
}

#[inline(always)]
fn make(
    py: Python<'_>,
    name: &'static str,
    owner: Obj,
    argument: Option<Obj>,
    begin: Option<Begin>,
    wait: Option<&'static Wait>,
) -> Outcome<Obj> {
    if let Some(coroutine) = KEPT.take(py) {
        coroutine.name.set(name);
        coroutine.begin.set(begin);
        coroutine.wait.set(wait);
        coroutine.place.restart();
        coroutine.stander.set(Stander::NOBODY);
        coroutine.life.set(Life::Created);
        coroutine.owner.set(Some(owner));
        coroutine.argument.set(argument);
        return Ok(coroutine.into_obj());
    }
    let coroutine = Ref::create_with(py, || Coroutine {
        name: Cell::new(name),
        begin: Cell::new(begin),
        future: Cell::new(None),
        wait: Cell::new(wait),
        place: Place::default(),
        stander: Cell::new(Stander::NOBODY),
        life: Cell::new(Life::Created),
        awaiter: OnceCell::new(),
        owner: ObjCell::new(Some(owner)),
        argument: ObjCell::new(argument),
        driver: ObjCell::new(None),
    })?;
    Ok(coroutine.into_obj())
}

/// The first step of a method that may need a future.
pub(super) fn resume(slf: &Ref<Coroutine>, py: Python<'_>, begin: Begin) -> Outcome<Sent> {
    let resuming = Resuming(slf);
    let Some(owner) = slf.owner.get() else {
        return Err(reused().into());
    };
    match begin(py, &owner, &slf.argument)? {
        Begun::Done(result) => {
            drop(resuming);
            KEPT.keep(slf);
            Ok(Sent::Return(result))
        }
        Begun::Awaits(rest) => {
            let (awaiter, future) = *rest;
            let _ = slf.awaiter.set(awaiter);
            let result = poll(slf, py, future);
            drop(resuming);
            result
        }
    }
}

/// Polls for the object under whoever drives the coroutine, which is created or suspended. The object is out of its
/// place meanwhile: the collector takes it for held by somebody else, which it is.
#[inline(always)]
pub(super) fn stand(slf: &Ref<Coroutine>, py: Python<'_>, wait: &'static Wait) -> Outcome<Sent> {
    let Some(standing) = Standing::start(slf) else {
        return Err(reused().into());
    };
    match stander::poll(py, &slf.stander, |waker| standing.poll(py, wait, waker)) {
        Comer::Same(Poll::Pending) => {
            standing.suspend();
            Ok(Sent::Next(park_marker(py)?))
        }
        Comer::Same(Poll::Ready(result)) => standing.end(result),
        Comer::Changed(task) => stand_after(standing, py, wait, &task),
        Comer::Foreign => stand_foreign(standing, py, wait),
    }
}

/// As [`stand`], after somebody else has.
#[cold]
#[inline(never)]
fn stand_after(
    standing: Standing<'_>,
    py: Python<'_>,
    wait: &'static Wait,
    task: &Ref<Task>,
) -> Outcome<Sent> {
    let polled = stander::poll_after(
        &standing.coroutine.stander,
        task,
        &mut |waker| standing.poll(py, wait, waker),
        &|| standing.take_waker(py, wait),
    );
    match polled {
        Poll::Ready(result) => standing.end(result),
        Poll::Pending => {
            standing.suspend();
            Ok(Sent::Next(park_marker(py)?))
        }
    }
}

/// A coroutine that is being polled from its place in a line, and the object, which is put back if it is still needed.
struct Standing<'a> {
    coroutine: &'a Ref<Coroutine>,
    owner: Option<Obj>,
}

impl<'a> Standing<'a> {
    #[inline(always)]
    fn start(coroutine: &'a Ref<Coroutine>) -> Option<Standing<'a>> {
        let owner = Some(coroutine.owner.take()?);
        coroutine.life.set(Life::Running);
        Some(Standing { coroutine, owner })
    }

    #[inline(always)]
    fn poll(&self, py: Python<'_>, wait: &'static Wait, waker: &Waker) -> Poll<Outcome<Obj>> {
        let Some(owner) = &self.owner else {
            return Poll::Pending;
        };
        let mut context = Context::from_waker(waker);
        let coroutine = self.coroutine;
        (wait.poll)(py, owner, &coroutine.argument, &coroutine.place, &mut context)
    }

    /// The waker of who stands there.
    fn take_waker(&self, py: Python<'_>, wait: &'static Wait) -> Option<Waker> {
        (wait.take_waker)(py, self.owner.as_ref()?, &self.coroutine.place)
    }

    /// It goes on standing.
    #[inline(always)]
    fn suspend(self) {
        self.coroutine.life.set(Life::Suspended);
    }

    /// The wait is over, with this result.
    #[inline(always)]
    fn end(mut self, result: Outcome<Obj>) -> Outcome<Sent> {
        let result = result?;
        let coroutine = self.coroutine;
        coroutine.life.set(Life::Closed);
        coroutine.wait.set(None);
        drop(self.owner.take());
        coroutine.argument.set(None);
        KEPT.keep(coroutine);
        Ok(Sent::Return(result))
    }
}

impl Drop for Standing<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            if self.coroutine.life.get() == Life::Suspended {
                self.coroutine.owner.set(Some(owner));
            } else {
                fail(self.coroutine, owner);
            }
        }
    }
}

/// An error ends the wait.
#[cold]
#[inline(never)]
fn fail(coroutine: &Coroutine, owner: Obj) {
    coroutine.life.set(Life::Closed);
    without_exception(|| {
        coroutine.owner.set(Some(owner));
        coroutine.leave(tell_behind);
        coroutine.let_go();
    });
}

/// As [`stand`], under a task that is not ours (or no task at all, by hand).
#[inline(never)]
fn stand_foreign(standing: Standing<'_>, py: Python<'_>, wait: &'static Wait) -> Outcome<Sent> {
    let coroutine = standing.coroutine;
    if coroutine.place.is_outside()
        && let Some(owner) = &standing.owner
        && let Some(result) = (wait.at_once)(py, owner, &coroutine.argument)?
    {
        return standing.end(Ok(result));
    }
    let (polled, waiter) = stander::poll_foreign(
        &coroutine.stander,
        py,
        |waker| standing.poll(py, wait, waker),
        || standing.take_waker(py, wait),
    )?;
    match polled {
        Poll::Ready(result) => standing.end(result),
        Poll::Pending => {
            standing.suspend();
            Ok(Sent::Next(waiter.park(py)?))
        }
    }
}
