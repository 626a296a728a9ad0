//! Owned references: [`Obj`] to any Python object, [`Ref`] to an instance of one of our classes.
//!
//! Unlike `pyo3::Py` they are dropped with a plain decrement, without asking a thread-local whether this thread is
//! attached: being neither `Send` nor `Sync`, they never leave an attached thread.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::class::{Class, data_ptr};
use super::error::{Outcome, Raised};

/// An owned, non-null reference to a Python object. Dropping it may run arbitrary Python code.
#[repr(transparent)]
pub(crate) struct Obj(NonNull<py_ffi::PyObject>, PhantomData<*mut ()>);

impl Obj {
    /// Takes over a strong reference.
    ///
    /// # Safety
    /// `ptr` is a non-null pointer whose reference the caller owns and gives away; this thread is attached.
    #[inline]
    pub(super) unsafe fn from_owned(ptr: *mut py_ffi::PyObject) -> Obj {
        // SAFETY: non-null by this function's contract.
        Obj(unsafe { NonNull::new_unchecked(ptr) }, PhantomData)
    }

    /// Takes over a strong reference, or the error that CPython has set.
    ///
    /// # Safety
    /// As [`Obj::from_owned`], but null stands for "an exception is set".
    #[inline]
    pub(super) unsafe fn from_owned_or_err(_py: Python<'_>, ptr: *mut py_ffi::PyObject) -> Outcome<Obj> {
        match NonNull::new(ptr) {
            Some(ptr) => Ok(Obj(ptr, PhantomData)),
            None => Err(Raised::new()),
        }
    }

    /// A new reference to a borrowed object.
    ///
    /// # Safety
    /// `ptr` points to a live object; this thread is attached.
    #[inline]
    pub(super) unsafe fn from_borrowed(ptr: *mut py_ffi::PyObject) -> Obj {
        // SAFETY: the object is alive by this function's contract.
        unsafe {
            py_ffi::Py_INCREF(ptr);
            Obj::from_owned(ptr)
        }
    }

    /// The object, bound to the interpreter.
    #[inline]
    pub(crate) fn bind<'a, 'py>(&'a self, _py: Python<'py>) -> &'a Bound<'py, PyAny> {
        // SAFETY: `Bound` is a transparent wrapper of a non-null object pointer (and a zero-sized token), as is `Obj`.
        unsafe { &*(&raw const *self).cast::<Bound<'py, PyAny>>() }
    }

    /// Gives the reference to PyO3.
    #[inline]
    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: the reference is owned and `into_ptr` gives it away.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    /// The object as an opaque address, for comparing identities.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut py_ffi::PyObject {
        self.0.as_ptr()
    }

    /// Whether this is that very object.
    #[inline]
    pub(crate) fn is(&self, other: &Bound<'_, PyAny>) -> bool {
        std::ptr::eq(self.as_ptr(), other.as_ptr())
    }

    #[inline]
    pub(super) fn into_ptr(self) -> *mut py_ffi::PyObject {
        let ptr = self.0.as_ptr();
        std::mem::forget(self);
        ptr
    }

    /// `None`.
    #[inline]
    pub(crate) fn none(_py: Python<'_>) -> Obj {
        // SAFETY: `None` is always alive and the token shows that this thread is attached.
        unsafe { Obj::from_borrowed(py_ffi::Py_None()) }
    }

    /// How many references the object has. One means that only the caller's is left.
    #[inline]
    pub(crate) fn refcount(&self) -> isize {
        // SAFETY: the object is alive: we own a reference.
        unsafe { py_ffi::Py_REFCNT(self.as_ptr()) }
    }
}

impl Clone for Obj {
    #[inline]
    fn clone(&self) -> Obj {
        // SAFETY: alive, because `self` owns a reference; attached, because `Obj` never leaves an attached thread.
        unsafe { Obj::from_borrowed(self.as_ptr()) }
    }
}

impl Drop for Obj {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours; this thread is attached, because `Obj` never leaves an attached thread.
        unsafe { py_ffi::Py_DECREF(self.as_ptr()) }
    }
}

