//! Timers: what `call_later`, `call_at` and `sleep` wait in.
//!
//! Entries of (deadline, sequence number, slot), so that equal deadlines fire in the order in which
//! they were set, and a table of slots that holds the values. A timer is named by its slot and its
//! sequence number, and an entry is live while its slot holds the same number: cancelling
//! empties the slot and leaves the entry to be skipped later, which makes it O(1).
//!
//! Most timers are set in the order in which they are due: at once, or after the same delay as the last one. So
//! there are two places for entries. The *run* is a queue in order of deadlines, and an entry that is not before its
//! last one is appended to it; all others go to a 4-ary heap. The first timer is the first of the two. A few
//! late timers at the end of the run, which would keep all earlier ones out of it, are moved to the heap when an
//! earlier one comes; many are moved once so many earlier ones have gone to the heap because of them. So an entry is
//! moved at most once, and a timer that is set costs O(log n) on average whatever the order.
//!
//! Two things keep dead entries from piling up. Dead entries at the end of the run and of the heap's array
//! are popped at once: a timeout that is set and cancelled again leaves nothing
//! behind. And when more than half of the entries, and more than [`COMPACT_ABOVE`] of them, are dead,
//! both are rebuilt without them, which is O(1) for each of the cancellations that made them.
//!
//! No value is ever dropped in here: it is given back to the caller, who may hold Python objects in it.

mod heap;

use std::collections::{TryReserveError, VecDeque};
use std::num::NonZeroU64;

use self::heap::Heap;
use crate::clock::Nanos;

/// Up to this many dead entries are left alone.
const COMPACT_ABOVE: usize = 64;

/// So many entries at the end of the run are moved to the heap for one that comes before them, without further ado.
const MOVED_AT_ONCE: usize = 8;

/// No slot.
const NONE: u32 = u32::MAX;

/// Names one timer, for good: no later timer ever has the same key.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct TimerKey {
    // Not zero, so that an optional key needs no more memory.
    sequence: NonZeroU64,
    slot: u32,
}

