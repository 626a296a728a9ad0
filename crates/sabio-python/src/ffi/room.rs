//! Memory that is only written to, so that it need not be initialised first.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Room for bytes. Nothing can be read from it, and nothing but bytes is ever written.
pub(crate) struct Room<'a> {
    start: *mut u8,
    size: usize,
    _memory: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl<'a> Room<'a> {
    /// The room of a buffer.
    #[inline]
    pub(crate) fn of(memory: &'a mut [u8]) -> Room<'a> {
        Room {
            start: memory.as_mut_ptr(),
            size: memory.len(),
            _memory: PhantomData,
        }
    }

    /// The room of memory that may be uninitialised.
    #[inline]
    pub(crate) fn of_uninit(memory: &'a mut [MaybeUninit<u8>]) -> Room<'a> {
        Room {
            start: memory.as_mut_ptr().cast(),
            size: memory.len(),
            _memory: PhantomData,
        }
    }

    /// How many bytes fit.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.size
    }

    /// The room behind the first `count` bytes; none if there are no more.
    #[inline]
    pub(crate) fn after(&mut self, count: usize) -> Room<'_> {
        let count = count.min(self.size);
        Room {
            // SAFETY: at most one past the end of the memory that is borrowed for `'a`.
            start: unsafe { self.start.add(count) },
            size: self.size - count,
            _memory: PhantomData,
        }
    }

    /// Copies as much of `data` as fits to the start, and gives how much that is.
    pub(crate) fn put(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.size);
        // SAFETY: `count` bytes can be read and written, and what is borrowed mutably overlaps with nothing.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.start, count) };
        count
    }

    /// Where it starts, for functions that write at most `len` bytes.
    #[inline]
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }
}
