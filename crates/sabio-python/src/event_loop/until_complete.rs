//! `run_until_complete`: a run that ends with a future.
//!
//! It calls the methods `run_forever` and `stop` of the loop, which a subclass may have overridden.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;

use super::Loop;
use crate::asyncio::asyncio;
use crate::ffi::{BoundFunction, FunctionDef, FunctionDefinition, Obj, Ref, guard};

/// The callback by which `run_until_complete` stops the loop.
struct StopWhenDone;

static STOP_WHEN_DONE: FunctionDefinition = FunctionDefinition::new::<StopWhenDone>();

impl FunctionDef for StopWhenDone {
    const NAME: &'static std::ffi::CStr = c"_run_until_complete_cb";

    fn definition() -> &'static FunctionDefinition {
        &STOP_WHEN_DONE
    }

    fn call(py: Python<'_>, slf: &Obj, future: &Obj) -> PyResult<Obj> {
        // Whatever fails here, for lack of memory say: the loop must stop, or it runs for ever.
        let stopped = guard(|| stop_when_done(py, slf, future));
        if stopped.is_err()
            && let Some(event_loop) = Ref::<Loop>::downcast(slf.bind(py))
        {
            event_loop.stopping.set(true);
        }
        stopped.map(|()| Obj::none(py))
    }
}

fn stop_when_done(py: Python<'_>, slf: &Obj, future: &Obj) -> PyResult<()> {
    let future = future.bind(py);
    if !future.call_method0("cancelled")?.is_truthy()? {
        let exception = future.call_method0("exception")?;
        if exception.is_instance_of::<PySystemExit>() || exception.is_instance_of::<PyKeyboardInterrupt>() {
            // It has left the loop already, and stops it thereby.
            return Ok(());
        }
    }
    slf.bind(py).call_method0("stop")?;
    Ok(())
}

/// `run_until_complete` (asyncio: Event loop): runs until `future` is done and gives its result.
///
/// # Errors
/// The exception of the future, or the one that left the loop; RuntimeError if the loop is closed, runs, or was stopped
/// before.
pub(super) fn run_until_complete(slf: &Ref<Loop>, future: &Bound<'_, PyAny>) -> PyResult<Obj> {
    let py = future.py();
    slf.check_closed()?;
    slf.check_running(py)?;
    let asyncio = asyncio(py)?;
    let is_future = asyncio
        .futures
        .bind(py)
        .call_method1("isfuture", (future,))?
        .is_truthy()?;
    let kwargs = slf.loop_kwargs(py)?;
    let future = asyncio
        .tasks
        .bind(py)
        .call_method("ensure_future", (future,), Some(&kwargs))?;
    if !is_future {
        // An exception that stops the loop leaves the task pending on purpose.
        future.setattr("_log_destroy_pending", false)?;
    }
    let stop = BoundFunction::<StopWhenDone>::create(py, slf.as_obj())?;
    future.call_method1("add_done_callback", (stop.bind(py),))?;
    let ran = guard(|| slf.bind(py).call_method0("run_forever"));
    let removed = guard(|| future.call_method1("remove_done_callback", (stop.bind(py),)));
    if let Err(error) = ran {
        if !is_future
            && future.call_method0("done")?.is_truthy()?
            && !future.call_method0("cancelled")?.is_truthy()?
        {
            // The exception that left the loop is the task's own: it counts as retrieved.
            future.call_method0("exception")?;
        }
        return Err(error);
    }
    removed?;
    if !future.call_method0("done")?.is_truthy()? {
        return Err(PyRuntimeError::new_err(
            "Event loop stopped before Future completed.",
        ));
    }
    Ok(future.call_method0("result")?.into())
}
