//! Who drives a native coroutine: the task that waits in it and is told by a waker when to go on.
//!
//! It is one task from the first step to the last, unless a program makes a mistake. Where a second task resumes a
//! coroutine in which the first one waits, asyncio has both wait for one future: whoever runs first goes on, and the
//! other one hears that the coroutine has ended. So it is here: both are told at the same time, in the order in which they
//! came.
//!
//! Where the coroutine has a future, it keeps who drives it; where it stands in a line, the line has the waker, and the
//! coroutine only has to know whether it is still the same task that comes.

use std::cell::Cell;
use std::ptr;
use std::task::{Poll, RawWakerVTable, Waker};

use pyo3::prelude::*;

use super::Coroutine;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, LocalQueue, LocalWake, Obj, Outcome, Ref, Visit, local_waker,
    waker_table, waker_target,
};
use crate::foreign::ForeignWaiter;
use crate::task::{self, Task};
use crate::waker::{is_waited_for, visit_waker};

/// Several who wait in one coroutine, in the order in which they came.
pub(crate) struct Several {
    wakers: LocalQueue<Waker>,
}

static SEVERAL: ClassCell = ClassCell::new();

impl Class for Several {
    const NAME: &'static std::ffi::CStr = c"sabio._Several";

    fn cell() -> &'static ClassCell {
        &SEVERAL
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.queue(&self.wakers, |visit, waker| visit_waker(visit, waker));
    }

    fn clear(&self) {
        drop(self.wakers.take_all());
    }
}

static WAKER: RawWakerVTable = waker_table::<Several>();

impl LocalWake for Several {
    fn table() -> &'static RawWakerVTable {
        &WAKER
    }

    fn wake(slf: Ref<Several>) {
        slf.wakers.take_all().into_iter().for_each(Waker::wake);
    }
}

impl Several {
    /// Those who wait already, and `newcomer`. MemoryError.
    fn join(py: Python<'_>, waiting: Vec<Waker>, newcomer: Waker) -> PyResult<Ref<Several>> {
        let wakers = LocalQueue::with_capacity(0);
        let known = waiting.iter().any(|waker| waker.will_wake(&newcomer));
        let newcomer = (!known).then_some(newcomer);
        for waker in waiting.into_iter().chain(newcomer) {
            wakers.make_room()?;
            wakers.push(waker);
        }
        Ok(Ref::create(py, Several { wakers })?)
    }
}

// ---------------------------------------------------------------- in a line

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

/// Who polls from a place in a line now.
pub(super) enum Standing<R> {
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
pub(super) fn stand<R>(stander: &Cell<Stander>, poll: impl FnOnce(&Waker) -> R) -> Standing<R> {
    task::with_current(|task| {
        let Some(task) = task else {
            return Standing::Foreign;
        };
        let now = Stander::of(task);
        let before = stander.replace(now);
        if before != now && before != Stander::NOBODY {
            return Standing::Changed(task.clone());
        }
        Standing::Same(local_waker(task, poll))
    })
}

/// Polls under a task of ours, after somebody else. `take` takes the waker that is in the line.
#[cold]
#[inline(never)]
pub(super) fn stand_after(
    stander: &Cell<Stander>,
    task: &Ref<Task>,
    poll: &mut dyn FnMut(&Waker) -> Poll<Outcome<Obj>>,
    take: &dyn Fn() -> Option<Waker>,
) -> Poll<Outcome<Obj>> {
    stand_with_others(stander, local_waker(task, Waker::clone), poll, take())
}

/// Polls from a place in a line under a task that is not ours (or no task at all, by hand). RuntimeError if no loop runs.
pub(super) fn stand_foreign(
    stander: &Cell<Stander>,
    py: Python<'_>,
    mut poll: impl FnMut(&Waker) -> Poll<Outcome<Obj>>,
    take: impl FnOnce() -> Option<Waker>,
) -> Outcome<(Poll<Outcome<Obj>>, Ref<ForeignWaiter>)> {
    let waiter = ForeignWaiter::create(py)?;
    stander.set(Stander::OTHER);
    let newcomer = local_waker(&waiter, Waker::clone);
    let polled = stand_with_others(stander, newcomer, &mut poll, take());
    Ok((polled, waiter))
}

/// Polls for `newcomer`, and for those behind the waker that was in the line.
#[cold]
#[inline(never)]
fn stand_with_others(
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

// ---------------------------------------------------------------- in a future

/// Polls a future under the task of ours that is being stepped; `None` if there is none.
#[inline(always)]
pub(super) fn poll_native(
    coroutine: &Coroutine,
    py: Python<'_>,
    mut poll: impl FnMut(&Waker) -> Poll<Outcome<Obj>>,
) -> Option<Poll<Outcome<Obj>>> {
    task::with_current(|task| {
        let task = task?;
        let before = coroutine.driver.as_ptr();
        if !before.is_null() && !ptr::eq(before, task.as_obj().as_ptr()) {
            let waker = local_waker(task, Waker::clone);
            return Some(poll_for(coroutine, py, task.as_obj(), waker, &mut poll));
        }
        let polled = local_waker(task, &mut poll);
        if polled.is_ready() {
            coroutine.driver.set(None);
        } else if before.is_null() {
            coroutine.driver.set(Some(task.as_obj().clone()));
        }
        Some(polled)
    })
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

// ---------------------------------------------------------------- in both

/// Those behind a waker who still wait.
fn behind(waker: Waker) -> Vec<Waker> {
    let several = waker_target::<Several, _>(&waker, |several| several.wakers.take_all());
    let mut wakers = several.map_or_else(|| vec![waker], Vec::from);
    wakers.retain(is_waited_for);
    wakers
}

/// Tells the driver of a future, or those who are it, that the coroutine has ended, if they still wait.
#[cold]
#[inline(never)]
pub(super) fn tell(driver: &Obj) {
    if let Some(waker) = Python::attach(|py| waker_of(py, driver)) {
        tell_behind(waker);
    }
}

/// Tells those behind a waker who still wait that the coroutine has ended.
#[cold]
#[inline(never)]
pub(super) fn tell_behind(waker: Waker) {
    let is_one = waker_target::<Several, _>(&waker, |_| ()).is_none();
    if is_one && !is_waited_for(&waker) {
        // Mostly it is the task that waited itself that goes.
        return;
    }
    without_exception(|| behind(waker).into_iter().for_each(Waker::wake));
}

/// Puts an exception that is set aside while `body` runs, which may call Python code.
pub(super) fn without_exception(body: impl FnOnce()) {
    Python::attach(|py| {
        let pending = PyErr::take(py);
        body();
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

/// Builds the class.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<Several>::new(c"Those who wait in one coroutine.").build(py, &Base::Object)?;
    Ok(())
}
