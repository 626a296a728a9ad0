//! Memory for when there is none: the extension's allocator, which keeps a reserve for what must not fail.
//!
//! Under a limit (`RLIMIT_AS`, a full container) an allocation can fail at any time. Python raises MemoryError then, and
//! so does what grows by a program's wish ([`try_to_grow`]): the ready queue, timers, queues, a stream's buffer. What can
//! raise no error, a coroutine's state or the waking of a task, takes its memory from the reserve meanwhile: else the
//! process would be aborted in the middle of the program's clean-up, which is what frees memory. Once the reserve is used
//! up as well, the process is aborted.
//!
//! Invariant: a block lies in the reserve if and only if its address does; the reserve starts anew when all of its
//! blocks are free. It is part of the library's zeroed data, which takes no memory before it is written to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::collections::TryReserveError;
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

/// Bytes that are kept.
const SIZE: usize = 1 << 20;

/// Requests for more bytes than this are refused, so that one of them does not take everything.
const LARGEST: usize = SIZE / 2;

/// The system's allocator, and the reserve behind it.
struct WithReserve;

#[global_allocator]
static ALLOCATOR: WithReserve = WithReserve;

#[repr(align(64))]
struct Reserve(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: each byte belongs to the holder of the block that it is in; blocks are given out under the lock.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve(UnsafeCell::new([MaybeUninit::uninit(); SIZE]));

/// What of the reserve is given out.
struct Used {
    /// Where the free part begins, as an offset.
    next: usize,
    /// How many blocks are in use.
    blocks: usize,
}

static USED: Mutex<Used> = Mutex::new(Used { next: 0, blocks: 0 });

fn used() -> MutexGuard<'static, Used> {
    USED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> *mut u8 {
    RESERVE.0.get().cast()
}

/// Where in the reserve a block is; at least `SIZE` for one that is elsewhere.
#[inline]
fn offset(block: *mut u8) -> usize {
    (block as usize).wrapping_sub(start() as usize)
}

/// Whether a block is one of the reserve's.
#[inline]
fn is_ours(block: *mut u8) -> bool {
    offset(block) < SIZE
}

thread_local! {
    /// Whether what is asked for can be refused, and is not to come from the reserve therefore.
    static SPARED: Cell<bool> = const { Cell::new(false) };
}

/// Grows something for which there need not be memory. MemoryError.
#[cold]
pub(crate) fn try_to_grow(grow: impl FnOnce() -> Result<(), TryReserveError>) -> PyResult<()> {
    let outer = SPARED.replace(true);
    let grown = grow();
    SPARED.set(outer);
    grown.map_err(|_| PyMemoryError::new_err(()))
}

/// A block of the reserve; null when it is not for this request, and when nothing is left.
#[cold]
fn take(layout: Layout) -> *mut u8 {
    if layout.size() > LARGEST || layout.align() > 64 || SPARED.get() {
        return std::ptr::null_mut();
    }
    let mut used = used();
    let first = used.next.next_multiple_of(layout.align());
    if first + layout.size() > SIZE {
        return std::ptr::null_mut();
    }
    used.next = first + layout.size();
    used.blocks += 1;
    // SAFETY: within the reserve, as was just checked.
    unsafe { start().add(first) }
}

#[cold]
fn give_back(block: *mut u8, size: usize) {
    let mut used = used();
    used.blocks -= 1;
    if used.blocks == 0 {
        used.next = 0;
    } else if offset(block) + size == used.next {
        used.next -= size;
    }
}

/// Makes a block larger or smaller where it is, if it is the last one and there is room.
#[cold]
fn resize_last(block: *mut u8, old: usize, new: usize) -> bool {
    let mut used = used();
    let first = offset(block);
    let possible = first + old == used.next && new <= SIZE - first;
    if possible {
        used.next = first + new;
    }
    possible
}

// SAFETY: blocks are the system's, or aligned pieces of the reserve that overlap no other; nothing unwinds.
unsafe impl GlobalAlloc for WithReserve {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system allocator's.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { take(layout) } else { block }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system allocator's.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = take(layout);
        if !block.is_null() {
            // SAFETY: the block is that large, and nobody else has it.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_ours(block) {
            give_back(block, layout.size());
        } else {
            // SAFETY: it did not come from the reserve, so it came from the system with this layout.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_ours(block) {
            // SAFETY: it came from the system with this layout; the caller vouches for the size.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        } else if resize_last(block, layout.size(), size) {
            return block;
        }
        // SAFETY: the caller vouches for the size; the alignment is that of a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: `wanted` is not empty, by the caller's contract.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least that large and are different ones; the old one is not used again.
            unsafe {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}
