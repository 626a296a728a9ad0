//! The one place that turns an [`io::Error`] into the exception that Python raises for it: the subclass of OSError that
//! its number stands for, with `errno` and `strerror` set. PyO3's own conversion keeps neither.

use std::io;

use pyo3::PyErr;
use pyo3::exceptions::PyOSError;

/// The exception for `error`, with the system's words.
#[cold]
pub(crate) fn os_error(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(code) => from_errno(code),
        None => PyErr::from(error),
    }
}

/// The exception for the number `code`, with the system's words.
#[cold]
pub(crate) fn from_errno(code: i32) -> PyErr {
    with_message(code, system_words(code))
}

/// The exception for the number `code`, with these words in the place of the system's.
#[cold]
pub(crate) fn with_message(code: i32, message: String) -> PyErr {
    // OSError's constructor picks the subclass.
    PyOSError::new_err((code, message))
}

/// strerror(3).
fn system_words(code: i32) -> String {
    let text = io::Error::from_raw_os_error(code).to_string();
    match text.strip_suffix(&format!(" (os error {code})")) {
        Some(words) => words.to_owned(),
        None => text,
    }
}
