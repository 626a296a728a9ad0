//! Methods that give coroutines, with the marks of coroutine functions (see `coroutine_function.rs`).
//!
//! Such an object stands before a method descriptor in its class, and is a descriptor itself that the interpreter calls
//! without binding it first. For an instance of the very class a call goes straight to the C function.

use std::ffi::{CStr, c_int, c_void};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::coroutine_function::{marked_attribute, prepare_marks};
use super::error::Raised;
use super::object::Obj;

unsafe extern "C" {
    /// A bound method (Python/C API: Method Objects). PyO3 does not declare it.
    fn PyMethod_New(
        function: *mut py_ffi::PyObject,
        instance: *mut py_ffi::PyObject,
    ) -> *mut py_ffi::PyObject;
}

/// How the C function takes its arguments.
#[derive(Clone, Copy)]
enum Call {
    None(py_ffi::PyCFunction),
    Fast(py_ffi::PyCFunctionFastWithKeywords),
    /// In another way: the descriptor is called.
    Other,
}

#[repr(C)]
struct CoroutineMethod {
    head: py_ffi::PyObject,
    vectorcall: py_ffi::vectorcallfunc,
    /// The method descriptor, and what it is made of: the class is alive as long as it is.
    method: *mut py_ffi::PyObject,
    class: *mut py_ffi::PyTypeObject,
    call: Call,
}

/// The class of these objects.
pub(crate) struct CoroutineMethods<'py>(Bound<'py, PyType>);

impl<'py> CoroutineMethods<'py> {
    /// Makes it.
    ///
    /// # Errors
    /// MemoryError, and what comes of looking at `inspect`.
    pub(crate) fn new(py: Python<'py>) -> PyResult<CoroutineMethods<'py>> {
        prepare_marks(py)?;
        class(py).map(CoroutineMethods)
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
        // class live as long as it does, and the flags say which member of the union was stored. The new object is of
        // the size of our structure, and all of its fields are written before anybody else sees it.
        unsafe {
            if !std::ptr::eq(py_ffi::Py_TYPE(pointer), &raw const py_ffi::PyMethodDescr_Type) {
                let message = format!("{} is no method of a class in C", method.repr()?);
                return Err(PyTypeError::new_err(message));
            }
            let descriptor = pointer.cast::<py_ffi::PyMethodDescrObject>();
            let definition = (*descriptor).d_method;
            let function = (*definition).ml_meth;
            let call = match (*definition).ml_flags {
                py_ffi::METH_NOARGS => Call::None(function.PyCFunction),
                flags if flags == py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS => {
                    Call::Fast(function.PyCFunctionFastWithKeywords)
                }
                _ => Call::Other,
            };
            let object = py_ffi::PyType_GenericAlloc(self.0.as_type_ptr(), 0);
            if object.is_null() {
                return Err(Raised::new().into());
            }
            let data = object.cast::<CoroutineMethod>();
            (&raw mut (*data).vectorcall).write(vectorcall);
            (&raw mut (*data).method).write(method.clone().into_ptr());
            (&raw mut (*data).class).write((*descriptor).d_common.d_type);
            (&raw mut (*data).call).write(call);
            Ok(Bound::from_owned_ptr(self.0.py(), object))
        }
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
        let data = slf.cast::<CoroutineMethod>();
        let given = py_ffi::PyVectorcall_NARGS(count);
        if given > 0 && std::ptr::eq(py_ffi::Py_TYPE(*args), (*data).class) {
            match (*data).call {
                Call::None(call) if given == 1 && names.is_null() => {
                    return call(*args, std::ptr::null_mut());
                }
                Call::Fast(call) => return call(*args, args.add(1), given - 1, names),
                Call::None(_) | Call::Other => {}
            }
        }
        py_ffi::PyObject_Vectorcall((*data).method, args, count, names)
    }
}

unsafe extern "C" fn get(
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

unsafe extern "C" fn getattr(
    slf: *mut py_ffi::PyObject,
    name: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: the interpreter calls this with an instance of our class and a string, attached.
    unsafe { marked_attribute((*slf.cast::<CoroutineMethod>()).method, name) }
}

unsafe extern "C" fn repr(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    // SAFETY: called with an instance of our class, attached.
    unsafe { py_ffi::PyObject_Repr((*slf.cast::<CoroutineMethod>()).method) }
}

unsafe extern "C" fn dealloc(slf: *mut py_ffi::PyObject) {
    // SAFETY: nobody holds the object any more: its reference and its memory are given back, then that to its class.
    unsafe {
        let class = py_ffi::Py_TYPE(slf);
        py_ffi::Py_DECREF((*slf.cast::<CoroutineMethod>()).method);
        py_ffi::PyObject_Free(slf.cast());
        py_ffi::Py_DECREF(class.cast());
    }
}

fn class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let no_member = py_ffi::PyMemberDef {
        name: std::ptr::null(),
        type_code: 0,
        offset: 0,
        flags: 0,
        doc: std::ptr::null(),
    };
    let offset = py_ffi::PyMemberDef {
        name: c"__vectorcalloffset__".as_ptr(),
        type_code: py_ffi::Py_T_PYSSIZET,
        offset: std::mem::offset_of!(CoroutineMethod, vectorcall) as py_ffi::Py_ssize_t,
        flags: py_ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let members = [offset, no_member];
    let slot = |slot: c_int, value: *mut c_void| py_ffi::PyType_Slot { slot, pfunc: value };
    let doc: &CStr = c"A method in C that gives a coroutine.";
    let mut slots = [
        slot(py_ffi::Py_tp_members, members.as_ptr().cast_mut().cast()),
        slot(py_ffi::Py_tp_call, py_ffi::PyVectorcall_Call as *mut c_void),
        slot(py_ffi::Py_tp_descr_get, get as *mut c_void),
        slot(py_ffi::Py_tp_getattro, getattr as *mut c_void),
        slot(py_ffi::Py_tp_repr, repr as *mut c_void),
        slot(py_ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(py_ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = py_ffi::PyType_Spec {
        name: c"sabio._CoroutineMethod".as_ptr(),
        basicsize: size_of::<CoroutineMethod>() as c_int,
        itemsize: 0,
        flags: (py_ffi::Py_TPFLAGS_DEFAULT
            | py_ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | py_ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
            | py_ffi::Py_TPFLAGS_IMMUTABLETYPE
            | py_ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; the interpreter copies the specification, its members and its documentation.
    unsafe {
        let class = Obj::from_owned_or_err(py, py_ffi::PyType_FromSpec(&raw mut spec))?;
        Ok(class.bind(py).cast::<PyType>()?.clone())
    }
}
