//! What stands before a function or a method in C and carries the marks of a coroutine function, which no built-in
//! object can carry itself: `inspect` and `unittest.mock` look for them.
//!
//! Such an object is like the one behind it in everything but the marks and its type. What a call does is the business of
//! `coroutine_function.rs` and `coroutine_method.rs`.

use std::ffi::{CStr, c_int, c_void};

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

/// How a C function takes its arguments.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// None but its receiver.
    None(py_ffi::PyCFunction),
    /// Those of a vectorcall.
    Fast(py_ffi::PyCFunctionFastWithKeywords),
    /// In another way: the object behind is called.
    Other,
}

impl Call {
    /// # Safety
    /// `definition` is a live method definition.
    pub(super) unsafe fn of(definition: *const py_ffi::PyMethodDef) -> Call {
        // SAFETY: the flags say which member of the union was stored.
        unsafe {
            let function = (*definition).ml_meth;
            match (*definition).ml_flags {
                py_ffi::METH_NOARGS => Call::None(function.PyCFunction),
                flags if flags == py_ffi::METH_FASTCALL | py_ffi::METH_KEYWORDS => {
                    Call::Fast(function.PyCFunctionFastWithKeywords)
                }
                _ => Call::Other,
            }
        }
    }
}

/// An object with the marks.
#[repr(C)]
pub(super) struct Marked {
    head: py_ffi::PyObject,
    vectorcall: py_ffi::vectorcallfunc,
    /// What it stands before.
    pub(super) inner: *mut py_ffi::PyObject,
    pub(super) call: Call,
    /// The module of a function or the class of a method, which live as long as that does; null if there is none.
    pub(super) owner: *mut py_ffi::PyObject,
    /// The head of the weak references to it.
    weak: *mut py_ffi::PyObject,
}

/// A class of such objects.
pub(super) struct MarkedClass<'py> {
    class: Bound<'py, PyType>,
    vectorcall: py_ffi::vectorcallfunc,
}

impl<'py> MarkedClass<'py> {
    /// A class whose instances are called by `vectorcall`; with `bind` they are descriptors that the interpreter calls
    /// without binding them first.
    ///
    /// # Errors
    /// MemoryError, and what comes of looking at `inspect`.
    pub(super) fn new(
        py: Python<'py>,
        name: &'static CStr,
        vectorcall: py_ffi::vectorcallfunc,
        bind: Option<py_ffi::descrgetfunc>,
    ) -> PyResult<MarkedClass<'py>> {
        if MARKS.try_get(py).is_none() {
            MARKS.set(py, marks(py)?);
        }
        let class = class(py, name, bind)?;
        Ok(MarkedClass { class, vectorcall })
    }

    /// An object before `inner`. MemoryError.
    pub(super) fn create(
        &self,
        inner: &Bound<'py, PyAny>,
        call: Call,
        owner: *mut py_ffi::PyObject,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the new object is of the size of our structure, and all of its fields are written before anybody else
        // sees it.
        unsafe {
            let object = py_ffi::PyType_GenericAlloc(self.class.as_type_ptr(), 0);
            if object.is_null() {
                return Err(Raised::new().into());
            }
            let data = object.cast::<Marked>();
            (&raw mut (*data).vectorcall).write(self.vectorcall);
            (&raw mut (*data).inner).write(inner.clone().into_ptr());
            (&raw mut (*data).call).write(call);
            (&raw mut (*data).owner).write(owner);
            (&raw mut (*data).weak).write(std::ptr::null_mut());
            Ok(Bound::from_owned_ptr(self.class.py(), object))
        }
    }
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

unsafe extern "C" fn getattr(
    slf: *mut py_ffi::PyObject,
    name: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    // SAFETY: the interpreter calls this with an instance of such a class and a string, attached.
    unsafe {
        let py = Python::assume_attached();
        for Mark(mark, value) in MARKS.try_get(py).into_iter().flatten() {
            match py_ffi::PyUnicode_Compare(name, mark.as_ptr()) {
                0 => return value.clone().into_ptr(),
                -1 if !py_ffi::PyErr_Occurred().is_null() => return std::ptr::null_mut(),
                _ => {}
            }
        }
        py_ffi::PyObject_GetAttr((*slf.cast::<Marked>()).inner, name)
    }
}

