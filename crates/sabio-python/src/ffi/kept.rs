//! One ended instance of a class, kept whole for the next one that is asked for.
//!
//! For classes whose instances come and go one at a time in tight loops: it spares freeing and making them. An instance
//! is given out again only when nobody else holds it, not even weakly, so that nobody can tell it from a new one; one
//! that is dropped before it has ended is freed as ever, with its finalizer.

use std::cell::Cell;
use std::marker::PhantomData;

use pyo3::ffi as py_ffi;

use super::class::Class;
use super::object::{Obj, Ref};

/// The place for it, in a `static`.
pub(crate) struct Kept<T: Class> {
    instance: Cell<*mut py_ffi::PyObject>,
    class: PhantomData<fn() -> T>,
}

// SAFETY: touched only through methods that take or give a `Ref`, which exists on attached threads alone: under the GIL.
unsafe impl<T: Class> Sync for Kept<T> {}

impl<T: Class> Kept<T> {
    /// An empty place.
    pub(crate) const fn new() -> Kept<T> {
        Kept {
            instance: Cell::new(std::ptr::null_mut()),
            class: PhantomData,
        }
    }

    /// Keeps an instance that has ended, in place of one that somebody else has come to hold.
    #[inline]
    pub(crate) fn keep(&self, ended: &Ref<T>) {
        let before = self.instance.get();
        // SAFETY: the place owns a reference to what is in it, if anything.
        if before.is_null() || unsafe { py_ffi::Py_REFCNT(before) } != 1 {
            self.instance.set(ended.as_obj().clone().into_ptr());
            if !before.is_null() {
                // SAFETY: the place has given its reference up.
                drop(unsafe { Obj::from_owned(before) });
            }
        }
    }

    /// Takes the instance, if there is one that nobody else holds. Its data is as it ended.
    #[inline]
    pub(crate) fn take(&self, _py: pyo3::Python<'_>) -> Option<Ref<T>> {
        let object = self.instance.get();
        if object.is_null() {
            return None;
        }
        // SAFETY: the place owns a reference, which is given away; only instances of `T`'s class are put there. The
        // head of the weak references lies where the class says.
        unsafe {
            if py_ffi::Py_REFCNT(object) != 1 {
                return None;
            }
            let weaklist = (*py_ffi::Py_TYPE(object)).tp_weaklistoffset;
            if weaklist > 0 && !(*object.byte_offset(weaklist).cast::<*mut py_ffi::PyObject>()).is_null() {
                return None;
            }
            self.instance.set(std::ptr::null_mut());
            Some(Ref::from_obj(Obj::from_owned(object)))
        }
    }
}
