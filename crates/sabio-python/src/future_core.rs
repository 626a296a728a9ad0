//! What futures and tasks have in common: their state, who waits, and how they end.

use std::cell::{Cell, OnceCell};

use pyo3::prelude::*;

use crate::combinators::gathering;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{Class, Obj, ObjCell, Outcome, Ref, Slot, Visit};
use crate::future::Future;
use crate::future_iterator::Awaited;
use crate::observer::Observer;
use crate::task::Task;

/// Where a future is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    #[default]
    Pending,
    Cancelled,
    Finished,
}

/// What futures and tasks have in common.
#[derive(Default)]
pub(crate) struct FutureCore {
    /// The loop, if it is one of ours.
    pub(crate) event_loop: OnceCell<Ref<Loop>>,
    pub(crate) state: Cell<State>,
    /// `_asyncio_future_blocking`: set by `await`, read by whoever steps the coroutine.
    pub(crate) blocking: Cell<bool>,
    pub(crate) has_callbacks: Cell<bool>,
    /// The task that is woken when the future is done. At most one of `waiter` and `observer` is set.
    pub(crate) waiter: Slot<Ref<Task>>,
    /// What is told when the future is done.
    observer: Slot<Ref<Observer>>,
    pub(crate) result: ObjCell,
}

impl FutureCore {
    /// Binds the future to a loop of ours.
    #[inline]
    pub(crate) fn set_event_loop(&self, event_loop: Ref<Loop>) {
        // A future stays with its first loop, whatever its initialiser is called with again.
        let _ = self.event_loop.set(event_loop);
    }

    /// The loop, if it is one of ours.
    #[inline]
    pub(crate) fn event_loop(&self) -> Option<&Ref<Loop>> {
        self.event_loop.get()
    }

    /// Whether it is bound to a loop of ours: everything is done natively then.
    #[inline]
    pub(crate) fn is_native(&self) -> bool {
        self.event_loop.get().is_some()
    }

    /// Whether it is bound to this loop.
    #[inline]
    pub(crate) fn belongs_to(&self, event_loop: &Ref<Loop>) -> bool {
        self.event_loop.get().is_some_and(|own| own.same(event_loop))
    }

    /// Pending, cancelled or finished.
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// The result, if it finished with one (not with an exception).
    #[inline]
    pub(crate) fn result(&self) -> Option<Obj> {
        self.result.get()
    }

    /// Whether somebody awaits it who has not been stepped since.
    #[inline]
    pub(crate) fn blocking(&self) -> &Cell<bool> {
        &self.blocking
    }

    /// Takes `task` as the native waiter, if there is nobody before it.
    #[inline]
    pub(crate) fn park(&self, task: &Ref<Task>) -> bool {
        let free = self.state.get() == State::Pending && self.is_unwatched();
        if free {
            self.waiter.set(Some(task.clone()));
        }
        free
    }

    /// Whether there is neither a callback nor a native waiter or observer.
    #[inline]
    fn is_unwatched(&self) -> bool {
        !self.has_callbacks.get() && self.waiter.is_none() && self.observer.is_none()
    }

    /// Takes `observer` in, if there is nobody before it who has not been told.
    pub(crate) fn observe(&self, observer: &Ref<Observer>) -> bool {
        let free = match self.state.get() {
            State::Pending => self.is_unwatched(),
            State::Cancelled | State::Finished => self.observer.is_none(),
        };
        if free {
            self.observer.set(Some(observer.clone()));
        }
        free
    }

    /// Lets go of `observer`. False if it is not in here.
    pub(crate) fn stop_observing(&self, observer: &Ref<Observer>) -> bool {
        let is_here = std::ptr::eq(self.observer.as_ptr(), observer.as_obj().as_ptr());
        if is_here {
            self.observer.set(None);
        }
        is_here
    }

    /// The observer.
    pub(crate) fn observer(&self) -> Option<Ref<Observer>> {
        self.observer.get()
    }

    /// The observer, which is told now.
    pub(crate) fn take_observer(&self) -> Option<Ref<Observer>> {
        self.observer.take()
    }

    /// Puts the native waiter or the observer on the ready queue, and says of which loop. The waiter stays with the
    /// caller, who may have to put it back.
    pub(crate) fn notify(&self, slf: &Obj) -> Option<Notified> {
        if let Some(waiter) = self.waiter.take() {
            let event_loop = waiter.event_loop().cloned()?;
            event_loop.push(Ready::Wakeup(waiter.clone()));
            return Some(Notified {
                event_loop,
                waiter: Some(waiter),
            });
        }
        if self.observer.is_none() {
            return None;
        }
        let event_loop = self.event_loop().cloned()?;
        event_loop.push(Ready::Observed(slf.clone()));
        Some(Notified {
            event_loop,
            waiter: None,
        })
    }

    /// Ends the future: our state first, then the native waiter onto the ready queue, then the base with its
    /// callbacks. `end` makes the base's transition.
    pub(crate) fn finish(
        &self,
        slf: &Obj,
        state: State,
        result: Option<Obj>,
        end: impl FnOnce() -> Outcome<Obj>,
    ) -> Outcome<Obj> {
        let waiter = self.waiter.take();
        self.state.set(state);
        self.result.set(result);
        // Apart from `notify`: this is the hot path, and the waiter goes onto the queue without being counted again.
        let event_loop = match waiter {
            Some(waiter) => {
                let Some(event_loop) = waiter.event_loop().cloned() else {
                    return end();
                };
                event_loop.push(Ready::Wakeup(waiter));
                event_loop
            }
            None if self.observer.is_none() => return end(),
            None => {
                let Some(notified) = self.notify(slf) else {
                    return end();
                };
                notified.event_loop
            }
        };
        let ended = end()?;
        event_loop.check_closed()?;
        Ok(ended)
    }

    /// Shows what it owns.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.option(self.event_loop.get().map(Ref::as_obj));
        visit.slot(&self.waiter);
        visit.slot(&self.observer);
        visit.slot(&self.result);
    }

    /// Lets go of what may be part of a cycle. The loop stays: finalizers need it.
    pub(crate) fn clear(&self) {
        self.waiter.set(None);
        self.observer.set(None);
        self.result.set(None);
    }
}

/// Who was told by [`FutureCore::notify`].
pub(crate) struct Notified {
    pub(crate) event_loop: Ref<Loop>,
    pub(crate) waiter: Option<Ref<Task>>,
}

/// The common part of a `sabio.Future` or `sabio.Task`, or of what `gather` gives; not of an instance of another
/// subclass, which may override anything.
#[inline]
pub(crate) fn native_core<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a FutureCore> {
    if let Some(future) = Ref::<Future>::downcast_exact(object) {
        return Some(future.core());
    }
    match Ref::<Task>::downcast_exact(object) {
        Some(task) => Some(task.core()),
        None => gathering::core(object),
    }
}

/// A class that has a [`FutureCore`].
pub(crate) trait FutureLike: Class {
    /// The common part.
    fn core(&self) -> &FutureCore;

    /// What an iterator over it holds.
    fn awaited(slf: &Ref<Self>) -> Awaited;
}
