//! What a class shows to the garbage collector.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use pyo3::ffi as py_ffi;

use super::cell::{Counted, LocalQueue, Slot};
use super::object::Obj;

/// The garbage collector's visitor.
pub(crate) struct Visit<'a> {
    pub(super) visit: py_ffi::visitproc,
    arg: *mut c_void,
    pub(super) result: c_int,
    _lifetime: PhantomData<&'a ()>,
}

impl Visit<'_> {
    /// A visit with the collector's visitor and its argument.
    pub(super) fn new(visit: py_ffi::visitproc, arg: *mut c_void) -> Self {
        Visit {
            visit,
            arg,
            result: 0,
            _lifetime: PhantomData,
        }
    }

    /// Shows the object at `pointer` (or nothing, if null).
    #[inline]
    pub(super) fn pointer(&mut self, pointer: *mut py_ffi::PyObject) {
        if self.result == 0 && !pointer.is_null() {
            // SAFETY: the collector gave us the visitor for the time of this traversal; the object is alive, since
            // the data being traversed owns a reference.
            self.result = unsafe { (self.visit)(pointer, self.arg) };
        }
    }

    /// Shows an owned object.
    #[inline]
    pub(crate) fn obj(&mut self, object: &Obj) {
        self.pointer(object.as_ptr());
    }

    /// Shows an owned object, if there is one.
    #[inline]
    pub(crate) fn option(&mut self, object: Option<&Obj>) {
        if let Some(object) = object {
            self.obj(object);
        }
    }

    /// Shows the object in a slot.
    #[inline]
    pub(crate) fn slot<V: Counted>(&mut self, cell: &Slot<V>) {
        self.pointer(cell.as_ptr());
    }

    /// Shows what the items of a queue own.
    pub(crate) fn queue<T>(&mut self, queue: &LocalQueue<T>, mut show: impl FnMut(&mut Self, &T)) {
        queue.for_each(|item| show(self, item));
    }
}
