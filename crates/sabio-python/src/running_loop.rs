//! The loop that runs on this thread, ours or any other (asyncio: `get_running_loop`).
//!
//! Inside of a step of ours the current task knows it; only elsewhere is asyncio asked.

use pyo3::prelude::*;

use crate::asyncio::asyncio;
use crate::ffi::{Obj, call0};
use crate::task;

/// The loop of the task that this thread is stepping natively.
#[inline]
fn of_current_task(py: Python<'_>) -> Option<Obj> {
    let task = task::current(py)?;
    task.event_loop().map(|event_loop| event_loop.as_obj().clone())
}

/// The running loop. RuntimeError if none runs.
#[inline]
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Obj> {
    match of_current_task(py) {
        Some(event_loop) => Ok(event_loop),
        None => Ok(call0(py, &asyncio(py)?.get_running_loop)?),
    }
}

/// The running loop, if one runs.
#[inline]
pub(crate) fn running_loop_if_any(py: Python<'_>) -> PyResult<Option<Obj>> {
    if let Some(event_loop) = of_current_task(py) {
        return Ok(Some(event_loop));
    }
    let running = call0(py, &asyncio(py)?.get_running_loop_or_none)?;
    Ok((!running.bind(py).is_none()).then_some(running))
}
