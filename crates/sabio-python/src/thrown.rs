//! What is given to the `throw()` of a coroutine or of the iterator behind `await future`.

use std::ffi::CStr;

use pyo3::exceptions::{PyBaseException, PyDeprecationWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTraceback, PyTuple, PyType};

use crate::ffi::Args;

const DEPRECATED: &CStr =
    c"the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.";

/// The first argument: TypeError if their number is wrong, and the interpreter's warning if there are several.
fn first<'a, 'py>(args: Args<'a, 'py>) -> PyResult<&'a Bound<'py, PyAny>> {
    let given = args.len();
    if args.keywords().next().is_some() {
        return Err(PyTypeError::new_err("throw() takes no keyword arguments"));
    }
    let Some(first) = args.get(0) else {
        return Err(PyTypeError::new_err("throw expected at least 1 argument, got 0"));
    };
    if given > 3 {
        return Err(PyTypeError::new_err(format!(
            "throw expected at most 3 arguments, got {given}"
        )));
    }
    if cfg!(Py_3_12) && given > 1 {
        let category = args.py().get_type::<PyDeprecationWarning>();
        PyErr::warn(args.py(), &category, DEPRECATED, 1)?;
    }
    Ok(first)
}

/// What was given to `throw()`.
pub(crate) enum Thrown {
    /// The exception that `throw(type, value, traceback)` or `throw(exception)` stands for.
    Exception(PyErr),
    /// The TypeError for what is no exception, by which nothing has happened yet.
    Refused(PyErr),
}

impl Thrown {
    /// TypeError if the number of arguments is wrong.
    pub(crate) fn new(args: Args<'_, '_>) -> PyResult<Thrown> {
        let first = first(args)?;
        let refused = |message: &str| Ok(Thrown::Refused(PyTypeError::new_err(message.to_owned())));
        let given = |index: usize| args.get(index).filter(|argument| !argument.is_none());
        let traceback = match given(2).map(|traceback| traceback.cast::<PyTraceback>()) {
            Some(Err(_)) => return refused("throw() third argument must be a traceback object"),
            Some(Ok(traceback)) => Some(traceback.clone()),
            None => None,
        };
        let error = if let Ok(class) = first.cast::<PyType>()
            && class.is_subclass_of::<PyBaseException>()?
        {
            // The error of a class that can not be made is thrown in the place of what it was to be.
            made(class, given(1)).unwrap_or_else(|error| error)
        } else if first.is_instance_of::<PyBaseException>() {
            if given(1).is_some() {
                return refused("instance exception may not have a separate value");
            }
            PyErr::from_value(first.clone())
        } else {
            let name = first.get_type().name()?;
            return refused(&format!(
                "exceptions must be classes or instances deriving from BaseException, not {name}"
            ));
        };
        if traceback.is_some() {
            error.set_traceback(args.py(), traceback);
        }
        Ok(Thrown::Exception(error))
    }

    /// As an error, whichever it is.
    pub(crate) fn into_error(self) -> PyErr {
        match self {
            Thrown::Exception(error) | Thrown::Refused(error) => error,
        }
    }
}

/// The exception of a class with this value.
fn made(class: &Bound<'_, PyType>, value: Option<&Bound<'_, PyAny>>) -> PyResult<PyErr> {
    let instance = match value {
        Some(value) if value.is_instance(class)? => value.clone(),
        Some(value) => match value.cast::<PyTuple>() {
            Ok(arguments) => class.call1(arguments.clone())?,
            Err(_) => class.call1((value,))?,
        },
        None => class.call0()?,
    };
    Ok(PyErr::from_value(instance))
}
