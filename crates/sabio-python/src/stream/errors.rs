//! The exceptions of reading: `asyncio.IncompleteReadError` and `asyncio.LimitOverrunError`.

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ffi::{Global, Obj, raising};

struct Classes {
    incomplete: Obj,
    overrun: Obj,
}

static CLASSES: Global<Classes> = Global::new();

fn raise<'py>(py: Python<'py>, class: &Obj, args: impl PyCallArgs<'py>) -> PyErr {
    match class.bind(py).call1(args) {
        Ok(error) => raising(error),
        Err(error) => error,
    }
}

/// `IncompleteReadError(partial, expected)`: the stream ended before so many bytes (None: a separator) had come.
pub(super) fn incomplete(py: Python<'_>, partial: &Obj, expected: Option<usize>) -> PyErr {
    match CLASSES.get(py) {
        Ok(classes) => raise(py, &classes.incomplete, (partial.bind(py), expected)),
        Err(error) => error,
    }
}

/// `LimitOverrunError(message, consumed)`: no message of at most the limit begins in `consumed` bytes.
pub(super) fn overrun(py: Python<'_>, message: &str, consumed: usize) -> PyErr {
    match CLASSES.get(py) {
        Ok(classes) => raise(py, &classes.overrun, (message, consumed)),
        Err(error) => error,
    }
}

/// Whether it is an `IncompleteReadError`: what had come.
pub(super) fn partial_of(py: Python<'_>, error: &PyErr) -> PyResult<Option<Obj>> {
    if !error.matches(py, CLASSES.get(py)?.incomplete.bind(py))? {
        return Ok(None);
    }
    Ok(Some(error.value(py).getattr("partial")?.into()))
}

/// Whether it is a `LimitOverrunError`: how many bytes belong to what is too long.
pub(super) fn consumed_of(py: Python<'_>, error: &PyErr) -> PyResult<Option<usize>> {
    if !error.matches(py, CLASSES.get(py)?.overrun.bind(py))? {
        return Ok(None);
    }
    error.value(py).getattr("consumed")?.extract().map(Some)
}

/// The error that asyncio raises for a separator that is no bytes-like object.
pub(super) fn not_a_separator(separator: &Bound<'_, PyAny>) -> PyErr {
    let py = separator.py();
    let searched = py
        .get_type::<pyo3::types::PyByteArray>()
        .call0()
        .and_then(|empty| empty.call_method1("find", (separator,)));
    match searched {
        Ok(_) => pyo3::exceptions::PyTypeError::new_err("a separator has to be a bytes-like object"),
        Err(error) => error,
    }
}

/// `b""`.
pub(super) fn no_bytes(py: Python<'_>) -> Obj {
    PyBytes::new(py, b"").into()
}

/// Looks the classes up.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    let exceptions = py.import("asyncio.exceptions")?;
    let classes = Classes {
        incomplete: exceptions.getattr("IncompleteReadError")?.into(),
        overrun: exceptions.getattr("LimitOverrunError")?.into(),
    };
    CLASSES.set(py, classes);
    Ok(())
}
