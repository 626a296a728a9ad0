//! Ended instances of a class, kept whole for the next ones that are asked for.
//!
//! For classes whose instances come and go in tight loops: it spares freeing and making them. An instance is given out
//! again only when nobody else holds it, not even weakly, so that nobody can tell it from a new one; one that is dropped
//! before it has ended is freed as ever, with its finalizer. With `--cfg sanitized` none is kept, as in
//! [`Spare`](super::spare::Spare), nor while `tracemalloc` traces, which would take one for made where it was first.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi as py_ffi;

use super::class::Class;
use super::object::{Obj, Ref};

/// The place for at most `N` of them, in a `static`: the last one that ended comes first.
pub(crate) struct Kept<T: Class, const N: usize> {
    instances: UnsafeCell<[*mut py_ffi::PyObject; N]>,
    count: Cell<usize>,
    class: PhantomData<fn() -> T>,
}

// SAFETY: touched only through methods that take or give a `Ref`, which exists on attached threads alone: under the GIL.
unsafe impl<T: Class, const N: usize> Sync for Kept<T, N> {}

static IS_TRACED: AtomicBool = AtomicBool::new(false);

/// Whether `tracemalloc` traces from now on.
pub(crate) fn set_traced(is_traced: bool) {
    IS_TRACED.store(is_traced, Ordering::Relaxed);
}

impl<T: Class, const N: usize> Kept<T, N> {
    /// An empty place.
    pub(crate) const fn new() -> Kept<T, N> {
        Kept {
            instances: UnsafeCell::new([std::ptr::null_mut(); N]),
            count: Cell::new(0),
            class: PhantomData,
        }
    }

    /// Keeps an instance that has ended, if there is room and nobody watches it.
    #[inline]
    pub(crate) fn keep(&self, ended: &Ref<T>) {
        let count = self.count.get();
        let may_keep = count < N && !cfg!(sanitized) && !IS_TRACED.load(Ordering::Relaxed);
        if may_keep && !is_watched(ended.as_obj()) {
            let kept = ended.as_obj().clone().into_ptr();
            // SAFETY: under the GIL nobody else touches the array; it owns a reference to each of the first `count`. What
            // is kept refers to nothing, so that the collector need not know it: what is frozen meanwhile
            // (`gc.freeze()`) could never be collected in its next life.
            unsafe {
                if T::COLLECTED {
                    py_ffi::PyObject_GC_UnTrack(kept.cast());
                }
                (&mut *self.instances.get())[count] = kept;
            }
            self.count.set(count + 1);
        }
    }

    /// Takes an instance out, if there is one that nobody else holds; others are let go of. Its data is as it ended.
    #[inline]
    pub(crate) fn take(&self, _py: pyo3::Python<'_>) -> Option<Ref<T>> {
        while let Some(count) = self.count.get().checked_sub(1) {
            self.count.set(count);
            // SAFETY: under the GIL nobody else touches the array. It owned this reference, which is given away; only
            // instances of `T`'s class are put there, and the collector forgot them then.
            let kept = unsafe {
                let kept = (&*self.instances.get())[count];
                if T::COLLECTED {
                    py_ffi::PyObject_GC_Track(kept.cast());
                }
                Ref::<T>::from_obj(Obj::from_owned(kept))
            };
            if kept.as_obj().refcount() == 1 && !is_watched(kept.as_obj()) {
                return Some(kept);
            }
        }
        None
    }
}

/// Whether there are weak references to the object.
#[inline]
fn is_watched(object: &Obj) -> bool {
    // SAFETY: the object is alive; the head of its weak references lies where its class says.
    unsafe {
        let object = object.as_ptr();
        let weaklist = (*py_ffi::Py_TYPE(object)).tp_weaklistoffset;
        weaklist > 0 && !(*object.byte_offset(weaklist).cast::<*mut py_ffi::PyObject>()).is_null()
    }
}
