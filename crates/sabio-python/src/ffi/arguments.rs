//! The arguments of a callback, kept where they are while the callback runs.
//!
//! Invariant: an argument that was filled in is owned until `clear`, and `clear` waits for the end of a call that is
//! in progress. So a call needs no references of its own, however the callback treats its handle.

use std::cell::{Cell, UnsafeCell};

use pyo3::ffi as py_ffi;
use pyo3::prelude::*;

use super::call::{STACK_ARGS, vectorcall};
use super::error::Outcome;
use super::object::Obj;
use super::visit::Visit;

/// So many arguments are kept without memory of their own.
const INLINE: usize = 2;

/// Zero or more owned arguments.
pub(crate) struct Arguments {
    count: Cell<u32>,
    calls: Cell<u16>,
    clear_afterwards: Cell<bool>,
    /// Up to [`INLINE`] arguments, or in the first word the address of a boxed slice of `count` arguments.
    words: UnsafeCell<[*mut py_ffi::PyObject; INLINE]>,
}

impl Arguments {
    /// No arguments.
    #[inline(always)]
    pub(crate) const fn empty() -> Arguments {
        Arguments {
            count: Cell::new(0),
            calls: Cell::new(0),
            clear_afterwards: Cell::new(false),
            words: UnsafeCell::new([std::ptr::null_mut(); INLINE]),
        }
    }

    /// Takes references to `args`; to be called on empty arguments, once.
    #[inline(always)]
    pub(crate) fn fill<'a, 'py: 'a>(&self, args: impl ExactSizeIterator<Item = &'a Bound<'py, PyAny>>) {
        let count = args.len();
        if count == 0 || self.count.get() != 0 {
            return;
        }
        // SAFETY: not `Sync`, and nothing runs while the words are written. Each gets an owned reference.
        let words = unsafe { &mut *self.words.get() };
        if count <= INLINE {
            for (word, arg) in words.iter_mut().zip(args) {
                *word = Obj::from(arg).into_ptr();
            }
        } else {
            let many: Box<[*mut py_ffi::PyObject]> = args.map(|arg| Obj::from(arg).into_ptr()).collect();
            words[0] = Box::into_raw(many).cast();
        }
        self.count.set(count as u32);
    }

    /// The owned references, as they lie.
    #[inline]
    fn slice(&self) -> &[*mut py_ffi::PyObject] {
        let count = self.count.get() as usize;
        // SAFETY: not `Sync`; the words are only written by `fill` and `take`, which no caller runs meanwhile. With
        // more than `INLINE` arguments the first word is the address of a boxed slice of that length.
        unsafe {
            let words = &*self.words.get();
            if count <= INLINE {
                &words[..count]
            } else {
                std::slice::from_raw_parts(words[0].cast(), count)
            }
        }
    }

    /// `callback(*self)`.
    #[inline]
    pub(crate) fn call(&self, py: Python<'_>, callback: &Obj) -> Outcome<Obj> {
        self.calls.set(self.calls.get() + 1);
        let args = self.slice();
        let result = if args.len() <= STACK_ARGS {
            let mut vector = [std::ptr::null_mut(); STACK_ARGS + 1];
            vector[1..=args.len()].copy_from_slice(args);
            // SAFETY: the vector holds live arguments (owned until this call ends) behind one free word.
            unsafe { vectorcall(py, callback, &vector[..=args.len()]) }
        } else {
            let vector: Vec<_> = std::iter::once(std::ptr::null_mut())
                .chain(args.iter().copied())
                .collect();
            // SAFETY: as above.
            unsafe { vectorcall(py, callback, &vector) }
        };
        let calls = self.calls.get() - 1;
        self.calls.set(calls);
        if calls == 0 && self.clear_afterwards.replace(false) {
            self.clear();
        }
        result
    }

    /// Drops the arguments: at once, or when the call that is in progress ends.
    #[inline]
    pub(crate) fn clear(&self) {
        if self.calls.get() > 0 {
            self.clear_afterwards.set(true);
            return;
        }
        let count = self.count.replace(0) as usize;
        if count == 0 {
            return;
        }
        // SAFETY: not `Sync`; the words are emptied before any reference is dropped, and each was owned.
        unsafe {
            let words = self.words.get().replace([std::ptr::null_mut(); INLINE]);
            if count <= INLINE {
                for word in &words[..count] {
                    drop(Obj::from_owned(*word));
                }
            } else {
                let many = Box::from_raw(std::ptr::slice_from_raw_parts_mut(
                    words[0].cast::<*mut py_ffi::PyObject>(),
                    count,
                ));
                for word in &many {
                    drop(Obj::from_owned(*word));
                }
            }
        }
    }

    /// New references to all arguments.
    pub(crate) fn to_vec(&self) -> Vec<Obj> {
        // SAFETY: the words are live objects.
        self.slice()
            .iter()
            .map(|word| unsafe { Obj::from_borrowed(*word) })
            .collect()
    }

    /// Shows the arguments to the garbage collector.
    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        self.slice().iter().for_each(|word| visit.pointer(*word));
    }
}

impl Drop for Arguments {
    #[inline]
    fn drop(&mut self) {
        self.calls.set(0);
        self.clear();
    }
}