unsafe extern "C" fn text(slf: *mut py_ffi::PyObject, _: *mut c_void) -> *mut py_ffi::PyObject {
    // SAFETY: a getter gets an instance of such a class, attached.
    unsafe { py_ffi::PyObject_GetAttrString((*slf.cast::<Marked>()).inner, c"__doc__".as_ptr()) }
}

unsafe extern "C" fn repr(slf: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    // SAFETY: called with an instance of such a class, attached.
    unsafe { py_ffi::PyObject_Repr((*slf.cast::<Marked>()).inner) }
}

unsafe extern "C" fn dealloc(slf: *mut py_ffi::PyObject) {
    // SAFETY: nobody holds the object any more: weak references forget it, its reference and its memory are given back,
    // then that to its class.
    unsafe {
        if !(*slf.cast::<Marked>()).weak.is_null() {
            py_ffi::PyObject_ClearWeakRefs(slf);
        }
        let class = py_ffi::Py_TYPE(slf);
        py_ffi::Py_DECREF((*slf.cast::<Marked>()).inner);
        py_ffi::PyObject_Free(slf.cast());
        py_ffi::Py_DECREF(class.cast());
    }
}

fn class<'py>(
    py: Python<'py>,
    name: &'static CStr,
    bind: Option<py_ffi::descrgetfunc>,
) -> PyResult<Bound<'py, PyType>> {
    let no_member = py_ffi::PyMemberDef {
        name: std::ptr::null(),
        type_code: 0,
        offset: 0,
        flags: 0,
        doc: std::ptr::null(),
    };
    let offset = |name: &'static CStr, offset: usize| py_ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: py_ffi::Py_T_PYSSIZET,
        offset: offset as py_ffi::Py_ssize_t,
        flags: py_ffi::Py_READONLY,
        doc: std::ptr::null(),
    };
    let members = [
        offset(c"__vectorcalloffset__", std::mem::offset_of!(Marked, vectorcall)),
        offset(c"__weaklistoffset__", std::mem::offset_of!(Marked, weak)),
        no_member,
    ];
    // `pydoc` asks the class for it, and not the object; so the class has no text of its own.
    let text = py_ffi::PyGetSetDef {
        name: c"__doc__".as_ptr(),
        get: Some(text),
        set: None,
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    };
    let attributes = Box::leak(Box::new([text, py_ffi::PyGetSetDef::default()]));
    let slot = |slot: c_int, value: *mut c_void| py_ffi::PyType_Slot { slot, pfunc: value };
    let mut slots = vec![
        slot(py_ffi::Py_tp_members, members.as_ptr().cast_mut().cast()),
        slot(py_ffi::Py_tp_call, py_ffi::PyVectorcall_Call as *mut c_void),
        slot(py_ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        slot(py_ffi::Py_tp_getattro, getattr as *mut c_void),
        slot(py_ffi::Py_tp_repr, repr as *mut c_void),
        slot(py_ffi::Py_tp_dealloc, dealloc as *mut c_void),
    ];
    let mut flags = py_ffi::Py_TPFLAGS_DEFAULT
        | py_ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | py_ffi::Py_TPFLAGS_IMMUTABLETYPE
        | py_ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    if let Some(bind) = bind {
        slots.push(slot(py_ffi::Py_tp_descr_get, bind as *mut c_void));
        flags |= py_ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
    }
    slots.push(slot(0, std::ptr::null_mut()));
    let mut spec = py_ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<Marked>() as c_int,
        itemsize: 0,
        flags: flags as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; the interpreter copies the specification, its members and its documentation.
    unsafe {
        let class = Obj::from_owned_or_err(py, py_ffi::PyType_FromSpec(&raw mut spec))?;
        Ok(class.bind(py).cast::<PyType>()?.clone())
    }
}
