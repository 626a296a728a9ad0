//! Functions of the module that give coroutines, and say so (`marked.rs`): a call goes straight to the C function.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::marked::{Call, Marked, MarkedClass};

/// Puts objects with the marks of a coroutine function in the place of functions of the module.
///
/// # Errors
/// TypeError for what is no built-in function; AttributeError for what is not there.
pub(crate) fn mark_coroutine_functions(module: &Bound<'_, PyModule>, names: &[&str]) -> PyResult<()> {
    let class = MarkedClass::new(module.py(), c"sabio._CoroutineFunction", vectorcall, None)?;
    for name in names {
        let function = module.getattr(*name)?;
        module.setattr(*name, create(&class, &function)?)?;
    }
    Ok(())
}

fn create<'py>(class: &MarkedClass<'py>, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let pointer = function.as_ptr();
    // SAFETY: the function is alive and is looked into only if it is a built-in one; its definition and its receiver
    // live as long as it does.
    let (call, receiver) = unsafe {
        if py_ffi::PyCFunction_CheckExact(pointer) == 0 {
            let message = format!("{} is no built-in function", function.repr()?);
            return Err(PyTypeError::new_err(message));
        }
        let definition = (*pointer.cast::<py_ffi::PyCFunctionObject>()).m_ml;
        (Call::of(definition), py_ffi::PyCFunction_GetSelf(pointer))
    };
    class.create(function, call, receiver)
}

unsafe extern "C" fn vectorcall(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    count: usize,
    names: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: only instances of our class have this function; the arguments are those of this vectorcall, which the C
    // function takes as they are. It returns a new reference or null with an exception set, as it must.
    unsafe {
        let data = slf.cast::<Marked>();
        match (*data).call {
            Call::Fast(call) => call((*data).owner, args, py_ffi::PyVectorcall_NARGS(count), names),
            Call::None(_) | Call::Other => py_ffi::PyObject_Vectorcall((*data).inner, args, count, names),
        }
    }
}
