//! The 4-ary heap under [`Timers`](super::Timers): entries in no order but that the first is before all others.
//!
//! It knows nothing of which entries are dead; its owner skips those, and rebuilds the heap without them.

use std::collections::TryReserveError;

use super::Entry;

#[derive(Debug, Default)]
pub(super) struct Heap(Vec<Entry>);

impl Heap {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Entry> {
        self.0.first()
    }

    /// The entry at the end of the array, which can be popped without touching another.
    #[inline]
    pub(super) fn last(&self) -> Option<&Entry> {
        self.0.last()
    }

    /// Makes sure that so many more entries find room.
    pub(super) fn try_reserve(&mut self, entries: usize) -> Result<(), TryReserveError> {
        self.0.try_reserve(entries)
    }

    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push(entry);
        self.sift_up(self.0.len() - 1);
    }

    pub(super) fn pop_first(&mut self) {
        if let Some(last) = self.0.pop()
            && let Some(first) = self.0.first_mut()
        {
            *first = last;
            self.sift_down(0);
        }
    }

    #[inline]
    pub(super) fn pop_last(&mut self) {
        self.0.pop();
    }

    /// Throws away what `keep` does not want, and memory that is not needed for twice of the rest.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.0.retain(keep);
        self.0.shrink_to(self.0.len() * 2);
        if self.0.len() > 1 {
            for index in (0..=(self.0.len() - 2) / 4).rev() {
                self.sift_down(index);
            }
        }
    }

    /// Moves the entry at `index` towards the first place until its parent is not after it.
    fn sift_up(&mut self, mut index: usize) {
        let heap = &mut self.0;
        let entry = heap[index];
        while index > 0 {
            let parent = (index - 1) / 4;
            if !entry.is_before(&heap[parent]) {
                break;
            }
            heap[index] = heap[parent];
            index = parent;
        }
        heap[index] = entry;
    }

    /// Moves the entry at `index` away from the first place until no child is before it.
    fn sift_down(&mut self, mut index: usize) {
        let heap = &mut self.0;
        let entry = heap[index];
        let len = heap.len();
        loop {
            let children = 4 * index + 1..len.min(4 * index + 5);
            let mut first = index;
            let mut best = entry;
            for child in children {
                if heap[child].is_before(&best) {
                    first = child;
                    best = heap[child];
                }
            }
            if first == index {
                break;
            }
            heap[index] = best;
            index = first;
        }
        heap[index] = entry;
    }
}
