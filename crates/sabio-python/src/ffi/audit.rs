//! Auditing events (PEP 578) for what the interpreter would have audited, had it made the call itself.

use std::ffi::{CStr, c_char, c_int};

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::object::Obj;

unsafe extern "C" {
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// How the arguments are read, by their number.
const FORMATS: [&CStr; 6] = [c"()", c"(O)", c"(OO)", c"(OOO)", c"(OOOO)", c"(OOOOO)"];

/// Raises the event with these arguments. Costs next to nothing while nobody listens; whatever a hook raises.
#[inline]
pub(crate) fn audit<const N: usize>(py: Python<'_>, event: &CStr, args: [&Obj; N]) -> PyResult<()> {
    const { assert!(N < FORMATS.len()) };
    let mut pointers: [*mut py_ffi::PyObject; 5] = [std::ptr::null_mut(); 5];
    for (place, arg) in pointers.iter_mut().zip(args) {
        *place = arg.as_ptr();
    }
    let [a, b, c, d, e] = pointers;
    // SAFETY: attached; the format asks for as many objects as there are arguments, all alive; what is passed beyond
    // them is not looked at.
    if unsafe { PySys_Audit(event.as_ptr(), FORMATS[N].as_ptr(), a, b, c, d, e) } == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(py))
    }
}
