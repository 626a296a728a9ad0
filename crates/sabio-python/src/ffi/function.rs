//! Functions of the module, called by CPython's vectorcall without a tuple of arguments.
//!
//! As with methods, a registered function is a plain `fn` item: a value of size zero, whose type is all that the C
//! function made for it needs.

use std::ffi::CStr;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::args::Args;
use super::convert::IntoObj;
use super::object::Obj;
use super::trampoline;

/// Adds a function to the module, as one of the package `sabio`. `doc` begins with the signature:
/// `name(...)\n--\n\n`. MemoryError.
pub(crate) fn add_function<F, R>(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    doc: &'static CStr,
    function: F,
) -> PyResult<()>
where
    F: for<'a, 'py> Fn(Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    let _ = function;
    add(module, name, doc, trampoline::function::<F, R>)
}

/// As [`add_function`], for hot paths: PyO3 is not told that the thread is attached (it is), so the function must not
/// drop `pyo3::Py` or `PyErr` values on its normal path.
pub(crate) fn add_fast_function<F, R>(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    doc: &'static CStr,
    function: F,
) -> PyResult<()>
where
    F: for<'a, 'py> Fn(Args<'a, 'py>) -> PyResult<R> + Copy,
    R: IntoObj,
{
    let _ = function;
    add(module, name, doc, trampoline::function_fast::<F, R>)
}

fn add(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    doc: &'static CStr,
    function: py_ffi::PyCFunctionFastWithKeywords,
) -> PyResult<()> {
    let py = module.py();
    // As long-lived as the module, which is never freed.
    let definition = Box::leak(Box::new(py_ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: py_ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }));
    let package = PyString::intern(py, "sabio");
    // SAFETY: attached; the definition lives for ever and its flags say how the function is called.
    let object = unsafe {
        Obj::from_owned_or_err(
            py,
            py_ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), package.as_ptr()),
        )?
    };
    module.add(PyString::new(py, &name.to_string_lossy()), object.bind(py))
}
