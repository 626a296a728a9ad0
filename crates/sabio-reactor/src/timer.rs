//! Timers: what `call_later`, `call_at` and `sleep` wait in.
//!
//! A 4-ary heap of (deadline, sequence number, slot), so that equal deadlines fire in the order in which
//! they were set, and a table of slots that holds the values. A timer is named by its slot and its
//! sequence number, and a heap entry is live while its slot holds the same number: cancelling
//! empties the slot and leaves the entry to be skipped later, which makes it O(1).
//!
//! Two things keep dead entries from piling up. A cancelled entry at the end of the heap's array is
//! popped at once, with the dead ones before it: a timeout that is set and cancelled again leaves nothing
//! behind. And when more than half of the heap, and more than [`COMPACT_ABOVE`] entries, are dead,
//! the heap is rebuilt without them, which is O(1) for each of the cancellations that led to it.
//!
//! No value is ever dropped in here: it is given back to the caller, who may hold Python objects in it.

use crate::clock::Nanos;

/// Up to this many dead entries are left alone.
const COMPACT_ABOVE: usize = 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// Names one timer, for good: no later timer ever has the same key.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimerKey {
    sequence: u64,
    slot: u32,
}

/// A set of values, each due at its deadline.
#[derive(Debug)]
pub struct Timers<T> {
    heap: Vec<Entry>,
    slots: Vec<Slot<T>>,
    /// The first free slot, or `NONE`.
    free: u32,
    /// How many slots hold a value.
    live: usize,
    next_sequence: u64,
}

#[derive(Copy, Clone, Debug)]
struct Entry {
    deadline: Nanos,
    sequence: u64,
    slot: u32,
}

impl Entry {
    /// One number, because comparing it needs no branch.
    #[inline]
    fn rank(&self) -> u128 {
        u128::from(self.deadline.0) << 64 | u128::from(self.sequence)
    }

    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }
}

#[derive(Debug)]
enum Slot<T> {
    Live { sequence: u64, value: T },
    Free { next: u32 },
}

impl<T> Timers<T> {
    /// No timers, and no memory for them.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
            free: NONE,
            live: 0,
            next_sequence: 0,
        }
    }

    /// Sets a timer. O(log n); O(1) when it is the last to be due.
    pub fn insert(&mut self, deadline: Nanos, value: T) -> TimerKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.occupy(Slot::Live { sequence, value });
        self.live += 1;
        self.heap.push(Entry {
            deadline,
            sequence,
            slot,
        });
        self.sift_up(self.heap.len() - 1);
        TimerKey { sequence, slot }
    }

    /// Takes a timer out before it is due; `None` if it was taken out already. O(1) on average.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let value = self.vacate(key.slot, key.sequence)?;
        while let Some(last) = self.heap.last() {
            if self.is_live(last) {
                break;
            }
            self.heap.pop();
        }
        let dead = self.heap.len() - self.live;
        if dead > COMPACT_ABOVE && dead > self.heap.len() / 2 {
            self.compact();
        }
        Some(value)
    }

    /// The value of a timer that has neither fired nor been cancelled.
    #[must_use]
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize) {
            Some(Slot::Live { sequence, value }) if *sequence == key.sequence => Some(value),
            _ => None,
        }
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_deadline(&mut self) -> Option<Nanos> {
        self.first_live().map(|entry| entry.deadline)
    }

    /// Takes out the first timer if it is due at `now`, with its deadline. Timers come out by deadline,
    /// those with the same deadline in the order in which they were set.
    pub fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, T)> {
        let entry = self.first_live().filter(|entry| entry.deadline <= now)?;
        self.pop_first();
        self.vacate(entry.slot, entry.sequence)
            .map(|value| (entry.deadline, value))
    }

    /// How many timers are set.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no timer is set.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// How many entries the heap and the table of slots have, dead ones included: at most twice the live
    /// timers and 64 more, and at most as many slots as timers were ever live at once.
    #[must_use]
    pub fn footprint(&self) -> (usize, usize) {
        (self.heap.len(), self.slots.len())
    }

    /// Every value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Live { value, .. } => Some(value),
            Slot::Free { .. } => None,
        })
    }

    /// Takes out all timers, in the order in which they would have fired, and frees the memory.
    #[must_use]
    pub fn drain(&mut self) -> Vec<(Nanos, T)> {
        let mut all = Vec::with_capacity(self.live);
        while let Some(due) = self.pop_due(Nanos::MAX) {
            all.push(due);
        }
        self.heap = Vec::new();
        self.slots = Vec::new();
        self.free = NONE;
        all
    }

    /// Puts `content` into a free slot, or into a new one.
    ///
    /// The number of a slot fits in 32 bits: four thousand million live timers need 200 GB before that.
    fn occupy(&mut self, content: Slot<T>) -> u32 {
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let index = self.free;
            if let Slot::Free { next } = *slot {
                self.free = next;
            }
            *slot = content;
            return index;
        }
        self.slots.push(content);
        (self.slots.len() - 1) as u32
    }

    fn vacate(&mut self, index: u32, expected: u64) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        if !matches!(slot, Slot::Live { sequence, .. } if *sequence == expected) {
            return None;
        }
        let content = std::mem::replace(slot, Slot::Free { next: self.free });
        self.free = index;
        self.live -= 1;
        match content {
            Slot::Live { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }

    #[inline]
    fn is_live(&self, entry: &Entry) -> bool {
        matches!(
            self.slots.get(entry.slot as usize),
            Some(Slot::Live { sequence, .. }) if *sequence == entry.sequence
        )
    }

    /// The first live entry, after the dead ones before it are thrown away.
    fn first_live(&mut self) -> Option<Entry> {
        while let Some(first) = self.heap.first().copied() {
            if self.is_live(&first) {
                return Some(first);
            }
            self.pop_first();
        }
        None
    }

    fn pop_first(&mut self) {
        if let Some(last) = self.heap.pop()
            && let Some(first) = self.heap.first_mut()
        {
            *first = last;
            self.sift_down(0);
        }
    }

    fn compact(&mut self) {
        let mut heap = std::mem::take(&mut self.heap);
        heap.retain(|entry| self.is_live(entry));
        // Gives memory back after a storm, and keeps some room for the next one.
        heap.shrink_to(heap.len() * 2);
        self.heap = heap;
        if self.heap.len() > 1 {
            for index in (0..=(self.heap.len() - 2) / 4).rev() {
                self.sift_down(index);
            }
        }
    }

    /// Moves the entry at `index` towards the first place until its parent is not after it.
    fn sift_up(&mut self, mut index: usize) {
        let entry = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / 4;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.heap[index] = self.heap[parent];
            index = parent;
        }
        self.heap[index] = entry;
    }

    /// Moves the entry at `index` away from the first place until no child is before it.
    fn sift_down(&mut self, mut index: usize) {
        let entry = self.heap[index];
        let len = self.heap.len();
        loop {
            let children = 4 * index + 1..len.min(4 * index + 5);
            let mut first = index;
            let mut best = entry;
            for child in children {
                if self.heap[child].is_before(&best) {
                    first = child;
                    best = self.heap[child];
                }
            }
            if first == index {
                break;
            }
            self.heap[index] = best;
            index = first;
        }
        self.heap[index] = entry;
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}
