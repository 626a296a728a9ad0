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
use super::visit::Visit;

/// What a waker of this object does.
pub(crate) trait LocalWake: Class {
    /// The class's table, in a `static` that [`waker_table`] fills: its address is what tells wakers of the class.
    fn table() -> &'static RawWakerVTable;

    /// Makes the owner run again soon.
    fn wake(slf: Ref<Self>);
}

/// The functions of a class's wakers.
pub(crate) const fn waker_table<T: LocalWake>() -> RawWakerVTable {
    RawWakerVTable::new(clone::<T>, wake::<T>, wake_by_ref::<T>, drop_waker::<T>)
}

impl Visit<'_> {
    /// Shows the object of an owned waker, if it is one of `T`'s. False if it is another waker.
    pub(crate) fn waker_of<T: LocalWake>(&mut self, waker: &Waker) -> bool {
        let is_ours = std::ptr::eq(waker.vtable(), T::table());
        if is_ours {
            self.pointer(waker.data().cast_mut().cast());
        }
        is_ours
    }
}

/// Calls `look` with the object that a waker belongs to, if it is one of `T`'s.
#[inline]
pub(crate) fn waker_target<T: LocalWake, R>(waker: &Waker, look: impl FnOnce(&Ref<T>) -> R) -> Option<R> {
    if !std::ptr::eq(waker.vtable(), T::table()) {
        return None;
    }
    check_attached();
    let pointer = waker.data().cast_mut().cast();
    // SAFETY: the table says that the data is an instance of `T`'s class, which the waker keeps alive.
    Some(look(unsafe { Ref::from_ptr_ref(&pointer) }))
}

/// Calls `body` with a waker of `target`; the waker borrows the reference, its clones own theirs.
#[inline]
pub(crate) fn local_waker<T: LocalWake, R>(target: &Ref<T>, body: impl FnOnce(&Waker) -> R) -> R {
    // SAFETY: the table's functions treat the pointer as a reference to an instance of `T`'s class; this one is
    // borrowed from `target` for the time of `body` and never dropped.
    let waker = ManuallyDrop::new(unsafe {
        Waker::from_raw(RawWaker::new(
            target.as_obj().as_ptr().cast_const().cast(),
            T::table(),
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
    RawWaker::new(data, T::table())
}

unsafe fn wake<T: LocalWake>(data: *const ()) {
    check_attached();
    // SAFETY: the waker gives its reference away here.
    T::wake(unsafe { Ref::from_obj(Obj::from_owned(data.cast_mut().cast())) });
}

unsafe fn wake_by_ref<T: LocalWake>(data: *const ()) {
    check_attached();
    // SAFETY: the waker keeps the object alive; a new reference is made.
    T::wake(unsafe { Ref::from_obj(Obj::from_borrowed(data.cast_mut().cast())) });
}

unsafe fn drop_waker<T: LocalWake>(data: *const ()) {
    check_attached();
    // SAFETY: the waker gives its reference away here.
    drop(unsafe { Obj::from_owned(data.cast_mut().cast()) });
}
