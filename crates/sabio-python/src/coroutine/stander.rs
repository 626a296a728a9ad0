//! Who stands in a line for a native coroutine that waits without a future.
//!
//! The line has the waker of who waits: the coroutine only has to know whether it is still the same task that comes.

use std::cell::Cell;
use std::task::{Poll, Waker};

use pyo3::prelude::*;

use super::several::{Several, behind};
use crate::ffi::{Obj, Outcome, Ref, local_waker};
use crate::foreign::ForeignWaiter;
use crate::task::{self, Task};

/// Who has polled from the coroutine's place in a line: nobody, the task of ours at this address, or somebody else. The
/// address is only compared: the line has the waker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stander(usize);

impl Stander {
    // No object lies at these two.
    pub(super) const NOBODY: Stander = Stander(0);
    const OTHER: Stander = Stander(1);

    #[inline(always)]
    fn of(task: &Ref<Task>) -> Stander {
        Stander(task.as_obj().as_ptr().addr())
    }
}

/// Who has come to poll from a place in a line.
pub(super) enum Comer<R> {
    /// The task of ours that is being stepped, as ever: this came of it.
    Same(R),
    /// A task of ours, after somebody else.
    Changed(Ref<Task>),
    /// No task of ours.
    Foreign,
}

/// Polls under the task of ours that is being stepped, if nobody else has polled before.
// The one use of `poll`, so that it is laid out in place; what is seldom is left to the caller.
#[inline(always)]
pub(super) fn poll<R>(py: Python<'_>, stander: &Cell<Stander>, poll: impl FnOnce(&Waker) -> R) -> Comer<R> {
    let Some(task) = task::current(py) else {
        return Comer::Foreign;
    };
    let now = Stander::of(&task);
    let before = stander.replace(now);
    if before != now && before != Stander::NOBODY {
        return Comer::Changed(task);
    }
    Comer::Same(local_waker(&task, poll))
}

/// Polls under a task of ours, after somebody else. `take` takes the waker that is in the line.
#[cold]
#[inline(never)]
pub(super) fn poll_after(
    stander: &Cell<Stander>,
    task: &Ref<Task>,
    poll: &mut dyn FnMut(&Waker) -> Poll<Outcome<Obj>>,
    take: &dyn Fn() -> Option<Waker>,
) -> Poll<Outcome<Obj>> {
    poll_with_others(stander, local_waker(task, Waker::clone), poll, take())
}

/// Polls from a place in a line under a task that is not ours (or no task at all, by hand). RuntimeError if no loop runs.
pub(super) fn poll_foreign(
    stander: &Cell<Stander>,
    py: Python<'_>,
    mut poll: impl FnMut(&Waker) -> Poll<Outcome<Obj>>,
    take: impl FnOnce() -> Option<Waker>,
) -> Outcome<(Poll<Outcome<Obj>>, Ref<ForeignWaiter>)> {
    let waiter = ForeignWaiter::create(py)?;
    stander.set(Stander::OTHER);
    let newcomer = local_waker(&waiter, Waker::clone);
    let polled = poll_with_others(stander, newcomer, &mut poll, take());
    Ok((polled, waiter))
}

/// Polls for `newcomer`, and for those behind the waker that was in the line.
#[cold]
#[inline(never)]
fn poll_with_others(
    stander: &Cell<Stander>,
    newcomer: Waker,
    poll: &mut dyn FnMut(&Waker) -> Poll<Outcome<Obj>>,
    before: Option<Waker>,
) -> Poll<Outcome<Obj>> {
    let waiting = before.map_or_else(Vec::new, behind);
    if waiting.is_empty() {
        return poll(&newcomer);
    }
    let several = Python::attach(|py| Several::join(py, waiting, newcomer))?;
    stander.set(Stander::OTHER);
    local_waker(&several, poll)
}