/// A set of values, each due at its deadline.
#[derive(Debug)]
pub struct Timers<T> {
    /// In order.
    run: VecDeque<Entry>,
    heap: Heap,
    /// How many entries have gone to the heap since entries were moved there, because the run ended too late.
    misses: usize,
    slots: Vec<Slot<T>>,
    /// The first free slot, or `NONE`.
    free: u32,
    /// How many slots hold a value.
    live: usize,
    next_sequence: NonZeroU64,
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

/// Where an entry is.
#[derive(Copy, Clone, Debug)]
enum Place {
    Run,
    Heap,
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
            run: VecDeque::new(),
            heap: Heap::new(),
            misses: 0,
            slots: Vec::new(),
            free: NONE,
            live: 0,
            next_sequence: NonZeroU64::MIN,
        }
    }

    /// Whether the next timer is set without more memory.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        (self.free != NONE || self.slots.len() < self.slots.capacity())
            && self.run.len() < self.run.capacity()
            && self.heap.len() + MOVED_AT_ONCE + self.misses < self.heap.capacity()
    }

    /// Gets the memory for it.
    ///
    /// # Errors
    /// When there is none; nothing has changed then.
    pub fn make_room(&mut self) -> Result<(), TryReserveError> {
        self.slots.try_reserve(1)?;
        self.run.try_reserve(1)?;
        // The late end of the run may move to the heap.
        self.heap.try_reserve(MOVED_AT_ONCE + self.misses + 1)
    }

    /// Sets a timer. O(1) when none that is set is due later, O(log n) on average otherwise.
    // Inlined, so that the value goes from registers into its slot.
    #[inline(always)]
    pub fn insert(&mut self, deadline: Nanos, value: T) -> TimerKey {
        let key = self.next_sequence;
        self.next_sequence = key.saturating_add(1);
        let sequence = key.get();
        let slot = self.occupy(sequence, value);
        self.live += 1;
        // Not one entry for both ways: it would be written to memory and read back in other pieces, which stalls.
        if self.run.back().is_none_or(|last| last.deadline <= deadline) {
            self.run.push_back(Entry {
                deadline,
                sequence,
                slot,
            });
        } else {
            self.insert_before_last(deadline, sequence, slot);
        }
        TimerKey { sequence: key, slot }
    }

    /// Takes a timer out before it is due; `None` if it was taken out already. O(1) on average.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let value = self.vacate(key.slot, key.sequence.get())?;
        while self.run.back().is_some_and(|last| !self.is_live(last)) {
            self.run.pop_back();
        }
        while self.heap.last().is_some_and(|last| !self.is_live(last)) {
            self.heap.pop_last();
        }
        self.compact_if_mostly_dead();
        Some(value)
    }

    /// The value of a timer that has neither fired nor been cancelled.
    #[must_use]
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize) {
            Some(Slot::Live { sequence, value }) if *sequence == key.sequence.get() => Some(value),
            _ => None,
        }
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_deadline(&mut self) -> Option<Nanos> {
        self.first_live().map(|(entry, _)| entry.deadline)
    }

    /// Takes out the first timer if it is due at `now`, with its deadline. Timers come out by deadline,
    /// those with the same deadline in the order in which they were set.
    pub fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, T)> {
        let (entry, place) = self.first_live().filter(|(entry, _)| entry.deadline <= now)?;
        self.pop_first(place);
        let value = self.vacate(entry.slot, entry.sequence)?;
        self.compact_if_mostly_dead();
        Some((entry.deadline, value))
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

    /// How many entries there are, and how many slots, dead ones included: at most twice the live
    /// timers and 64 more, and at most as many slots as timers were ever live at once.
    #[must_use]
    pub fn footprint(&self) -> (usize, usize) {
        (self.run.len() + self.heap.len(), self.slots.len())
    }

    /// Every value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Live { value, .. } => Some(value),
            Slot::Free { .. } => None,
        })
    }

    /// Takes out all timers at once, with the memory they are in. Keys stay unique: later timers get other ones.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self {
            next_sequence: self.next_sequence,
            ..Self::new()
        };
        std::mem::replace(self, empty)
    }

    /// Puts a value into a free slot, or into a new one.
    ///
    /// The number of a slot fits in 32 bits: four thousand million live timers need 200 GB before that.
    #[inline(always)]
    fn occupy(&mut self, sequence: u64, value: T) -> u32 {
        let index = self.free;
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                if let Slot::Free { next } = *slot {
                    self.free = next;
                }
                *slot = Slot::Live { sequence, value };
                index
            }
            None => {
                self.slots.push(Slot::Live { sequence, value });
                (self.slots.len() - 1) as u32
            }
        }
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

    /// Puts an entry where it belongs that is due before the last one of the run.
    #[inline(never)]
    fn insert_before_last(&mut self, deadline: Nanos, sequence: u64, slot: u32) {
        let entry = Entry {
            deadline,
            sequence,
            slot,
        };
        let kept = self.run.partition_point(|other| other.deadline <= entry.deadline);
        if self.run.len() - kept > MOVED_AT_ONCE + self.misses {
            self.misses += 1;
            self.heap.push(entry);
            return;
        }
        self.misses = 0;
        while self.run.len() > kept
            && let Some(late) = self.run.pop_back()
        {
            if self.is_live(&late) {
                self.heap.push(late);
            }
        }
        self.run.push_back(entry);
    }

    /// The first live entry and where it is, after the dead ones before it are thrown away.
    #[inline]
    fn first_live(&mut self) -> Option<(Entry, Place)> {
        loop {
            let (first, place) = match (self.run.front(), self.heap.first()) {
                (Some(first), Some(other)) if other.is_before(first) => (*other, Place::Heap),
                (Some(first), _) => (*first, Place::Run),
                (None, Some(first)) => (*first, Place::Heap),
                (None, None) => return None,
            };
            if self.is_live(&first) {
                return Some((first, place));
            }
            self.pop_first(place);
        }
    }

    #[inline]
    fn pop_first(&mut self, place: Place) {
        match place {
            Place::Run => drop(self.run.pop_front()),
            Place::Heap => self.heap.pop_first(),
        }
    }

    #[inline]
    fn compact_if_mostly_dead(&mut self) {
        let entries = self.run.len() + self.heap.len();
        let dead = entries - self.live;
        if dead > COMPACT_ABOVE && dead > entries / 2 {
            self.compact();
        }
    }

    /// Throws the dead entries away. Gives memory back after a storm, and keeps some room for the next one.
    #[cold]
    fn compact(&mut self) {
        let (mut run, mut heap) = (std::mem::take(&mut self.run), std::mem::take(&mut self.heap));
        run.retain(|entry| self.is_live(entry));
        run.shrink_to(run.len() * 2);
        heap.retain(|entry| self.is_live(entry));
        (self.run, self.heap) = (run, heap);
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many of `count` timers, each due after the one before, stay in the run after `late` later ones.
    fn kept_in_run(late: usize, count: usize) -> usize {
        let mut timers = Timers::new();
        for _ in 0..late {
            timers.insert(Nanos(1 << 40), ());
        }
        for number in 0..count {
            timers.insert(Nanos(number as u64), ());
        }
        assert_eq!(timers.len(), late + count);
        timers.run.len()
    }

    #[test]
    fn timers_in_order_stay_out_of_the_heap() {
        assert_eq!(kept_in_run(0, 1000), 1000);
    }

    #[test]
    fn a_few_late_timers_keep_no_earlier_one_out_of_the_run() {
        assert_eq!(kept_in_run(MOVED_AT_ONCE, 1000), 1000);
    }

    #[test]
    fn many_late_timers_keep_no_more_earlier_ones_out_of_the_run() {
        let late = 500;
        let paid = late - MOVED_AT_ONCE;
        assert_eq!(kept_in_run(late, 1000), 1000 - paid);
    }

    #[test]
    fn cancelled_timers_leave_with_those_that_fire_before_them() {
        let mut timers = Timers::new();
        let mut late = Vec::new();
        for number in 0..1000 {
            timers.insert(Nanos(number), ());
            late.push(timers.insert(Nanos(5000 + number), ()));
        }
        timers.insert(Nanos(9000), ());
        for key in late {
            timers.cancel(key);
        }
        while timers.pop_due(Nanos(4000)).is_some() {}
        assert_eq!(timers.len(), 1);
        assert!(timers.footprint().0 <= 2 + COMPACT_ABOVE);
    }
}
