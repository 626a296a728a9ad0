//! The native coroutine under somebody else's task: it yields a real future of the running loop, which the waker
//! resolves.
//!
//! The loop may be one of ours (under a C `asyncio.Task`) or any other. The future is resolved at once, as asyncio's
//! own primitives do: the task runs in the turn in which it would run with those.

use std::cell::Cell;
use std::task::RawWakerVTable;

use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::any_task::RunningLoop;
use crate::asyncio::asyncio;
use crate::event_loop::{asyncios_future, runs_asyncios_task};
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, LocalWake, Obj, ObjCell, Ref, Visit, call_method, waker_table,
};
use crate::future_core::{FutureLike, State, native_core};
use crate::names::names;

/// What the waker of a native coroutine under a foreign task holds.
pub(crate) struct ForeignWaiter {
    running: RunningLoop,
    /// The future that the task waits for, from when the coroutine has parked.
    future: ObjCell,
    woken: Cell<bool>,
}

static FOREIGN_WAITER: ClassCell = ClassCell::new();

impl Class for ForeignWaiter {
    const NAME: &'static std::ffi::CStr = c"sabio._ForeignWaiter";

    fn cell() -> &'static ClassCell {
        &FOREIGN_WAITER
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.obj(self.running.as_obj());
        visit.slot(&self.future);
    }

    fn clear(&self) {
        self.future.set(None);
    }
}

static WAKER: RawWakerVTable = waker_table::<ForeignWaiter>();

impl LocalWake for ForeignWaiter {
    fn table() -> &'static RawWakerVTable {
        &WAKER
    }

    fn wake(slf: Ref<ForeignWaiter>) {
        if slf.woken.replace(true) || slf.future.is_none() {
            return;
        }
        Python::attach(|py| {
            if let Err(error) = slf.resolve(py) {
                error.write_unraisable(py, Some(slf.running.as_obj().bind(py)));
            }
        });
    }
}

impl ForeignWaiter {
    /// A waiter under the running loop. RuntimeError if none runs.
    pub(crate) fn create(py: Python<'_>) -> PyResult<Ref<ForeignWaiter>> {
        let waiter = ForeignWaiter {
            running: RunningLoop::find(py)?,
            future: ObjCell::new(None),
            woken: Cell::new(false),
        };
        Ok(Ref::create(py, waiter)?)
    }

    /// What the coroutine yields to park the task: a future that the waker resolves, or None if it was woken already.
    pub(crate) fn park(&self, py: Python<'_>) -> PyResult<Obj> {
        if self.woken.get() {
            return Ok(Obj::none(py));
        }
        let future = match &self.running {
            RunningLoop::Ours(event_loop) if !runs_asyncios_task(py)? => {
                let future = crate::future::create(py, event_loop)?;
                future.core().blocking().set(true);
                future.into_obj()
            }
            RunningLoop::Ours(event_loop) => blocking(py, asyncios_future(py, event_loop)?)?,
            RunningLoop::Other(event_loop) => {
                let made = call_method(py, event_loop, &names(py)?.create_future, &[])?;
                blocking(py, made)?
            }
        };
        self.future.set(Some(future.clone()));
        Ok(future)
    }

    /// The future, until it is resolved.
    pub(crate) fn future(&self) -> Option<Obj> {
        self.future.get()
    }

    /// Whether the future is still to be resolved, and somebody else has it.
    pub(crate) fn is_waited_for(&self) -> bool {
        // One reference is ours, and one the slot's.
        !self.woken.get() && self.future.get().is_some_and(|future| future.refcount() > 2)
    }

    /// Whether the task has been cancelled and only has to run to notice it, as far as that can be seen at the future
    /// without running Python code.
    pub(crate) fn is_cancelled(&self) -> bool {
        let Some(future) = self.future.get() else {
            return false;
        };
        Python::attach(|py| {
            let bound = future.bind(py);
            if let Some(core) = native_core(bound) {
                return core.state() == State::Cancelled;
            }
            let Ok(asyncio) = asyncio(py) else { return false };
            let base = &asyncio.future;
            base.class.class().bind(py).is(bound.get_type().as_any())
                && base
                    .cancelled
                    .call(py, [&future])
                    .is_ok_and(|cancelled| cancelled.bind(py).is(PyBool::new(py, true).as_any()))
        })
    }

    /// Resolves the future, unless it was cancelled meanwhile.
    fn resolve(&self, py: Python<'_>) -> PyResult<()> {
        let Some(future) = self.future.take() else {
            return Ok(());
        };
        let names = names(py)?;
        if !call_method(py, &future, &names.done, &[])?.bind(py).is_truthy()? {
            call_method(py, &future, &names.set_result, &[&Obj::none(py)])?;
        }
        Ok(())
    }
}

/// The future, marked as what a coroutine awaits.
fn blocking(py: Python<'_>, future: Obj) -> PyResult<Obj> {
    future.bind(py).setattr(names(py)?.blocking.text(py), true)?;
    Ok(future)
}

/// Builds the class.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ClassBuilder::<ForeignWaiter>::new(c"Wakes a foreign task.").build(py, &Base::Object)?;
    Ok(())
}
