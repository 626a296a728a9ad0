//! What this version leaves out: methods that raise NotImplementedError, with the method's name, when they are awaited.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;

use super::Loop;
use crate::coroutine;
use crate::ffi::{MethodTable, Obj};

/// A coroutine that raises NotImplementedError.
fn refuse(py: Python<'_>, name: &'static str) -> PyResult<Obj> {
    coroutine::create(py, name, async move {
        Err(PyNotImplementedError::new_err(format!(
            "{name}() is not supported yet"
        )))
    })
}

/// One method for each name and signature.
macro_rules! unsupported {
    ($table:expr, $($name:literal ($signature:literal) $doc:literal,)*) => {
        $($table.method(
            const { text(concat!($name, "\0")) },
            const { text(concat!($name, "(", $signature, ")\n--\n\n", $doc, " Not supported yet.\0")) },
            |_slf, args| refuse(args.py(), concat!("Loop.", $name)),
        );)*
    };
}

/// A C string from a literal that ends with a 0.
const fn text(literal: &'static str) -> &'static std::ffi::CStr {
    match std::ffi::CStr::from_bytes_with_nul(literal.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    unsupported!(
        table,
        "subprocess_exec" (
            "$self, protocol_factory, program, *args, stdin=-1, stdout=-1, stderr=-1, universal_newlines=False, \
             shell=False, bufsize=0, encoding=None, errors=None, text=None, **kwargs"
        ) "Run a program.",
        "subprocess_shell" (
            "$self, protocol_factory, cmd, *, stdin=-1, stdout=-1, stderr=-1, universal_newlines=False, shell=True, \
             bufsize=0, encoding=None, errors=None, text=None, **kwargs"
        ) "Run a shell command.",
    );
}
