//! Several who wait in one native coroutine.
//!
//! It is one task from the first step to the last, unless a program makes a mistake. Where a second task resumes a
//! coroutine in which the first one waits, asyncio has both wait for one future: whoever runs first goes on, and the
//! other one hears that the coroutine has ended. So it is here: both are told at the same time, in the order in which they
//! came.
//!
//! `driver` and `stander` find out that somebody else has come; what is waited for gets one waker for all of them.

use std::task::{RawWakerVTable, Waker};

use pyo3::prelude::*;

use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, LocalQueue, LocalWake, Ref, Visit, waker_table, waker_target,
};
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
    pub(super) fn join(py: Python<'_>, waiting: Vec<Waker>, newcomer: Waker) -> PyResult<Ref<Several>> {
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

/// Those behind a waker who still wait.
pub(super) fn behind(waker: Waker) -> Vec<Waker> {
    let several = waker_target::<Several, _>(&waker, |several| several.wakers.take_all());
    let mut wakers = several.map_or_else(|| vec![waker], Vec::from);
    wakers.retain(is_waited_for);
    wakers
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
