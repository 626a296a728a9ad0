//! Debug mode (asyncio: Developing with asyncio): slow callbacks, calls from the wrong thread, where things were made.

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use sabio_reactor::Nanos;

use super::run::dispatch_apart;
use super::{Loop, Ready};
use crate::asyncio::asyncio;
use crate::ffi::Outcome;
use crate::ffi::{MethodTable, Obj, Ref};
use crate::interpreter::interpreter;
use crate::step::Steps;
use crate::transport::protocol_of;

/// Whether asyncio's debug mode is on in this process: PYTHONASYNCIODEBUG or `-X dev`.
pub(super) fn debug_by_default(py: Python<'_>) -> PyResult<bool> {
    asyncio(py)?
        .coroutines
        .bind(py)
        .call_method0("_is_debug_mode")?
        .is_truthy()
}

/// The stack of the Python code that called us, as `traceback.StackSummary`, innermost frame last. An empty list where
/// there is none, as in functions that the interpreter itself calls at its end.
pub(crate) fn caller_stack(py: Python<'_>) -> PyResult<Obj> {
    let frame = match interpreter(py)?.get_frame.bind(py).call1((0,)) {
        Err(error) if error.is_instance_of::<PyValueError>(py) => return Ok(PyList::empty(py).into()),
        frame => frame?,
    };
    let format_helpers = asyncio(py)?.format_helpers.bind(py);
    match format_helpers.call_method1("extract_stack", (frame,)) {
        // While the interpreter of 3.15 ends, a frame may have no code any more.
        Err(error) if error.is_instance_of::<PyAttributeError>(py) => Ok(PyList::empty(py).into()),
        stack => Ok(stack?.into()),
    }
}

/// Turns the interpreter's tracking of where coroutines were made on or off.
pub(super) fn track_coroutine_origins(py: Python<'_>, on: bool) -> PyResult<()> {
    let interpreter = interpreter(py)?;
    let depth: i64 = interpreter.get_origin_depth.bind(py).call0()?.extract()?;
    let wanted: i64 = if on {
        py.import("asyncio.constants")?
            .getattr("DEBUG_STACK_DEPTH")?
            .extract()?
    } else {
        0
    };
    if depth != wanted && (on || TRACKING.get()) {
        let new = if on { wanted } else { SAVED.get() };
        interpreter.set_origin_depth.bind(py).call1((new,))?;
        SAVED.set(depth);
    }
    TRACKING.set(on);
    Ok(())
}

thread_local! {
    static TRACKING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static SAVED: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// RuntimeError if the loop runs on another thread.
pub(super) fn check_thread(slf: &Ref<Loop>) -> PyResult<()> {
    if slf.is_running() && !slf.is_running_here() {
        return Err(PyRuntimeError::new_err(
            "Non-thread-safe operation invoked on an event loop other than the current one",
        ));
    }
    Ok(())
}

/// TypeError for coroutines, coroutine functions and what can not be called.
pub(crate) fn check_callback(py: Python<'_>, callback: &Bound<'_, PyAny>, method: &str) -> PyResult<()> {
    refuse_coroutine(py, callback, method)?;
    if !callback.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a callable object was expected by {method}(), got {}",
            callback.repr()?
        )));
    }
    Ok(())
}

/// TypeError for coroutines and coroutine functions.
pub(crate) fn refuse_coroutine(py: Python<'_>, callback: &Bound<'_, PyAny>, method: &str) -> PyResult<()> {
    let is_coroutine = asyncio(py)?
        .coroutines
        .bind(py)
        .call_method1("iscoroutine", (callback,))?
        .is_truthy()?
        || interpreter(py)?
            .is_coroutine_function
            .bind(py)
            .call1((callback,))?
            .is_truthy()?;
    if is_coroutine {
        return Err(PyTypeError::new_err(format!(
            "coroutines cannot be used with {method}()"
        )));
    }
    Ok(())
}

/// Runs an item and logs it if it took long.
pub(super) fn dispatch_timed(py: Python<'_>, slf: &Ref<Loop>, steps: &mut Steps, item: Ready) -> Outcome<()> {
    let mut kept = None;
    let subject = match &item {
        Ready::Step(task) | Ready::Wakeup(task) => task.as_obj().clone(),
        Ready::StepWith(step) => step.0.as_obj().clone(),
        Ready::Call(handle) => {
            // The handle lets go of its callback when it has run: its description is needed afterwards.
            kept = handle
                .bind(py)
                .repr()
                .ok()
                .map(|text| (text.to_string(), handle.callback()));
            handle.as_obj().clone()
        }
        Ready::Readable(stream) | Ready::Writable(stream) => stream.as_obj().clone(),
        Ready::Event(event) => event.source.owner(py).unwrap_or_else(|| slf.as_obj().clone()),
        Ready::Job(job) => job.owner.clone(),
        Ready::Observed(future) => future.clone(),
        Ready::Expire(alarm) => alarm.as_obj().clone(),
    };
    // Asked before: a connection that is lost has none afterwards.
    let protocol = protocol_of(py, &subject);
    if let Ready::Call(handle) = &item {
        slf.current_handle.set(Some(handle.as_obj().clone()));
    }
    let start = Nanos::now();
    let result = dispatch_apart(py, slf, steps, item);
    let seconds = Nanos::now().saturating_since(start).as_secs_f64();
    slf.current_handle.set(None);
    let threshold: f64 = match slf.slow_callback_duration.get() {
        Some(threshold) => threshold.bind(py).extract()?,
        None => f64::INFINITY,
    };
    if seconds >= threshold {
        let mut text = match kept {
            Some((text, callback)) => bound_task(py, callback.as_ref())?.unwrap_or(text),
            None => subject.bind(py).repr()?.to_string(),
        };
        if let Some(protocol) = protocol {
            text = format!("{text} for {}", protocol.bind(py).repr()?);
        }
        let format = "Executing %s took %.3f seconds";
        asyncio(py)?
            .logger
            .bind(py)
            .call_method1("warning", (format, text, seconds))?;
    }
    result
}

/// The description of the task that a callback belongs to, if it is a step of a task that is not ours.
fn bound_task(py: Python<'_>, callback: Option<&Obj>) -> PyResult<Option<String>> {
    let Some(callback) = callback else { return Ok(None) };
    let Some(owner) = callback.bind(py).getattr_opt("__self__")? else {
        return Ok(None);
    };
    if owner.is_instance(asyncio(py)?.original_task.bind(py))? {
        return Ok(Some(owner.repr()?.to_string()));
    }
    Ok(None)
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .fast_noargs(
            c"get_debug",
            c"get_debug($self, /)\n--\n\nWhether debug mode is on.",
            |slf, _py| Ok(slf.debug()),
        )
        .method(
            c"set_debug",
            c"set_debug($self, enabled)\n--\n\nTurn debug mode on or off.",
            |slf, args| {
                slf.debug.set(args.single("set_debug", "enabled")?.is_truthy()?);
                if slf.is_running_here() {
                    track_coroutine_origins(args.py(), slf.debug())?;
                }
                Ok(())
            },
        )
        .getter(
            c"_debug",
            c"Whether debug mode is on.",
            |slf, _py| Ok(slf.debug()),
        )
        .attribute(
            c"slow_callback_duration",
            c"Callbacks that take this long (seconds) are logged in debug mode; 0.1 by default.",
            |slf, _py| Ok(slf.slow_callback_duration.get()),
            |slf, value| {
                slf.slow_callback_duration.set(Some(Obj::from(value)));
                Ok(())
            },
        );
}
