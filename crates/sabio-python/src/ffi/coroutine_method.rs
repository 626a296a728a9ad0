//! Methods that give coroutines, and say so (`marked.rs`): for an instance of the very class a call goes straight to the
//! C function.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::marked::{Call, Marked, MarkedClass};

unsafe extern "C" {
    /// A bound method (Python/C API: Method Objects). PyO3 does not declare it.
    fn PyMethod_New(
        function: *mut py_ffi::PyObject,
        instance: *mut py_ffi::PyObject,
    ) -> *mut py_ffi::PyObject;
}

/// The class of methods with the marks of a coroutine function.
pub(crate) struct CoroutineMethods<'py>(MarkedClass<'py>);

impl<'py> CoroutineMethods<'py> {
    /// Makes it.
    ///
    /// # Errors
    /// MemoryError, and what comes of looking at `inspect`.
    pub(crate) fn new(py: Python<'py>) -> PyResult<CoroutineMethods<'py>> {
        MarkedClass::new(py, c"sabio._CoroutineMethod", vectorcall, Some(bind)).map(CoroutineMethods)
    }

    /// Puts such objects in the place of the methods that `class` itself has.
    ///
    /// # Errors
    /// TypeError for what is no method in C; AttributeError for what is not there.
    pub(crate) fn mark(&self, class: &Bound<'py, PyType>, names: &[&str]) -> PyResult<()> {
        for name in names {
            let method = class.getattr(*name)?;
            class.setattr(*name, self.create(&method)?)?;
        }
        Ok(())
    }

    fn create(&self, method: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let pointer = method.as_ptr();
        // SAFETY: the method is alive and is looked into only if its exact type says what it is; its definition and its
        // class live as long as it does.
        let (call, class) = unsafe {
            if !std::ptr::eq(py_ffi::Py_TYPE(pointer), &raw const py_ffi::PyMethodDescr_Type) {
                let message = format!("{} is no method of a class in C", method.repr()?);
                return Err(PyTypeError::new_err(message));
            }
            let descriptor = pointer.cast::<py_ffi::PyMethodDescrObject>();
            (Call::of((*descriptor).d_method), (*descriptor).d_common.d_type)
        };
        self.0.create(method, call, class.cast())
    }
}

unsafe extern "C" fn vectorcall(
    slf: *mut py_ffi::PyObject,
    args: *const *mut py_ffi::PyObject,
    count: usize,
    names: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: only instances of our class have this function; the arguments are those of this vectorcall. The C function
    // gets an instance of its class first, as it must, and the others as they are, or none where it takes none. It
    // returns a new reference or null with an exception set.
    unsafe {
        let data = slf.cast::<Marked>();
        let given = py_ffi::PyVectorcall_NARGS(count);
        if given > 0 && std::ptr::eq(py_ffi::Py_TYPE(*args).cast(), (*data).owner) {
            match (*data).call {
                Call::None(call) if given == 1 && names.is_null() => {
                    return call(*args, std::ptr::null_mut());
                }
                Call::Fast(call) => return call(*args, args.add(1), given - 1, names),
                Call::None(_) | Call::Other => {}
            }
        }
        py_ffi::PyObject_Vectorcall((*data).inner, args, count, names)
    }
}

unsafe extern "C" fn bind(
    slf: *mut py_ffi::PyObject,
    instance: *mut py_ffi::PyObject,
    _class: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: called with an instance of our class, attached; an instance of the class that has it, or null.
    unsafe {
        if instance.is_null() {
            py_ffi::Py_INCREF(slf);
            slf
        } else {
            PyMethod_New(slf, instance)
        }
    }
}
