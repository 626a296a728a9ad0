//! Cells for state that Python code may reach again while we are in a call: no borrow is ever handed out.

use std::cell::UnsafeCell;
use std::collections::VecDeque;

use pyo3::PyResult;

use super::class::Class;
use super::object::{Obj, Ref};
use super::reserve::try_to_grow;

/// What a [`Slot`] can hold: values whose clone only counts a reference.
pub(crate) trait Counted: Clone {
    /// The address of the object that the value refers to.
    fn address(&self) -> *mut pyo3::ffi::PyObject;
}

impl Counted for Obj {
    #[inline]
    fn address(&self) -> *mut pyo3::ffi::PyObject {
        self.as_ptr()
    }
}

impl<T: Class> Counted for Ref<T> {
    #[inline]
    fn address(&self) -> *mut pyo3::ffi::PyObject {
        self.as_obj().as_ptr()
    }
}

/// A place for an optional reference. Each operation is complete in itself: what is replaced is dropped (which may
/// run Python code) only after the new value is in place.
pub(crate) struct Slot<V: Counted>(UnsafeCell<Option<V>>);

/// A [`Slot`] for any object.
pub(crate) type ObjCell = Slot<Obj>;

impl<V: Counted> Slot<V> {
    /// A slot that holds `value`.
    pub(crate) const fn new(value: Option<V>) -> Slot<V> {
        Slot(UnsafeCell::new(value))
    }

    /// A new reference to what is in the slot.
    #[inline]
    pub(crate) fn get(&self) -> Option<V> {
        // SAFETY: not `Sync`, and cloning a `Counted` only counts: nothing can touch the slot while it is read.
        unsafe { (*self.0.get()).clone() }
    }

    /// Puts `value` in and gives back what was there.
    #[inline]
    pub(crate) fn replace(&self, value: Option<V>) -> Option<V> {
        // SAFETY: not `Sync`; a move runs no code.
        unsafe { std::mem::replace(&mut *self.0.get(), value) }
    }

    /// Puts `value` in and drops what was there, in this order.
    #[inline]
    pub(crate) fn set(&self, value: Option<V>) {
        drop(self.replace(value));
    }

    /// Takes the value out.
    #[inline]
    pub(crate) fn take(&self) -> Option<V> {
        self.replace(None)
    }

    /// Whether the slot is empty.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: not `Sync`; a read of the discriminant runs no code.
        unsafe { (*self.0.get()).is_none() }
    }

    /// The address of the object, or null: for comparing identities and for the garbage collector.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut pyo3::ffi::PyObject {
        // SAFETY: not `Sync`; reading the address runs no code.
        unsafe {
            (*self.0.get())
                .as_ref()
                .map_or(std::ptr::null_mut(), Counted::address)
        }
    }
}

impl<V: Counted> Default for Slot<V> {
    fn default() -> Slot<V> {
        Slot::new(None)
    }
}

/// A first-in first-out queue of which every operation is complete in itself, so that no borrow can be alive while
/// an item runs.
pub(crate) struct LocalQueue<T>(UnsafeCell<VecDeque<T>>);

impl<T> LocalQueue<T> {
    /// An empty queue with room for `capacity` items.
    pub(crate) fn with_capacity(capacity: usize) -> LocalQueue<T> {
        LocalQueue(UnsafeCell::new(VecDeque::with_capacity(capacity)))
    }

    /// Appends an item.
    #[inline]
    pub(crate) fn push(&self, item: T) {
        // SAFETY: not `Sync`; moving an item in runs none of its code.
        unsafe { (*self.0.get()).push_back(item) }
    }

    /// Whether there is room for one more item, which is then sure to find it. MemoryError.
    #[inline]
    pub(crate) fn make_room(&self) -> PyResult<()> {
        // SAFETY: not `Sync`; growing moves items, which runs none of their code.
        let queue = unsafe { &mut *self.0.get() };
        if queue.len() < queue.capacity() {
            return Ok(());
        }
        try_to_grow(|| queue.try_reserve(1))
    }

    /// Appends a reference to the queue that the object itself leads to, without counting it for that. `wrap` does no
    /// more than its name says.
    #[inline(always)]
    pub(crate) fn push_to_own<C: Class>(
        object: Ref<C>,
        queue: impl FnOnce(&Ref<C>) -> Option<&LocalQueue<T>>,
        wrap: impl FnOnce(Ref<C>) -> T,
    ) {
        let Some(queue) = queue(&object).map(std::ptr::from_ref) else {
            return;
        };
        let item = wrap(object);
        // SAFETY: the object keeps the queue alive, and the item the object; moving it in runs none of its code.
        unsafe { (*queue).push(item) }
    }

    /// Takes the oldest item.
    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        // SAFETY: not `Sync`; moving an item out runs none of its code.
        unsafe { (*self.0.get()).pop_front() }
    }

    /// Takes the newest item.
    #[inline]
    pub(crate) fn pop_newest(&self) -> Option<T> {
        // SAFETY: not `Sync`; moving an item out runs none of its code.
        unsafe { (*self.0.get()).pop_back() }
    }

    /// How many items wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: not `Sync`; reading the length runs no code.
        unsafe { (*self.0.get()).len() }
    }

    /// Whether no item waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all items out at once.
    pub(crate) fn take_all(&self) -> VecDeque<T> {
        // SAFETY: not `Sync`; a move of the whole queue runs no code of the items.
        unsafe { std::mem::take(&mut *self.0.get()) }
    }

    /// New references to all items, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<T>
    where
        T: Counted,
    {
        // SAFETY: not `Sync`, and cloning a `Counted` only counts: nothing can touch the queue while it is read.
        unsafe { (*self.0.get()).iter().cloned().collect() }
    }

    /// Looks at every item. Only for the garbage collector's traversal, whose visitors run no Python code.
    pub(super) fn for_each(&self, mut look: impl FnMut(&T)) {
        // SAFETY: not `Sync`; the caller's contract (see above) keeps the queue unchanged meanwhile.
        unsafe { (*self.0.get()).iter().for_each(&mut look) }
    }
}
