//! The methods and attributes of a class.
//!
//! The functions that are registered are plain `fn` items: values of size zero, so that the C function made for each
//! of them needs nothing but its type. "Fast" functions are called without telling PyO3 that this thread is attached
//! (it is): they must not drop `pyo3::Py` or `PyErr` values on their normal path.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::args::Args;
use super::class::Class;
use super::convert::IntoObj;
use super::object::Ref;
use super::trampoline;

/// The methods and attributes of a class in the making.
pub(crate) struct MethodTable<T: Class> {
    methods: Vec<py_ffi::PyMethodDef>,
    getset: Vec<py_ffi::PyGetSetDef>,
    _class: PhantomData<T>,
}

impl<T: Class> MethodTable<T> {
    pub(super) fn new() -> MethodTable<T> {
        MethodTable {
            methods: Vec::new(),
            getset: Vec::new(),
            _class: PhantomData,
        }
    }

    fn add(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        method: py_ffi::PyMethodDefPointer,
        flags: c_int,
    ) {
        self.methods.push(py_ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: method,
            ml_flags: flags,
            ml_doc: doc.as_ptr(),
        });
    }

    /// A method with any arguments. `doc` begins with the signature: `name($self, ...)\n--\n\n`.
    pub(crate) fn method<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, function: F) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: trampoline::fastcall::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS);
        self
    }

    /// As [`MethodTable::method`], for hot paths: see the module's notes.
    pub(crate) fn fast_method<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, Args<'a, 'py>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: trampoline::fastcall_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS);
        self
    }

    /// A method without arguments.
    pub(crate) fn noargs<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, function: F) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: trampoline::noargs::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_NOARGS);
        self
    }

    /// A method without arguments, for hot paths: see the module's notes.
    pub(crate) fn fast_noargs<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: trampoline::noargs_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_NOARGS);
        self
    }

    /// A method with one positional argument, for hot paths: see the module's notes.
    pub(crate) fn fast_onearg<F, R>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        function: F,
    ) -> &mut Self
    where
        F: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = function;
        let pointer = py_ffi::PyMethodDefPointer {
            PyCFunction: trampoline::onearg_fast::<T, F, R>,
        };
        self.add(name, doc, pointer, py_ffi::METH_O);
        self
    }

    /// An attribute that can be read.
    pub(crate) fn getter<F, R>(&mut self, name: &'static CStr, doc: &'static CStr, get: F) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
    {
        let _ = get;
        self.getset.push(py_ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(trampoline::getter::<T, F, R>),
            set: None,
            doc: doc.as_ptr(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// An attribute that can be read and set; deleting it is an AttributeError.
    pub(crate) fn attribute<F, R, G>(
        &mut self,
        name: &'static CStr,
        doc: &'static CStr,
        get: F,
        set: G,
    ) -> &mut Self
    where
        F: Fn(&Ref<T>, Python<'_>) -> PyResult<R> + Copy,
        R: IntoObj,
        G: for<'a, 'py> Fn(&'a Ref<T>, &'a Bound<'py, PyAny>) -> PyResult<()> + Copy,
    {
        let _ = (get, set);
        self.getset.push(py_ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(trampoline::getter::<T, F, R>),
            set: Some(trampoline::setter::<T, G>),
            doc: doc.as_ptr(),
            closure: std::ptr::null_mut(),
        });
        self
    }

    /// Ends both tables and gives them to the process.
    pub(super) fn leak(mut self) -> (*mut py_ffi::PyMethodDef, *mut py_ffi::PyGetSetDef) {
        self.methods.push(py_ffi::PyMethodDef::zeroed());
        self.getset.push(py_ffi::PyGetSetDef::default());
        (
            Box::leak(self.methods.into_boxed_slice()).as_mut_ptr(),
            Box::leak(self.getset.into_boxed_slice()).as_mut_ptr(),
        )
    }
}
