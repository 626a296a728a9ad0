//! The C functions by which CPython makes, initialises, looks through and frees instances of our classes.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use pyo3::PyTypeInfo;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::class::{Class, data_ptr};
use super::ending::keep_thread;
use super::error::guard;
use super::instance::allocate;
use super::object::Ref;
use super::trampoline::{conjure, enter, enter_int};
use super::visit::Visit;

pub(super) unsafe extern "C" fn construct<T, F>(
    class: *mut py_ffi::PyTypeObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject
where
    T: Class,
    F: Fn(&Bound<'_, PyType>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<T> + Copy,
{
    enter(|py| {
        // SAFETY: `tp_new` gets a live class, a tuple and a dict or null; `make` was registered with this class.
        unsafe {
            let class = Bound::from_borrowed_ptr(py, class.cast()).cast_into_unchecked::<PyType>();
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs =
                Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|k| k.cast_into_unchecked::<PyDict>());
            check_concrete(&class)?;
            let data = conjure::<F>()(&class, &args, kwargs.as_ref())?;
            Ok(allocate::<T>(py, class.as_type_ptr(), || data)?)
        }
    })
}

/// TypeError if methods of the class are abstract, which its metaclass leaves to the constructor of `object` to find.
#[inline]
fn check_concrete(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let type_ptr = class.as_type_ptr();
    // SAFETY: a live class, and the constructor of `object` is called as that of any class. Of an abstract class it
    // makes no instance, which would be none of ours: it raises.
    let refused = unsafe {
        if py_ffi::PyType_GetFlags(type_ptr) & py_ffi::Py_TPFLAGS_IS_ABSTRACT == 0 {
            return Ok(());
        }
        match PyAny::type_object(py)
            .as_type_ptr()
            .as_ref()
            .and_then(|object| object.tp_new)
        {
            Some(new) => new(type_ptr, PyTuple::empty(py).as_ptr(), std::ptr::null_mut()).is_null(),
            None => false,
        }
    };
    if refused {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

pub(super) unsafe extern "C" fn construct_derived<T: Class + Default>(
    class: *mut py_ffi::PyTypeObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> *mut py_ffi::PyObject {
    let base = T::cell().base.load(Ordering::Relaxed);
    // SAFETY: called as `tp_new` with its arguments; the base's own constructor is called the same way and gives an
    // instance of `class`, in which our part is still zeroed and is written before anybody sees the object.
    unsafe {
        let object = match (*base).tp_new {
            Some(new) => new(class, args, kwargs),
            None => py_ffi::PyType_GenericAlloc(class, 0),
        };
        if !object.is_null() {
            data_ptr::<T>(object).write(T::default());
        }
        object
    }
}

pub(super) unsafe extern "C" fn initialize<T, F>(
    object: *mut py_ffi::PyObject,
    args: *mut py_ffi::PyObject,
    kwargs: *mut py_ffi::PyObject,
) -> c_int
where
    T: Class,
    F: Fn(&Ref<T>, &Bound<'_, PyTuple>, Option<&Bound<'_, PyDict>>) -> PyResult<()> + Copy,
{
    enter_int(|py| {
        // SAFETY: `tp_init` gets an instance of the class it was registered with, a tuple and a dict or null.
        unsafe {
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs =
                Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|k| k.cast_into_unchecked::<PyDict>());
            conjure::<F>()(Ref::from_ptr_ref(&object), &args, kwargs.as_ref())
        }
    })
}

pub(super) unsafe extern "C" fn finalizer<T: Class, F: Fn(&Ref<T>, Python<'_>) -> PyResult<()> + Copy>(
    object: *mut py_ffi::PyObject,
) {
    keep_thread();
    Python::attach(|py| {
        // A finalizer may run while an exception is on its way: put it aside and bring it back.
        let pending = PyErr::take(py);
        // SAFETY: `tp_finalize` gets a whole instance of the class it was registered with.
        let slf = unsafe { Ref::<T>::from_ptr_ref(&object) };
        if let Err(error) = guard(|| conjure::<F>()(slf, py)) {
            error.write_unraisable(py, Some(slf.bind(py)));
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

pub(super) unsafe extern "C" fn traverse<T: Class>(
    object: *mut py_ffi::PyObject,
    visit: py_ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let cell = T::cell();
    let mut visit = Visit::new(visit, arg);
    // SAFETY: the collector passes a whole instance; neither the base's traversal nor ours runs Python code, and each
    // object is shown once for the one reference that is owned: the class by the base, where the base does so.
    unsafe {
        let base = cell.base.load(Ordering::Relaxed);
        let mut base_shows_class = false;
        match cell.slots.get() {
            Some(slots) => {
                for offset in slots {
                    visit.pointer(*object.byte_add(*offset).cast::<*mut py_ffi::PyObject>());
                }
            }
            None if !base.is_null() => {
                if let Some(base_traverse) = (*base).tp_traverse {
                    let result = base_traverse(object, visit.visit, arg);
                    if result != 0 {
                        return result;
                    }
                    base_shows_class = py_ffi::PyType_GetFlags(base) & py_ffi::Py_TPFLAGS_HEAPTYPE != 0;
                }
            }
            None => {}
        }
        if !base_shows_class {
            visit.pointer(py_ffi::Py_TYPE(object).cast());
        }
        (*data_ptr::<T>(object)).visit(&mut visit);
    }
    visit.result
}

pub(super) unsafe extern "C" fn clear<T: Class>(object: *mut py_ffi::PyObject) -> c_int {
    keep_thread();
    let cell = T::cell();
    // SAFETY: the collector passes a whole instance on an attached thread and holds a reference to it.
    unsafe {
        (*data_ptr::<T>(object)).clear();
        let base = cell.base.load(Ordering::Relaxed);
        match cell.slots.get() {
            Some(slots) => clear_slots(object, slots),
            None if !base.is_null() => {
                if let Some(base_clear) = (*base).tp_clear {
                    return base_clear(object);
                }
            }
            None => {}
        }
    }
    0
}

/// # Safety
/// `object` is an instance whose `__slots__` lie at these offsets.
unsafe fn clear_slots(object: *mut py_ffi::PyObject, slots: &[usize]) {
    for offset in slots {
        // SAFETY: each slot holds an owned reference or null; it is emptied before the reference is dropped.
        unsafe {
            let slot = object.byte_add(*offset).cast::<*mut py_ffi::PyObject>();
            let value = slot.replace(std::ptr::null_mut());
            py_ffi::Py_XDECREF(value);
        }
    }
}

pub(super) unsafe extern "C" fn dealloc<T: Class>(object: *mut py_ffi::PyObject) {
    keep_thread();
    let cell = T::cell();
    // SAFETY: CPython calls this once the last reference is gone. The finalizer runs first, on the whole object, and
    // may bring it back; then the collector and weak references forget it; then our data is dropped, then the base's
    // part, then the memory. A base with a deallocator of its own frees the memory and the class's reference itself.
    unsafe {
        let class = py_ffi::Py_TYPE(object);
        if (*class).tp_finalize.is_some()
            && (*data_ptr::<T>(object)).needs_finalizer()
            && py_ffi::PyObject_CallFinalizerFromDealloc(object) < 0
        {
            return;
        }
        if py_ffi::PyType_GetFlags(class) & py_ffi::Py_TPFLAGS_HAVE_GC != 0 {
            py_ffi::PyObject_GC_UnTrack(object.cast());
        }
        let weaklist = (*class).tp_weaklistoffset;
        if weaklist > 0 && !(*object.byte_offset(weaklist).cast::<*mut c_void>()).is_null() {
            py_ffi::PyObject_ClearWeakRefs(object);
        }
        data_ptr::<T>(object).drop_in_place();
        // A block whose finalizer has run carries a mark that the next instance must not inherit.
        if T::RECYCLED
            && std::ptr::eq(class, cell.class_ptr())
            && !(T::COLLECTED && py_ffi::PyObject_GC_IsFinalized(object) != 0)
            && cell.spare.push(object)
        {
            py_ffi::Py_DECREF(class.cast());
            return;
        }
        let base = cell.base.load(Ordering::Relaxed);
        match cell.slots.get() {
            Some(slots) => clear_slots(object, slots),
            None if !base.is_null() => {
                if let Some(base_dealloc) = (*base).tp_dealloc {
                    base_dealloc(object);
                    return;
                }
            }
            None => {}
        }
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        py_ffi::Py_DECREF(class.cast());
    }
}
