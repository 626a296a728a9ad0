//! What futures and tasks have in common: their state, who waits, and how they end.

use std::cell::{Cell, OnceCell};

use crate::event_loop::{Loop, Ready};
use crate::ffi::{Class, Obj, ObjCell, Outcome, Ref, Slot, Visit};
use crate::future_iterator::Awaited;
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
    pub(crate) waiter: Slot<Ref<Task>>,
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
        let free = self.state.get() == State::Pending && !self.has_callbacks.get() && self.waiter.is_none();
        if free {
            self.waiter.set(Some(task.clone()));
        }
        free
    }

    /// Ends the future: our state first, then the native waiter onto the ready queue, then the base with its
    /// callbacks. `end` makes the base's transition.
    pub(crate) fn finish(
        &self,
        _slf: &Obj,
        state: State,
        result: Option<Obj>,
        end: impl FnOnce() -> Outcome<Obj>,
    ) -> Outcome<Obj> {
        let waiter = self.waiter.take();
        self.state.set(state);
        self.result.set(result);
        let Some(waiter) = waiter else { return end() };
        match waiter.event_loop().cloned() {
            Some(event_loop) => {
                event_loop.push(Ready::Wakeup(waiter));
                let ended = end()?;
                event_loop.check_closed()?;
                Ok(ended)
            }
            None => end(),
        }
    }

    /// Shows what it owns.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        visit.option(self.event_loop.get().map(Ref::as_obj));
        visit.slot(&self.waiter);
        visit.slot(&self.result);
    }

    /// Lets go of what may be part of a cycle. The loop stays: finalizers need it.
    pub(crate) fn clear(&self) {
        self.waiter.set(None);
        self.result.set(None);
    }
}

/// A class that has a [`FutureCore`].
pub(crate) trait FutureLike: Class {
    /// The common part.
    fn core(&self) -> &FutureCore;

    /// What an iterator over it holds.
    fn awaited(slf: &Ref<Self>) -> Awaited;
}
