//! Auditing events (PEP 578) for what the interpreter would have audited, had it made the call itself.

use std::ffi::{CStr, c_char, c_int, c_void};

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::object::Obj;

unsafe extern "C" {
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Whether anybody listens to auditing events. No hook hears of the question, which costs next to nothing.
///
/// The interpreter has no call for that. It makes the arguments of an event only if there is somebody to get them, and
/// these cannot be made.
#[inline]
pub(crate) fn is_audited(_py: Python<'_>) -> bool {
    // SAFETY: attached, and no exception is pending. The format asks for a function and a pointer to call it with; the
    // function takes any pointer. It is only called before hooks are, which are not if it fails.
    unsafe {
        let refuse: unsafe extern "C" fn(*mut c_void) -> *mut py_ffi::PyObject = refuse;
        if PySys_Audit(
            c"socket.connect".as_ptr(),
            c"O&".as_ptr(),
            refuse,
            std::ptr::null_mut::<c_void>(),
        ) == 0
        {
            return false;
        }
        py_ffi::PyErr_Clear();
        true
    }
}

/// What cannot be made.
#[cold]
unsafe extern "C" fn refuse(_: *mut c_void) -> *mut py_ffi::PyObject {
    // SAFETY: called by the interpreter, so attached; the class is alive as long as the interpreter is.
    unsafe { py_ffi::PyErr_SetNone(py_ffi::PyExc_LookupError) };
    std::ptr::null_mut()
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
