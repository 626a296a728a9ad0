//! `std::task::Waker` whose data pointer is a Python object: cloning counts a reference, nothing is allocated.
//!
//! Such a waker belongs to the interpreter's side. Rust's type says that it may go to another thread; it may not:
//! futures that complete elsewhere are polled through `sabio_reactor`'s remote wakers, which keep the local one home.
//! A debug build checks every operation.

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

use pyo3::ffi as py_ffi;

use super::class::Class;
use super::object::{Obj, Ref};

/// What a waker of this object does.
pub(crate) trait LocalWake: Class {
    /// Makes the owner run again soon. Must not call into Python.
    fn wake(slf: &Ref<Self>);
}

struct Table<T: LocalWake>(std::marker::PhantomData<T>);

impl<T: LocalWake> Table<T> {
    const TABLE: &'static RawWakerVTable =
        &RawWakerVTable::new(clone::<T>, wake::<T>, wake_by_ref::<T>, drop_waker::<T>);
}

/// Calls `body` with a waker of `target`; the waker borrows the reference, its clones own theirs.
#[inline]
pub(crate) fn local_waker<T: LocalWake, R>(target: &Ref<T>, body: impl FnOnce(&Waker) -> R) -> R {
    // SAFETY: the table's functions treat the pointer as a reference to an instance of `T`'s class; this one is
    // borrowed from `target` for the time of `body` and never dropped.
    let waker = ManuallyDrop::new(unsafe {
        Waker::from_raw(RawWaker::new(
            target.as_obj().as_ptr().cast_const().cast(),
            Table::<T>::TABLE,
        ))
    });
    body(&waker)
}

#[inline]
fn check_attached() {
    if cfg!(debug_assertions) {
        // SAFETY: may be called from any thread at any time.
        let attached = unsafe { py_ffi::PyGILState_Check() } == 1;
        assert!(attached, "a local waker left its thread");
    }
}

unsafe fn clone<T: LocalWake>(data: *const ()) -> RawWaker {
    check_attached();
    // SAFETY: the waker being cloned keeps the object alive.
    unsafe { py_ffi::Py_INCREF(data.cast_mut().cast()) };
    RawWaker::new(data, Table::<T>::TABLE)
}

unsafe fn wake<T: LocalWake>(data: *const ()) {
    check_attached();
    // SAFETY: the waker gives its reference away here.
    T::wake(&unsafe { Ref::from_obj(Obj::from_owned(data.cast_mut().cast())) });
}

unsafe fn wake_by_ref<T: LocalWake>(data: *const ()) {
    check_attached();
    let pointer = data.cast_mut().cast();
    // SAFETY: the waker keeps the object alive for the time of the call.
    T::wake(unsafe { Ref::from_ptr_ref(&pointer) });
}

unsafe fn drop_waker<T: LocalWake>(data: *const ()) {
    check_attached();
    // SAFETY: the waker gives its reference away here.
    drop(unsafe { Obj::from_owned(data.cast_mut().cast()) });
}
