//! Memory of freed instances, kept for new ones of the same class.
//!
//! With `--cfg sanitized` none is kept: a sanitizer knows only of memory that was really freed.

use std::cell::{Cell, UnsafeCell};

use pyo3::ffi as py_ffi;

/// Memory of freed instances of a class, to be used again: a stack of untracked blocks whose contents are dead.
pub(super) struct Spare {
    blocks: UnsafeCell<[*mut py_ffi::PyObject; SPARE_BLOCKS]>,
    count: Cell<usize>,
}

/// How many freed instances a class keeps at most.
const SPARE_BLOCKS: usize = 64;

// SAFETY: touched only by functions that run under the GIL (allocation and deallocation of Python objects).
unsafe impl Sync for Spare {}

impl Spare {
    pub(super) const fn new() -> Spare {
        Spare {
            blocks: UnsafeCell::new([std::ptr::null_mut(); SPARE_BLOCKS]),
            count: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<*mut py_ffi::PyObject> {
        let count = self.count.get();
        if count == 0 {
            return None;
        }
        self.count.set(count - 1);
        // SAFETY: under the GIL nobody else touches the array, and `count` blocks are filled.
        Some(unsafe { (&*self.blocks.get())[count - 1] })
    }

    #[inline]
    pub(super) fn push(&self, block: *mut py_ffi::PyObject) -> bool {
        let count = self.count.get();
        if count == SPARE_BLOCKS || cfg!(sanitized) {
            return false;
        }
        // SAFETY: under the GIL nobody else touches the array.
        unsafe { (&mut *self.blocks.get())[count] = block };
        self.count.set(count + 1);
        true
    }
}
