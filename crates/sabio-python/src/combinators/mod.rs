//! What combines awaitables (asyncio: Coroutines and Tasks): `gather`, `shield`, `wait`, `as_completed`,
//! `ensure_future`, `to_thread`, `run_coroutine_threadsafe`, `wrap_future`.
//!
//! All of them watch futures through one `Observer` each, so that on futures of ours nothing is made per child: no
//! callback, no handle, no context. On futures and loops that are not ours they are callbacks like others, and so work
//! wherever asyncio's do. Results, turns and order are asyncio's.

pub(crate) mod as_completed;
pub(crate) mod chain;
mod distinct;
pub(crate) mod ensure;
pub(crate) mod gather;
pub(crate) mod gathering;
pub(crate) mod shield;
pub(crate) mod threads;
pub(crate) mod wait;

use pyo3::prelude::*;

use crate::asyncio::asyncio;
use crate::ffi::Obj;
use crate::future_core::native_core;
use crate::task;

pub(crate) use ensure::{is_coroutine, is_future};

/// The running loop, or what the version makes of none: `asyncio.get_event_loop()`.
fn event_loop_of_caller(py: Python<'_>) -> PyResult<Obj> {
    if let Some(task) = task::current(py)
        && let Some(event_loop) = task.event_loop()
    {
        return Ok(event_loop.as_obj().clone());
    }
    Ok(asyncio(py)?
        .events
        .bind(py)
        .call_method0("get_event_loop")?
        .into())
}

/// Whom the call graph of 3.14 names as the one who awaits: the current task of this loop. Nobody on older versions,
/// which have no call graph.
fn awaiting_task(py: Python<'_>, event_loop: &Obj) -> PyResult<Option<Obj>> {
    #[cfg(Py_3_14)]
    {
        if let Some(task) = task::current(py)
            && let Some(own) = task.event_loop()
            && std::ptr::eq(own.as_obj().as_ptr(), event_loop.as_ptr())
        {
            return Ok(Some(task.into_obj()));
        }
        let tasks = asyncio(py)?.tasks.bind(py);
        let current = tasks.call_method1("current_task", (event_loop.bind(py),))?;
        Ok((!current.is_none()).then(|| current.into()))
    }
    #[cfg(not(Py_3_14))]
    {
        let _ = (py, event_loop);
        Ok(None)
    }
}

/// Records that `waiter` awaits `future` (3.14: the call graph).
#[inline]
pub(crate) fn add_awaiter(py: Python<'_>, future: &Obj, waiter: Option<&Obj>) -> PyResult<()> {
    match waiter {
        Some(waiter) if native_core(future.bind(py)).is_some() => {
            asyncio(py)?.registry.add_awaiter(py, future, waiter)
        }
        Some(waiter) => note_awaiter(py, "future_add_to_awaited_by", future, waiter),
        None => Ok(()),
    }
}

/// Takes back what [`add_awaiter`] recorded.
#[inline]
pub(crate) fn discard_awaiter(py: Python<'_>, future: &Obj, waiter: Option<&Obj>) -> PyResult<()> {
    match waiter {
        Some(waiter) if native_core(future.bind(py)).is_some() => {
            asyncio(py)?.registry.discard_awaiter(py, future, waiter)
        }
        Some(waiter) => note_awaiter(py, "future_discard_from_awaited_by", future, waiter),
        None => Ok(()),
    }
}

/// Futures of other kinds keep the call graph in their own way, which asyncio knows.
#[cfg(Py_3_14)]
fn note_awaiter(py: Python<'_>, function: &str, future: &Obj, waiter: &Obj) -> PyResult<()> {
    let futures = asyncio(py)?.futures.bind(py);
    futures.call_method1(function, (future.bind(py), waiter.bind(py)))?;
    Ok(())
}

/// There is no call graph yet.
#[cfg(not(Py_3_14))]
fn note_awaiter(_py: Python<'_>, _function: &str, _future: &Obj, _waiter: &Obj) -> PyResult<()> {
    Ok(())
}

/// Adds the functions to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    gathering::init(module)?;
    as_completed::init(module)?;
    chain::init(module)?;
    ensure::init(module)?;
    gather::init(module)?;
    shield::init(module)?;
    threads::init(module)?;
    wait::init(module)
}
