//! Who drives a native coroutine that has a future: the task that waits in it and is told by a waker when to go on.
//!
//! The coroutine keeps it, so that a second one that comes does not push it aside (see `several`).

use std::ptr;
use std::task::{Poll, Waker};

use pyo3::prelude::*;

use super::Coroutine;
use super::several::{Several, behind, tell_behind};
use crate::ffi::{Obj, Outcome, Ref, local_waker};
use crate::foreign::ForeignWaiter;
use crate::task::{self, Task};

/// Polls a future under the task of ours that is being stepped; `None` if there is none.
#[inline(always)]
pub(super) fn poll_native(
    coroutine: &Coroutine,
    py: Python<'_>,
    mut poll: impl FnMut(&Waker) -> Poll<Outcome<Obj>>,
) -> Option<Poll<Outcome<Obj>>> {
    let task = task::current(py)?;
    let before = coroutine.driver.as_ptr();
    if !before.is_null() && !ptr::eq(before, task.as_obj().as_ptr()) {
        let waker = local_waker(&task, Waker::clone);
        return Some(poll_for(coroutine, py, task.as_obj(), waker, &mut poll));
    }
    let polled = local_waker(&task, &mut poll);
    if polled.is_ready() {
        coroutine.driver.set(None);
    } else if before.is_null() {
        coroutine.driver.set(Some(task.into_obj()));
    }
    Some(polled)
}

/// Polls a future under a task that is not ours (or no task at all, by hand). RuntimeError if no loop runs.
pub(super) fn poll_foreign(
    coroutine: &Coroutine,
    py: Python<'_>,
    poll: &mut dyn FnMut(&Waker) -> Poll<Outcome<Obj>>,
) -> Outcome<(Poll<Outcome<Obj>>, Ref<ForeignWaiter>)> {
    let waiter = ForeignWaiter::create(py)?;
    let waker = local_waker(&waiter, Waker::clone);
    let polled = poll_for(coroutine, py, waiter.as_obj(), waker, poll);
    Ok((polled, waiter))
}

/// Polls for `newcomer`, and for whoever else still waits in the coroutine.
#[inline(never)]
fn poll_for(
    coroutine: &Coroutine,
    py: Python<'_>,
    newcomer: &Obj,
    waker: Waker,
    poll: &mut dyn FnMut(&Waker) -> Poll<Outcome<Obj>>,
) -> Poll<Outcome<Obj>> {
    let before = coroutine.driver.take();
    let waiting = before
        .and_then(|driver| waker_of(py, &driver))
        .map_or_else(Vec::new, behind);
    if waiting.is_empty() {
        let polled = poll(&waker);
        if polled.is_pending() {
            coroutine.driver.set(Some(newcomer.clone()));
        }
        return polled;
    }
    let several = Several::join(py, waiting, waker)?;
    // Whoever has waited is told when the coroutine ends, whatever comes of this.
    coroutine.driver.set(Some(several.as_obj().clone()));
    local_waker(&several, poll)
}

fn waker_of(py: Python<'_>, driver: &Obj) -> Option<Waker> {
    let driver = driver.bind(py);
    Ref::<Task>::downcast(driver)
        .map(|task| local_waker(task, Waker::clone))
        .or_else(|| Ref::<ForeignWaiter>::downcast(driver).map(|waiter| local_waker(waiter, Waker::clone)))
        .or_else(|| Ref::<Several>::downcast(driver).map(|several| local_waker(several, Waker::clone)))
}

/// Tells the driver of a future, or those who are it, that the coroutine has ended, if they still wait.
#[cold]
#[inline(never)]
pub(super) fn tell(driver: &Obj) {
    if let Some(waker) = Python::attach(|py| waker_of(py, driver)) {
        tell_behind(waker);
    }
}
