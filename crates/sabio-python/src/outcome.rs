//! How a future has ended: read from our own at once, asked for by name of any other.
//!
//! Whatever waits for futures of any kind asks here: the combinators, timeouts, task groups, streams.

use pyo3::prelude::*;

use crate::ffi::{Obj, call_method};
use crate::future_core::{State, native_core};
use crate::names::names;

/// The state of a future of ours, on a loop of ours; None for any other future.
#[inline]
fn state(py: Python<'_>, future: &Obj) -> Option<State> {
    native_core(future.bind(py))
        .filter(|core| core.is_native())
        .map(|core| core.state())
}

/// `future.done()`.
#[inline]
pub(crate) fn is_done(py: Python<'_>, future: &Obj) -> PyResult<bool> {
    match state(py, future) {
        Some(state) => Ok(state != State::Pending),
        None => call_method(py, future, &names(py)?.done, &[])?
            .bind(py)
            .is_truthy(),
    }
}

/// `future.cancelled()`.
#[inline]
pub(crate) fn is_cancelled(py: Python<'_>, future: &Obj) -> PyResult<bool> {
    match state(py, future) {
        Some(state) => Ok(state == State::Cancelled),
        None => call_method(py, future, &names(py)?.cancelled, &[])?
            .bind(py)
            .is_truthy(),
    }
}

/// The result of a future of ours that ended with one.
#[inline]
fn plain_result(py: Python<'_>, future: &Obj) -> Option<Obj> {
    native_core(future.bind(py))
        .filter(|core| core.is_native() && core.state() == State::Finished)
        .and_then(|core| core.result())
}

/// `future.exception()`, which marks the exception as retrieved. CancelledError or InvalidStateError as from there.
#[inline]
pub(crate) fn exception(py: Python<'_>, future: &Obj) -> PyResult<Option<Obj>> {
    if plain_result(py, future).is_some() {
        return Ok(None);
    }
    let exception = call_method(py, future, &names(py)?.exception, &[])?;
    Ok((!exception.bind(py).is_none()).then_some(exception))
}

/// `future.result()`.
#[inline]
pub(crate) fn result(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    match plain_result(py, future) {
        Some(result) => Ok(result),
        None => Ok(call_method(py, future, &names(py)?.result, &[])?),
    }
}

/// Marks the exception of a future that is done as retrieved.
pub(crate) fn retrieve(py: Python<'_>, future: &Obj) -> PyResult<()> {
    if !is_cancelled(py, future)? {
        exception(py, future)?;
    }
    Ok(())
}

/// The CancelledError of a cancelled future, with its message.
pub(crate) fn cancelled_error(py: Python<'_>, future: &Obj) -> PyResult<Obj> {
    Ok(future.bind(py).call_method0("_make_cancelled_error")?.into())
}
