//! The result of a `concurrent.futures.Future` as a future of the loop: what `asyncio.wrap_future` gives, without a
//! Python callback, a handle or a context for each.
//!
//! The thread that ends the work puts a job on the ready queue, which copies the outcome. A future that is cancelled
//! takes the work with it, if that has not begun. Called by `run_in_executor`.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

use super::{Loop, Ready, errors};
use crate::asyncio::asyncio;
use crate::ffi::{BoundFunction, FunctionDef, FunctionDefinition, Obj, Ref, call_method};
use crate::future::Future;
use crate::future_core::{FutureLike, State};
use crate::names::names;

/// What the thread that ends the work calls with it; bound to the loop's future.
struct WorkDone;

static WORK_DONE: FunctionDefinition = FunctionDefinition::new::<WorkDone>();

impl FunctionDef for WorkDone {
    const NAME: &'static std::ffi::CStr = c"_call_set_state";

    fn definition() -> &'static FunctionDefinition {
        &WORK_DONE
    }

    fn call(py: Python<'_>, slf: &Obj, work: &Obj) -> PyResult<Obj> {
        let Some(future) = Ref::<Future>::downcast(slf.bind(py)) else {
            return Ok(Obj::none(py));
        };
        let Some(event_loop) = future.core().event_loop() else {
            return Ok(Obj::none(py));
        };
        if event_loop.is_closed() || event_loop.is_inherited() {
            return Ok(Obj::none(py));
        }
        if event_loop.is_running_here() {
            copy_outcome(py, work, future)?;
        } else {
            let (future, work) = (future.clone(), work.clone());
            event_loop.push(Ready::job(future.as_obj().clone(), move |py, event_loop| {
                copy_outcome(py, &work, &future).or_else(|error| {
                    let message = "Exception while taking over the outcome of work in an executor";
                    errors::exit_or_report(py, event_loop, error, message, &[("future", future.as_obj())])
                })
            }));
            event_loop.wake_if_waiting();
        }
        Ok(Obj::none(py))
    }
}

/// Ends the loop's future as the work has ended, unless it was cancelled.
fn copy_outcome(py: Python<'_>, work: &Obj, future: &Ref<Future>) -> PyResult<()> {
    drop(future.take_work());
    if future.core().state() != State::Pending {
        return Ok(());
    }
    let names = names(py)?;
    match call_method(py, work, &names.exception, &[]).map_err(PyErr::from) {
        Ok(exception) if exception.bind(py).is_none() => {
            let result = call_method(py, work, &names.result, &[])?;
            call_method(py, future.as_obj(), &names.set_result, &[&result])?;
        }
        Ok(exception) => {
            // The exceptions of `concurrent.futures` have counterparts in asyncio.
            let futures = asyncio(py)?.futures.bind(py);
            let exception = futures.call_method1("_convert_future_exc", (exception.bind(py),))?;
            let exception = raisable(&exception)?;
            future.bind(py).call_method1("set_exception", (exception,))?;
        }
        Err(error) => {
            if !call_method(py, work, &names.cancelled, &[])?
                .bind(py)
                .is_truthy()?
            {
                return Err(error);
            }
            call_method(py, future.as_obj(), &names.cancel, &[])?;
        }
    }
    Ok(())
}

/// StopIteration can not be the exception of a future: from 3.12.2 on futures take a RuntimeError for it, before they
/// refused it, and whoever waited for the work would have waited for ever.
fn raisable<'py>(exception: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if !exception.is_instance_of::<PyStopIteration>() {
        return Ok(exception.clone());
    }
    let message = "StopIteration interacts badly with generators and cannot be raised into a Future";
    let error = PyRuntimeError::new_err(message).into_value(exception.py());
    let error = error.into_bound(exception.py()).into_any();
    error.setattr("__cause__", exception)?;
    error.setattr("__context__", exception)?;
    Ok(error)
}

/// The future was cancelled: so is the work, in the next turn.
pub(crate) fn cancel_work(event_loop: &Ref<Loop>, work: Obj) {
    if event_loop.is_closed() {
        return;
    }
    event_loop.push(Ready::job(work.clone(), move |py, event_loop| {
        let cancelled = names(py).and_then(|names| Ok(call_method(py, &work, &names.cancel, &[])?));
        cancelled.map(drop).or_else(|error| {
            let message = "Exception while cancelling work in an executor";
            errors::exit_or_report(py, event_loop, error, message, &[])
        })
    }));
}

/// The loop's future for what an executor's `submit()` gave.
pub(crate) fn wrap_future(py: Python<'_>, slf: &Ref<Loop>, work: &Bound<'_, PyAny>) -> PyResult<Obj> {
    let asyncio = asyncio(py)?;
    let futures = asyncio.futures.bind(py);
    if !work.is_instance(asyncio.concurrent_future.bind(py))? {
        // A future of asyncio's already, or nothing that can be wrapped.
        let kwargs = slf.loop_kwargs(py)?;
        return Ok(futures.call_method("wrap_future", (work,), Some(&kwargs))?.into());
    }
    let wrapped = call_method(py, slf.as_obj(), &names(py)?.create_future, &[])?;
    match Ref::<Future>::downcast_exact(wrapped.bind(py)) {
        Some(future) => {
            future.set_work(Obj::from(work));
            let done = BoundFunction::<WorkDone>::create(py, future.as_obj())?;
            work.call_method1(names(py)?.add_done_callback.text(py), (done.bind(py),))?;
        }
        None => {
            futures.call_method1("_chain_future", (work, wrapped.bind(py)))?;
        }
    }
    Ok(wrapped)
}
