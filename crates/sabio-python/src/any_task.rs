//! What timeouts and task groups ask of the task that they run in, whatever its kind: natively where it is exactly
//! ours, through its methods where it is not.

use pyo3::prelude::*;

use crate::asyncio::asyncio;
use crate::event_loop::Loop;
use crate::ffi::{Obj, Ref, call_method, call0};
use crate::future_core::FutureLike;
use crate::names::names;
use crate::task::{self, Task};

/// The running loop.
#[derive(Clone)]
pub(crate) enum RunningLoop {
    /// One that is exactly a `sabio.Loop`: its clock and its timers may be used natively.
    Ours(Ref<Loop>),
    /// Any other, a subclass of ours among them.
    Other(Obj),
}

impl RunningLoop {
    /// The running loop of this thread. RuntimeError if none runs.
    #[inline]
    pub(crate) fn find(py: Python<'_>) -> PyResult<RunningLoop> {
        if let Some(event_loop) = task::current(py).and_then(|task| task.event_loop().cloned())
            && event_loop.is_plain(py)
        {
            return Ok(RunningLoop::Ours(event_loop));
        }
        let running = call0(py, &asyncio(py)?.get_running_loop)?;
        Ok(match Ref::<Loop>::downcast(running.bind(py)) {
            Some(event_loop) if event_loop.is_plain(py) => RunningLoop::Ours(event_loop.clone()),
            _ => RunningLoop::Other(running),
        })
    }

    /// The loop.
    pub(crate) fn as_obj(&self) -> &Obj {
        match self {
            RunningLoop::Ours(event_loop) => event_loop.as_obj(),
            RunningLoop::Other(event_loop) => event_loop,
        }
    }
}

/// The current task of the running loop, or of `event_loop`. RuntimeError if no loop runs.
#[inline]
pub(crate) fn current(py: Python<'_>) -> PyResult<Option<Obj>> {
    if let Some(task) = task::current(py) {
        return Ok(Some(task.into_obj()));
    }
    let current = asyncio(py)?.tasks.bind(py).call_method0("current_task")?;
    Ok((!current.is_none()).then(|| current.into()))
}

#[inline]
fn native_task<'a>(py: Python<'a>, task: &'a Obj) -> Option<&'a Ref<Task>> {
    Ref::<Task>::downcast_exact(task.bind(py)).filter(|task| task.core().is_native())
}

/// `future.cancel()`.
#[inline]
pub(crate) fn cancel(py: Python<'_>, task: &Obj) -> PyResult<()> {
    match native_task(py, task) {
        Some(task) => task::request_cancel(task, py, None).map(drop),
        None => Ok(call_method(py, task, &names(py)?.cancel, &[]).map(drop)?),
    }
}

/// `task.cancelling()`.
#[inline]
pub(crate) fn cancelling(py: Python<'_>, task: &Obj) -> PyResult<usize> {
    match native_task(py, task) {
        Some(task) => Ok(task.cancels()),
        None => task.bind(py).call_method0("cancelling")?.extract(),
    }
}

/// `task.uncancel()`.
#[inline]
pub(crate) fn uncancel(py: Python<'_>, task: &Obj) -> PyResult<usize> {
    match native_task(py, task) {
        Some(task) => Ok(task.take_back_cancel()),
        None => task.bind(py).call_method0("uncancel")?.extract(),
    }
}

/// Whether `class` is `asyncio.CancelledError` or derives from it. TypeError if it is no class.
pub(crate) fn is_cancellation(class: &Bound<'_, PyAny>) -> PyResult<bool> {
    let cancelled_error = asyncio(class.py())?.cancelled_error.bind(class.py());
    if class.is(cancelled_error) {
        return Ok(true);
    }
    class
        .cast::<pyo3::types::PyType>()
        .map_err(PyErr::from)?
        .is_subclass(cancelled_error)
}