impl<T> From<Bound<'_, T>> for Obj {
    #[inline]
    fn from(bound: Bound<'_, T>) -> Obj {
        // SAFETY: `into_ptr` gives away an owned reference.
        unsafe { Obj::from_owned(bound.into_ptr()) }
    }
}

impl<T> From<&Bound<'_, T>> for Obj {
    #[inline]
    fn from(bound: &Bound<'_, T>) -> Obj {
        // SAFETY: a `Bound` points to a live object on an attached thread.
        unsafe { Obj::from_borrowed(bound.as_ptr()) }
    }
}

/// An owned reference to an instance of `T`'s Python class (or of a subclass); dereferences to its data.
#[repr(transparent)]
pub(crate) struct Ref<T: Class>(Obj, PhantomData<T>);

impl<T: Class> Ref<T> {
    /// # Safety
    /// The object is an instance of `T`'s class.
    #[inline]
    pub(super) unsafe fn from_obj(obj: Obj) -> Ref<T> {
        Ref(obj, PhantomData)
    }

    /// Reads a borrowed object pointer as a borrowed `Ref`.
    ///
    /// # Safety
    /// `*ptr` is an instance of `T`'s class that outlives the reference.
    #[inline]
    pub(super) unsafe fn from_ptr_ref(ptr: &*mut py_ffi::PyObject) -> &Ref<T> {
        // SAFETY: `Ref` is a transparent wrapper of a non-null object pointer; the caller vouches for the class.
        unsafe { &*(&raw const *ptr).cast::<Ref<T>>() }
    }

    /// The object as a `Ref`, if it is an instance of `T`'s class or of a subclass.
    #[inline]
    pub(crate) fn downcast<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Ref<T>> {
        if T::cell().is_instance(object) {
            // SAFETY: just checked; `Bound` and `Ref` are both transparent wrappers of the object's pointer.
            Some(unsafe { &*(&raw const *object).cast::<Ref<T>>() })
        } else {
            None
        }
    }

    /// The object as a `Ref`, if its class is exactly `T`'s.
    #[inline]
    pub(crate) fn downcast_exact<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Ref<T>> {
        if T::cell().is_exact(object) {
            // SAFETY: just checked; `Bound` and `Ref` are both transparent wrappers of the object's pointer.
            Some(unsafe { &*(&raw const *object).cast::<Ref<T>>() })
        } else {
            None
        }
    }

    /// The same object, without its class.
    #[inline]
    pub(crate) fn as_obj(&self) -> &Obj {
        &self.0
    }

    /// The same object, without its class.
    #[inline]
    pub(crate) fn into_obj(self) -> Obj {
        self.0
    }

    /// The object, bound to the interpreter.
    #[inline]
    pub(crate) fn bind<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.0.bind(py)
    }

    /// Whether both are the same object.
    #[inline]
    pub(crate) fn same(&self, other: &Ref<T>) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }

    /// Whether the object's class is exactly `T`'s, not a subclass.
    #[inline]
    pub(crate) fn is_exact(&self, py: Python<'_>) -> bool {
        T::cell().is_exact(self.bind(py))
    }
}

impl<T: Class> Clone for Ref<T> {
    #[inline]
    fn clone(&self) -> Ref<T> {
        Ref(self.0.clone(), PhantomData)
    }
}

impl<T: Class> Deref for Ref<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the object is an instance of `T`'s class, whose constructor always writes the data, and lives as
        // long as this reference; the data is only ever lent shared.
        unsafe { &*data_ptr::<T>(self.0.as_ptr()) }
    }
}

/// Whether the object is a coroutine of an `async def` function.
#[inline]
pub(crate) fn is_exact_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive; its type is only compared.
    unsafe { py_ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Which Python objects are a class.
pub(crate) trait IsClass: Class {
    /// Whether `object` is `Self`'s Python class itself.
    fn is_class(py: Python<'_>, object: &Bound<'_, PyAny>) -> bool {
        Self::cell().class(py).is_ok_and(|class| class.is(object))
    }
}

impl<T: Class> IsClass for T {}
