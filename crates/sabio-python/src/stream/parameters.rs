//! What the constructors and functions of streams are called with.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::reader::DEFAULT_LIMIT;
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, debug};
use crate::ffi::{Obj, Ref};

/// Sorts the arguments of a constructor by parameter, of which the first `required` have no default. TypeError for too
/// many, missing, unknown or doubly given ones.
pub(super) fn sort<'py, const N: usize>(
    function: &str,
    parameters: [&str; N],
    required: usize,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
    let wrong = |what: String| Err(PyTypeError::new_err(format!("{function}() {what}")));
    if args.len() > N {
        return wrong(format!(
            "takes at most {N} arguments but {} were given",
            args.len()
        ));
    }
    let mut values = [const { None }; N];
    for (place, value) in values.iter_mut().zip(args.iter()) {
        *place = Some(value);
    }
    for (name, value) in kwargs.iter().flat_map(|kwargs| kwargs.iter()) {
        let name = name.extract::<String>()?;
        match parameters.iter().position(|parameter| *parameter == name) {
            None => return wrong(format!("got an unexpected keyword argument '{name}'")),
            Some(index) if values[index].is_some() => {
                return wrong(format!("got multiple values for argument '{name}'"));
            }
            Some(index) => values[index] = Some(value),
        }
    }
    match values[..required].iter().position(Option::is_none) {
        Some(missing) => wrong(format!("missing required argument: '{}'", parameters[missing])),
        None => Ok(values),
    }
}

/// The limit of a reader, in bytes. ValueError for zero and less.
pub(super) fn limit(value: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    let Some(value) = value else {
        return Ok(DEFAULT_LIMIT);
    };
    if value.le(0)? {
        return Err(PyValueError::new_err("Limit cannot be <= 0"));
    }
    match value.extract::<i64>() {
        Ok(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        // A limit that no buffer can reach, such as 2**64 or infinity.
        Err(_) if value.gt(i64::MAX)? => Ok(usize::MAX),
        Err(_) => Ok(value.extract::<f64>()? as usize),
    }
}

/// The loop that was given, or the current one, as asyncio's constructors of streams find it.
pub(super) fn event_loop(py: Python<'_>, given: Option<&Bound<'_, PyAny>>) -> PyResult<Obj> {
    if let Some(event_loop) = given.filter(|event_loop| !event_loop.is_none()) {
        return Ok(Obj::from(event_loop));
    }
    // 3.11 warns in the public function where the constructors do not.
    let name = if cfg!(Py_3_12) {
        "get_event_loop"
    } else {
        "_get_event_loop"
    };
    Ok(asyncio(py)?.events.bind(py).call_method0(name)?.into())
}

/// `loop.get_debug()`.
pub(super) fn is_debug(py: Python<'_>, event_loop: &Obj) -> PyResult<bool> {
    match Ref::<Loop>::downcast(event_loop.bind(py)) {
        Some(event_loop) => Ok(event_loop.debug()),
        None => event_loop.bind(py).call_method0("get_debug")?.is_truthy(),
    }
}

/// In debug mode, where the object is made.
pub(super) fn source_traceback(py: Python<'_>, event_loop: &Obj) -> PyResult<Option<Obj>> {
    if is_debug(py, event_loop)? {
        debug::caller_stack(py).map(Some)
    } else {
        Ok(None)
    }
}
