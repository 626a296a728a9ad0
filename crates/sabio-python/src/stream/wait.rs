//! Who waits for a reader's data: one task at a time, parked by its waker.
//!
//! `StreamReader._waiter` is a future in asyncio. Here there is none until somebody looks at the attribute; and a future
//! that somebody puts there is resolved as asyncio's would be.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;

use crate::ffi::{Obj, Visit, call_method};
use crate::names::names;
use crate::outcome;
use crate::waker::visit_waker;

/// Who waits.
#[derive(Default)]
enum Who {
    #[default]
    Nobody,
    /// A native coroutine, and the future that stands for it where `_waiter` was looked at.
    Task(Waker, Option<Obj>),
    /// A future that was put there from outside.
    Future(Obj),
}

/// The place of the one who waits.
#[derive(Default)]
pub(super) struct Waiter {
    who: Cell<Who>,
    /// How many times somebody has begun to wait.
    turns: Cell<u64>,
    /// The turn of the native coroutine that waits now; 0 for none.
    waiting: Cell<u64>,
    /// The turn that ended with an exception.
    failed: Cell<u64>,
    /// So many bytes are needed before it is worth waking the one who waits.
    wanted: Cell<usize>,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woken {
    /// Data or the end of it has come.
    ByData,
    /// `set_exception()` was called.
    ByException,
}

impl Waiter {
    /// Whether nobody waits.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        let who = self.who.take();
        let free = matches!(who, Who::Nobody);
        self.who.set(who);
        free
    }

    /// How much data the native coroutine that waits needs, in bytes; 0 when none waits.
    #[inline]
    pub(super) fn wanted(&self) -> usize {
        if self.waiting.get() == 0 {
            0
        } else {
            self.wanted.get()
        }
    }

    /// Waits, in the free place, until somebody wakes. `wanted` is a promise to go on waiting until there are so many
    /// bytes, or the end.
    pub(super) fn wait(&self, wanted: usize) -> Wait<'_> {
        Wait {
            waiter: self,
            wanted,
            turn: 0,
        }
    }

    /// Wakes the one who waits, who is not there any more then. `exception` is that of `set_exception()`.
    #[inline]
    pub(super) fn wake(&self, py: Python<'_>, exception: Option<&Obj>) -> PyResult<()> {
        match self.take() {
            (Who::Nobody, _) => Ok(()),
            (Who::Task(waker, shown), turn) => {
                if exception.is_some() {
                    self.failed.set(turn);
                }
                waker.wake();
                shown.map_or(Ok(()), |shown| resolve(py, &shown, exception))
            }
            (Who::Future(future), _) => resolve(py, &future, exception),
        }
    }

    fn take(&self) -> (Who, u64) {
        (self.who.take(), self.waiting.replace(0))
    }

    /// `_waiter`: a future of the loop if somebody waits, or None.
    pub(super) fn get(&self, py: Python<'_>, create_future: impl FnOnce() -> PyResult<Obj>) -> PyResult<Obj> {
        let shown = match self.who.take() {
            Who::Nobody => return Ok(Obj::none(py)),
            Who::Future(future) => {
                self.who.set(Who::Future(future.clone()));
                return Ok(future);
            }
            Who::Task(waker, shown) => {
                self.who.set(Who::Task(waker, shown.clone()));
                shown
            }
        };
        if let Some(shown) = shown {
            return Ok(shown);
        }
        let future = create_future()?;
        match self.who.take() {
            Who::Task(waker, None) => self.who.set(Who::Task(waker, Some(future.clone()))),
            who => self.who.set(who),
        }
        Ok(future)
    }

    /// Sets `_waiter`. Whoever waited natively is forgotten.
    pub(super) fn set(&self, waiter: &Bound<'_, PyAny>) {
        let new = if waiter.is_none() {
            Who::Nobody
        } else {
            Who::Future(Obj::from(waiter))
        };
        self.waiting.set(0);
        drop(self.who.replace(new));
    }

    /// Shows what it owns.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        let who = self.who.take();
        match &who {
            Who::Nobody => {}
            Who::Task(waker, shown) => {
                visit_waker(visit, waker);
                visit.option(shown.as_ref());
            }
            Who::Future(future) => visit.obj(future),
        }
        self.who.set(who);
    }

    /// Lets go of who waits.
    pub(super) fn clear(&self) {
        drop(self.take());
    }
}

/// Ends the future, unless it was cancelled.
fn resolve(py: Python<'_>, future: &Obj, exception: Option<&Obj>) -> PyResult<()> {
    if outcome::is_cancelled(py, future)? {
        return Ok(());
    }
    let names = names(py)?;
    match exception {
        Some(exception) => call_method(py, future, &names.set_exception, &[exception])?,
        None => call_method(py, future, &names.set_result, &[&Obj::none(py)])?,
    };
    Ok(())
}

/// See [`Waiter::wait`]. Dropping it leaves the place.
pub(super) struct Wait<'a> {
    waiter: &'a Waiter,
    wanted: usize,
    /// 0 before it is first polled.
    turn: u64,
}

impl Future for Wait<'_> {
    type Output = Woken;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Woken> {
        let waiter = self.waiter;
        if self.turn == 0 {
            self.turn = waiter.turns.get() + 1;
            waiter.turns.set(self.turn);
            waiter.waiting.set(self.turn);
            waiter.wanted.set(self.wanted);
            drop(waiter.who.replace(Who::Task(cx.waker().clone(), None)));
            return Poll::Pending;
        }
        if waiter.waiting.get() == self.turn {
            match waiter.who.take() {
                Who::Task(waker, shown) => {
                    waiter.who.set(Who::Task(cx.waker().clone(), shown));
                    drop(waker);
                }
                who => waiter.who.set(who),
            }
            return Poll::Pending;
        }
        Poll::Ready(if waiter.failed.get() == self.turn {
            Woken::ByException
        } else {
            Woken::ByData
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.turn != 0 && self.waiter.waiting.get() == self.turn {
            self.waiter.clear();
        }
    }
}
