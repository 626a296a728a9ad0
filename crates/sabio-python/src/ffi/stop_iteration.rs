//! The StopIteration by which what a native coroutine returns travels to the interpreter's `await`.
//!
//! The interpreter takes the value out of it and drops it at once, so making one and freeing it is a price of every
//! such `await`. These are instances of a subclass of StopIteration, made without a call, whose memory is used again.
//! Python code gets to see one only by calling `next()` on a coroutine by hand; it finds the value in
//! `args`, too, which is filled when somebody looks. To `send()` the exception is StopIteration itself
//! ([`raise_stop_iteration`]), and so it is while somebody is told of exceptions ([`watched`]).

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::object::Obj;
use super::spare::Spare;
use super::watched;

static CLASS: AtomicPtr<py_ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());
/// The empty tuple, which all of them have as their `args`.
static EMPTY: AtomicPtr<py_ffi::PyObject> = AtomicPtr::new(std::ptr::null_mut());
static SPARE: Spare = Spare::new();

/// Builds the class.
pub(crate) fn init_stop_iteration(py: Python<'_>) -> PyResult<()> {
    let slot = |slot: c_int, pfunc: *mut c_void| py_ffi::PyType_Slot { slot, pfunc };
    let args = py_ffi::PyGetSetDef {
        name: c"args".as_ptr(),
        get: Some(args),
        set: Some(set_args),
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    };
    let attributes = Box::leak(Box::new([args, py_ffi::PyGetSetDef::default()]));
    let mut slots = [
        slot(py_ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(py_ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        slot(py_ffi::Py_tp_repr, repr as *mut c_void),
        slot(py_ffi::Py_tp_str, str as *mut c_void),
        slot(0, std::ptr::null_mut()),
    ];
    let mut spec = py_ffi::PyType_Spec {
        name: c"builtins.StopIteration".as_ptr(),
        basicsize: 0,
        itemsize: 0,
        flags: py_ffi::Py_TPFLAGS_DEFAULT as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete and zero-terminated, and CPython copies it; the class has the size and, but for the
    // deallocator, the functions of its base. The references to it and to the tuple are never given back.
    unsafe {
        let class = py_ffi::PyType_FromSpecWithBases(&raw mut spec, py_ffi::PyExc_StopIteration);
        let class = Obj::from_owned_or_err(py, class)?;
        CLASS.store(class.into_ptr().cast(), Ordering::Relaxed);
        let empty = Obj::from_owned_or_err(py, py_ffi::PyTuple_New(0))?;
        EMPTY.store(empty.into_ptr(), Ordering::Relaxed);
    }
    Ok(())
}

/// The one for True, which locks and events end with again and again: it is never freed, and given out while nobody
/// else has it.
static TRUE: AtomicPtr<py_ffi::PyObject> = AtomicPtr::new(std::ptr::null_mut());

/// Sets StopIteration with `value` as its value, whatever it is, a tuple or an exception too. Sets MemoryError if there
/// is no memory for it.
pub(super) fn set_stop_iteration(py: Python<'_>, value: Obj) {
    if watched::are_exceptions(py) {
        return raise_stop_iteration(py, &value).restore(py);
    }
    // SAFETY: attached; the address of an immortal object, and an exception that the place owns a reference to.
    unsafe {
        let is_true = std::ptr::eq(value.as_ptr(), py_ffi::Py_True());
        if is_true {
            let kept = TRUE.load(Ordering::Relaxed);
            if !kept.is_null() && py_ffi::Py_REFCNT(kept) == 1 && is_untouched(kept) && is_whole(kept, &value)
            {
                py_ffi::Py_INCREF(kept);
                return set_raised(kept);
            }
        }
        let Some(exception) = create(py, value) else {
            return;
        };
        if is_true {
            py_ffi::Py_INCREF(exception);
            py_ffi::Py_XDECREF(TRUE.swap(exception, Ordering::Relaxed));
        }
        set_raised(exception);
    }
}

/// # Safety
/// Attached; `exception` is an instance of the class, and the reference to it is given away.
#[inline]
unsafe fn set_raised(exception: *mut py_ffi::PyObject) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(Py_3_12)]
        py_ffi::PyErr_SetRaisedException(exception);
        #[cfg(not(Py_3_12))]
        {
            let class = Obj::from_borrowed(py_ffi::Py_TYPE(exception).cast()).into_ptr();
            py_ffi::PyErr_Restore(class, exception, std::ptr::null_mut());
        }
    }
}

/// Whether Python code has left nothing in the exception.
///
/// # Safety
/// An instance of the class.
#[inline]
unsafe fn is_untouched(exception: *mut py_ffi::PyObject) -> bool {
    let fields = exception.cast::<py_ffi::PyStopIterationObject>();
    // SAFETY: the class has this layout, which it inherits.
    unsafe {
        (*fields).dict.is_null()
            && (*fields).notes.is_null()
            && (*fields).traceback.is_null()
            && (*fields).context.is_null()
            && (*fields).cause.is_null()
    }
}

/// Whether the exception still has its value, and nothing in its `args`.
///
/// # Safety
/// An instance of the class.
#[inline]
unsafe fn is_whole(exception: *mut py_ffi::PyObject, value: &Obj) -> bool {
    let fields = exception.cast::<py_ffi::PyStopIterationObject>();
    // SAFETY: the class has this layout, which it inherits.
    unsafe {
        std::ptr::eq((*fields).value, value.as_ptr())
            && std::ptr::eq((*fields).args, EMPTY.load(Ordering::Relaxed))
    }
}

