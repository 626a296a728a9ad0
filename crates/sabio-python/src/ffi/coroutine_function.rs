//! Functions that give coroutines, as `inspect` and `unittest.mock` want them: built-in ones with the marks of a
//! coroutine function, which no built-in function can carry itself. (Methods: `coroutine_method.rs`.)
//!
//! Such an object stands before a built-in function and is like it in everything but the marks and its type. A call goes
//! straight to the C function, where that takes the arguments of a vectorcall.

use std::ffi::{CStr, c_int, c_void};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::error::Raised;
use super::global::Global;
use super::object::Obj;

/// One mark: the name of the attribute, and its value.
struct Mark(Obj, Obj);

/// What tells a coroutine function: `inspect`'s marks, from 3.12 on, and asyncio's of before. Where `unittest.mock` makes
/// a function after another one, it looks at the marks only if there is a `__code__`.
static MARKS: Global<Vec<Mark>> = Global::new();

/// The source of that code, which is never run.
const CODE: &CStr = c"async def native(*args, **kwargs): ...";

#[repr(C)]
struct CoroutineFunction {
    head: py_ffi::PyObject,
    vectorcall: py_ffi::vectorcallfunc,
    /// The built-in function, and what it is made of: no C function if that takes its arguments in another way.
    function: *mut py_ffi::PyObject,
    call: Option<py_ffi::PyCFunctionFastWithKeywords>,
    receiver: *mut py_ffi::PyObject,
}

/// Puts such objects in the place of functions of the module.
///
/// # Errors
/// TypeError for what is no built-in function; AttributeError for what is not there.
pub(crate) fn mark_coroutine_functions(module: &Bound<'_, PyModule>, names: &[&str]) -> PyResult<()> {
    let py = module.py();
    prepare_marks(py)?;
    let class = class(py)?;
    for name in names {
        let function = module.getattr(*name)?;
        module.setattr(*name, create(&class, &function)?)?;
    }
    Ok(())
}

/// Finds out what the marks are.
pub(super) fn prepare_marks(py: Python<'_>) -> PyResult<()> {
    if MARKS.try_get(py).is_none() {
        MARKS.set(py, marks(py)?);
    }
    Ok(())
}

fn marks(py: Python<'_>) -> PyResult<Vec<Mark>> {
    let namespace = PyDict::new(py);
    py.run(CODE, Some(&namespace), None)?;
    let code = namespace.as_any().get_item("native")?.getattr("__code__")?;
    let mut marks = vec![Mark(
        PyString::intern(py, "__code__").into_any().into(),
        code.into(),
    )];
    if let Some(mark) = py.import("inspect")?.getattr_opt("markcoroutinefunction")? {
        let marked = py.import("types")?.getattr("SimpleNamespace")?.call0()?;
        mark.call1((&marked,))?;
        for (name, value) in marked.getattr("__dict__")?.cast_into::<PyDict>()? {
            marks.push(Mark(name.into(), value.into()));
        }
    }
    let coroutines = py.import("asyncio.coroutines")?;
    if let Some(value) = coroutines.getattr_opt("_is_coroutine")? {
        let name = PyString::intern(py, "_is_coroutine").into_any();
        marks.push(Mark(name.into(), value.into()));
    }
    Ok(marks)
}

fn create<'py>(class: &Bound<'py, PyType>, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let pointer = function.as_ptr();
    // SAFETY: the function is alive and is looked into only if it is a built-in one; its definition and its receiver
    // live as long as it does, and its flags say which member of the union was stored. The new object is of the size
    // of our structure, and all of its fields are written before anybody else sees it.
    unsafe {
        if py_ffi::PyCFunction_CheckExact(pointer) == 0 {
            let message = format!("{} is no built-in function", function.repr()?);
            return Err(PyTypeError::new_err(message));
        }
        let definition = (*pointer.cast::<py_ffi::PyCFunctionObject>()).m_ml;
        let is_fast = (*definition).ml_flags == py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS;
        let call = is_fast.then(|| (*definition).ml_meth.PyCFunctionFastWithKeywords);
        let object = py_ffi::PyType_GenericAlloc(class.as_type_ptr(), 0);
        if object.is_null() {
            return Err(Raised::new().into());
        }
        let data = object.cast::<CoroutineFunction>();
        (&raw mut (*data).vectorcall).write(vectorcall);
        (&raw mut (*data).function).write(function.clone().into_ptr());
        (&raw mut (*data).call).write(call);
        (&raw mut (*data).receiver).write(py_ffi::PyCFunction_GetSelf(pointer));
        Ok(Bound::from_owned_ptr(py, object))
    }
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
        let data = slf.cast::<CoroutineFunction>();
        match (*data).call {
            Some(call) => call((*data).receiver, args, py_ffi::PyVectorcall_NARGS(count), names),
            None => py_ffi::PyObject_Vectorcall((*data).function, args, count, names),
        }
    }
}

/// An attribute of what stands before `inner`: a mark, or else what `inner` has. A new reference, or null with an
/// exception set.
///
/// # Safety
/// Attached; `inner` is alive, and `name` is a string.
pub(super) unsafe fn marked_attribute(
    inner: *mut py_ffi::PyObject,
    name: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: as the caller says.
    unsafe {
        let py = Python::assume_attached();
        for Mark(mark, value) in MARKS.try_get(py).into_iter().flatten() {
            match py_ffi::PyUnicode_Compare(name, mark.as_ptr()) {
                0 => return value.clone().into_ptr(),
                -1 if !py_ffi::PyErr_Occurred().is_null() => return std::ptr::null_mut(),
                _ => {}
            }
        }
        py_ffi::PyObject_GetAttr(inner, name)
    }
}

unsafe extern "C" fn getattr(
    slf: *mut py_ffi::PyObject,
    name: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: the interpreter calls this with an instance of our class and a string, attached.
    unsafe { marked_attribute((*slf.cast::<CoroutineFunction>()).function, name) }
}

unsafe extern "C" fn repr(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    // SAFETY: called with an instance of our class, attached.
    unsafe { py_ffi::PyObject_Repr((*slf.cast::<CoroutineFunction>()).function) }
}

unsafe extern "C" fn dealloc(slf: *mut py_ffi::PyObject) {
    // SAFETY: nobody holds the object any more: its reference and its memory are given back, then that to its class.
    unsafe {
        let class = py_ffi::Py_TYPE(slf);
        py_ffi::Py_DECREF((*slf.cast::<CoroutineFunction>()).function);
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
        offset: std::mem::offset_of!(CoroutineFunction, vectorcall) as py_ffi::Py_ssize_t,
        flags: py_ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let members = [offset, no_member];
    let slot = |slot: c_int, value: *mut c_void| py_ffi::PyType_Slot { slot, pfunc: value };
    let doc: &CStr = c"A built-in function that gives a coroutine.";
    let mut slots = [
        slot(py_ffi::Py_tp_members, members.as_ptr().cast_mut().cast()),
        slot(py_ffi::Py_tp_call, py_ffi::PyVectorcall_Call as *mut c_void),
        slot(py_ffi::Py_tp_getattro, getattr as *mut c_void),
        slot(py_ffi::Py_tp_repr, repr as *mut c_void),
        slot(py_ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(py_ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast()),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = py_ffi::PyType_Spec {
        name: c"sabio._CoroutineFunction".as_ptr(),
        basicsize: size_of::<CoroutineFunction>() as c_int,
        itemsize: 0,
        flags: (py_ffi::Py_TPFLAGS_DEFAULT
            | py_ffi::Py_TPFLAGS_HAVE_VECTORCALL
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
