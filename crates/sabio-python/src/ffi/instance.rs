//! Making instances of our classes, from Rust.

use std::ffi::c_void;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::class::{Class, data_ptr};
use super::convert::IntoObj;
use super::error::{Outcome, Raised};
use super::lifecycle::construct_derived;
use super::object::{Obj, Ref};

impl<T: Class> Ref<T> {
    /// A new instance of exactly `T`'s class. MemoryError.
    #[inline(always)]
    pub(crate) fn create(py: Python<'_>, data: T) -> Outcome<Ref<T>> {
        Ref::create_with(py, || data)
    }

    /// As [`Ref::create`], with the data made in place.
    #[inline(always)]
    pub(crate) fn create_with(py: Python<'_>, make: impl FnOnce() -> T) -> Outcome<Ref<T>> {
        let cell = T::cell();
        if T::RECYCLED {
            const { assert!(T::PLAIN || !T::RECYCLED, "only plain classes can be recycled") };
            if let Some(block) = cell.spare.pop() {
                // SAFETY: the block has the size of `T`'s exact class and is untracked; its header is made anew, its
                // data written, and its list of weak references was emptied when it was freed.
                unsafe {
                    py_ffi::PyObject_Init(block, cell.class_ptr());
                    data_ptr::<T>(block).write(make());
                    if T::COLLECTED {
                        py_ffi::PyObject_GC_Track(block.cast());
                    }
                    return Ok(Ref::from_obj(Obj::from_owned(block)));
                }
            }
        }
        if T::PLAIN && !T::COLLECTED {
            // SAFETY: the class lays its instances out for `T`, whose data is written here.
            unsafe {
                let object = allocate_untracked::<T>()?;
                data_ptr::<T>(object).write(make());
                return Ok(Ref::from_obj(Obj::from_owned(object)));
            }
        }
        // SAFETY: `T`'s own class, built by `ClassBuilder`, lays its instances out for `T`.
        unsafe { allocate(py, cell.class_ptr(), make) }
    }

    /// A new instance of `class`, a Python subclass of `T`'s class. TypeError if it is none, MemoryError.
    pub(crate) fn create_as(class: &Bound<'_, PyType>, data: T) -> PyResult<Ref<T>> {
        let own = T::cell().class(class.py())?;
        if !class.is_subclass(&own)? {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "not a subclass of sabio's class",
            ));
        }
        // SAFETY: a subclass keeps the layout of its base.
        unsafe { Ok(allocate(class.py(), class.as_type_ptr(), || data)?) }
    }
}

impl<T: Class> Ref<T> {
    /// A new instance of the class that users see (see [`super::ClassCell::set_public`]). MemoryError.
    #[inline]
    pub(crate) fn create_public(py: Python<'_>, data: T) -> Outcome<Ref<T>> {
        let class = T::cell().public_ptr();
        if class.is_null() {
            return Ref::create(py, data);
        }
        // SAFETY: `set_public` has checked that it is a subclass, which keeps the layout of its base.
        unsafe { allocate(py, class, || data) }
    }
}

/// A class of ours on top of another class of ours.
pub(crate) trait Derived: Class {
    /// The class below, which derives from `object` alone.
    type Parent: Class;
}

impl<T: Derived> Ref<T> {
    /// A new instance: the data of both classes. MemoryError.
    #[inline(always)]
    pub(crate) fn create_derived(
        _py: Python<'_>,
        parent: impl FnOnce() -> T::Parent,
        data: T,
    ) -> Outcome<Ref<T>> {
        const {
            assert!(<T::Parent as Class>::PLAIN && !T::PLAIN);
            assert!(!<T::Parent as Class>::COLLECTED && !T::COLLECTED);
        };
        // SAFETY: the class is laid out for `T` behind its parent's part; both are written before anybody sees the
        // object, and nothing runs in between.
        unsafe {
            let object = allocate_untracked::<T>()?;
            data_ptr::<T>(object).write(data);
            data_ptr::<T::Parent>(object).write(parent());
            Ok(Ref::from_obj(Obj::from_owned(object)))
        }
    }

    /// The same object as an instance of the class below.
    #[inline]
    pub(crate) fn as_parent(&self) -> &Ref<T::Parent> {
        // SAFETY: an instance of the derived class is one of its parent; both references are transparent wrappers.
        unsafe { &*(&raw const *self).cast::<Ref<T::Parent>>() }
    }
}

impl<T: Class + Default> Ref<T> {
    /// A new instance of a class on a native base, whose initialiser has not run yet. MemoryError.
    #[inline]
    pub(crate) fn create_uninitialised(py: Python<'_>, no_args: &Bound<'_, PyTuple>) -> Outcome<Ref<T>> {
        // SAFETY: exactly what calling the class would do first; `construct_derived` writes our data.
        unsafe {
            let object =
                construct_derived::<T>(T::cell().class_ptr(), no_args.as_ptr(), std::ptr::null_mut());
            Ok(Ref::from_obj(Obj::from_owned_or_err(py, object)?))
        }
    }
}

/// Memory for an instance of exactly `T`'s class. It is not zeroed, so the one word besides the data that anybody
/// reads, the head of the weak references, is emptied. MemoryError.
///
/// # Safety
/// The class is no collected one, and the caller writes the data of it and of the class below.
#[inline(always)]
unsafe fn allocate_untracked<T: Class>() -> Outcome<*mut py_ffi::PyObject> {
    // SAFETY: a finished class; the word lies in its instance.
    unsafe {
        let class = T::cell().class_ptr();
        let object = py_ffi::PyObject_New::<py_ffi::PyObject>(class);
        if object.is_null() {
            return Err(Raised::new());
        }
        let weaklist = (*class).tp_weaklistoffset;
        if weaklist > 0 {
            object
                .byte_offset(weaklist)
                .cast::<*mut c_void>()
                .write(std::ptr::null_mut());
        }
        Ok(object)
    }
}

/// # Safety
/// `class` is `T`'s class, finished, or a subclass of it, and no base of it needs a constructor of its own to run.
#[inline(always)]
pub(super) unsafe fn allocate<T: Class>(
    _py: Python<'_>,
    class: *mut py_ffi::PyTypeObject,
    make: impl FnOnce() -> T,
) -> Outcome<Ref<T>> {
    // SAFETY: a live class; the allocator gives zeroed memory of its size, tracked if it is collected. Nothing runs
    // between the allocation and the write of the data.
    unsafe {
        let object = py_ffi::PyType_GenericAlloc(class, 0);
        if object.is_null() {
            return Err(Raised::new());
        }
        data_ptr::<T>(object).write(make());
        Ok(Ref::from_obj(Obj::from_owned(object)))
    }
}

impl<T: Class> IntoObj for Ref<T> {
    #[inline]
    fn into_obj(self, _py: Python<'_>) -> PyResult<Obj> {
        Ok(Ref::into_obj(self))
    }
}