/// A new one with `value`.
#[inline]
fn create(_py: Python<'_>, value: Obj) -> Option<*mut py_ffi::PyObject> {
    // SAFETY: attached. A block of the store is a whole instance of the class but for its references, of which there
    // are none, and untracked; a fresh one is zeroed. All of its fields but these two stay empty; each reference is
    // owned.
    unsafe {
        let exception = match SPARE.pop() {
            Some(exception) => {
                py_ffi::Py_INCREF(exception);
                py_ffi::PyObject_GC_Track(exception.cast());
                exception
            }
            None => py_ffi::PyType_GenericAlloc(CLASS.load(Ordering::Relaxed), 0),
        };
        if exception.is_null() {
            return None;
        }
        let fields = exception.cast::<py_ffi::PyStopIterationObject>();
        if (*fields).args.is_null() {
            let empty = EMPTY.load(Ordering::Relaxed);
            py_ffi::Py_INCREF(empty);
            (*fields).args = empty;
        }
        (*fields).value = value.into_ptr();
        Some(exception)
    }
}

/// Puts the value into `args`, if nothing is there.
///
/// # Safety
/// An instance of the class.
unsafe fn fill(object: *mut py_ffi::PyObject) {
    let fields = object.cast::<py_ffi::PyStopIterationObject>();
    // SAFETY: each reference is owned; without memory for a tuple the empty one stays.
    unsafe {
        let empty = EMPTY.load(Ordering::Relaxed);
        if std::ptr::eq((*fields).args, empty) && !(*fields).value.is_null() {
            let args = py_ffi::PyTuple_New(1);
            if args.is_null() {
                return py_ffi::PyErr_Clear();
            }
            py_ffi::Py_INCREF((*fields).value);
            py_ffi::PyTuple_SET_ITEM(args, 0, (*fields).value);
            (*fields).args = args;
            py_ffi::Py_DECREF(empty);
        }
    }
}

unsafe extern "C" fn args(object: *mut py_ffi::PyObject, _: *mut c_void) -> *mut py_ffi::PyObject {
    // SAFETY: a getter gets an instance; there are always arguments, if only the empty ones.
    unsafe {
        fill(object);
        let args = (*object.cast::<py_ffi::PyStopIterationObject>()).args;
        let args = if args.is_null() {
            EMPTY.load(Ordering::Relaxed)
        } else {
            args
        };
        py_ffi::Py_INCREF(args);
        args
    }
}

unsafe extern "C" fn set_args(
    object: *mut py_ffi::PyObject,
    value: *mut py_ffi::PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: a setter gets an instance, and an object or null; what was there is let go of last.
    unsafe {
        if value.is_null() {
            py_ffi::PyErr_SetString(py_ffi::PyExc_TypeError, c"args may not be deleted".as_ptr());
            return -1;
        }
        let args = py_ffi::PySequence_Tuple(value);
        if args.is_null() {
            return -1;
        }
        let fields = object.cast::<py_ffi::PyStopIterationObject>();
        py_ffi::Py_XDECREF((&raw mut (*fields).args).replace(args));
    }
    0
}

/// What StopIteration itself says.
unsafe extern "C" fn repr(object: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    // SAFETY: an instance; the base is a static class that has the slot.
    unsafe {
        fill(object);
        match (*py_ffi::PyExc_StopIteration.cast::<py_ffi::PyTypeObject>()).tp_repr {
            Some(repr) => repr(object),
            None => py_ffi::PyObject_Repr(py_ffi::PyExc_StopIteration),
        }
    }
}

/// What StopIteration itself says.
unsafe extern "C" fn str(object: *mut py_ffi::PyObject) -> *mut py_ffi::PyObject {
    // SAFETY: an instance; the base is a static class that has the slot.
    unsafe {
        fill(object);
        match (*py_ffi::PyExc_StopIteration.cast::<py_ffi::PyTypeObject>()).tp_str {
            Some(str) => str(object),
            None => py_ffi::PyObject_Str(py_ffi::PyExc_StopIteration),
        }
    }
}

unsafe extern "C" fn dealloc(object: *mut py_ffi::PyObject) {
    // SAFETY: the last reference is gone. What the fields hold is let go of when they have been emptied; those that
    // only Python code can fill are left to the function of the base.
    unsafe {
        py_ffi::PyObject_GC_UnTrack(object.cast());
        let fields = object.cast::<py_ffi::PyStopIterationObject>();
        let value = (&raw mut (*fields).value).replace(std::ptr::null_mut());
        let args = (*fields).args;
        if !std::ptr::eq(args, EMPTY.load(Ordering::Relaxed)) {
            (*fields).args = std::ptr::null_mut();
            py_ffi::Py_XDECREF(args);
        }
        (&raw mut (*fields).suppress_context).cast::<u8>().write(0);
        if !is_untouched(object)
            && let Some(clear) = (*py_ffi::Py_TYPE(object)).tp_clear
        {
            clear(object);
        }
        // There is no finalizer, whose mark the next one would inherit; what is stored keeps its class.
        if !SPARE.push(object) {
            let class = py_ffi::Py_TYPE(object);
            py_ffi::Py_XDECREF((&raw mut (*fields).args).replace(std::ptr::null_mut()));
            py_ffi::PyObject_GC_Del(object.cast());
            py_ffi::Py_DECREF(class.cast());
        }
        py_ffi::Py_XDECREF(value);
    }
}

/// `StopIteration(value)` as an error to return.
pub(crate) fn raise_stop_iteration(py: Python<'_>, value: &Obj) -> PyErr {
    match py.get_type::<PyStopIteration>().call1((value.bind(py),)) {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}
