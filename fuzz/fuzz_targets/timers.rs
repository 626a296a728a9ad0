//! `Timers` against a sorted list: set, cancelled, looked at and fired in any order.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sabio_reactor::{Nanos, TimerKey, Timers};

#[derive(Arbitrary, Debug)]
enum Step {
    /// Few different deadlines, so that many are equal.
    Insert(u8),
    InsertAnywhere(u64),
    /// So many, each so much later than the one before: as with a constant delay.
    InsertRun(u8, u8, u8),
    /// Makes room first, as the reactor does.
    InsertWithRoom(u8),
    /// One of the keys that were ever given out, which may have fired.
    Cancel(u16),
    CancelNewest,
    /// All that are set and were set so late or later: many dead entries at once.
    CancelFrom(u8),
    Change(u16),
    /// Goes on by so much and takes what is due.
    Advance(u8),
    AdvanceTo(u64),
    NextDeadline,
    Take,
}

/// The timers that are set, by deadline and order of insertion, which is the value at first.
#[derive(Default)]
struct Model {
    timers: Timers<usize>,
    sorted: BTreeMap<(u64, usize), usize>,
    keys: Vec<(TimerKey, u64)>,
    now: u64,
}

impl Model {
    fn insert(&mut self, deadline: u64) {
        let number = self.keys.len();
        let key = self.timers.insert(Nanos(deadline), number);
        self.sorted.insert((deadline, number), number);
        self.keys.push((key, deadline));
    }

    fn cancel(&mut self, number: usize) {
        let (key, deadline) = self.keys[number];
        let expected = self.sorted.remove(&(deadline, number));
        assert_eq!(self.timers.get_mut(key).copied(), expected);
        assert_eq!(self.timers.cancel(key), expected);
        assert_eq!(self.timers.cancel(key), None);
        assert_eq!(self.timers.get_mut(key), None);
    }

    fn pop_due(&mut self) {
        while let Some((deadline, value)) = self.timers.pop_due(Nanos(self.now)) {
            let ((expected, _), expected_value) = self.sorted.pop_first().expect("none is set");
            assert_eq!((deadline.0, value), (expected, expected_value));
            assert!(deadline.0 <= self.now);
        }
        assert!(
            self.sorted
                .first_key_value()
                .is_none_or(|((deadline, _), _)| *deadline > self.now)
        );
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(delay) => self.insert(self.now.saturating_add(delay.into())),
            Step::InsertAnywhere(deadline) => self.insert(deadline),
            Step::InsertRun(first, apart, count) => {
                for number in 0..u64::from(count) {
                    self.insert(
                        self.now
                            .saturating_add(u64::from(first) + number * u64::from(apart)),
                    );
                }
            }
            Step::InsertWithRoom(delay) => {
                if !self.timers.has_room() {
                    self.timers.make_room().expect("a few bytes");
                    assert!(self.timers.has_room());
                }
                self.insert(self.now.saturating_add(delay.into()));
            }
            Step::Cancel(pick) if !self.keys.is_empty() => self.cancel(usize::from(pick) % self.keys.len()),
            Step::CancelNewest if !self.keys.is_empty() => self.cancel(self.keys.len() - 1),
            Step::CancelFrom(delay) => {
                let from = (self.now.saturating_add(delay.into()), 0);
                let late: Vec<usize> = self
                    .sorted
                    .range(from..)
                    .map(|((_, number), _)| *number)
                    .collect();
                late.into_iter().for_each(|number| self.cancel(number));
            }
            Step::Change(pick) if !self.keys.is_empty() => {
                let number = usize::from(pick) % self.keys.len();
                let (key, deadline) = self.keys[number];
                let expected = self.sorted.get_mut(&(deadline, number));
                let value = self.timers.get_mut(key);
                assert_eq!(value, expected);
                if let (Some(value), Some(expected)) = (value, expected) {
                    *value += 1;
                    *expected += 1;
                }
            }
            Step::Advance(by) => {
                self.now = self.now.saturating_add(by.into());
                self.pop_due();
            }
            Step::AdvanceTo(now) => {
                self.now = now;
                self.pop_due();
            }
            Step::NextDeadline => {
                let expected = self.sorted.first_key_value().map(|((deadline, _), _)| *deadline);
                assert_eq!(self.timers.next_deadline().map(|at| at.0), expected);
            }
            Step::Take => {
                let mut taken = self.timers.take();
                for ((deadline, _), value) in std::mem::take(&mut self.sorted) {
                    assert_eq!(taken.pop_due(Nanos(u64::MAX)), Some((Nanos(deadline), value)));
                }
                assert!(taken.is_empty());
            }
            Step::Cancel(_) | Step::CancelNewest | Step::Change(_) => {}
        }
    }

    fn check(&self) {
        let live = self.sorted.len();
        let (entries, slots) = self.timers.footprint();
        assert!(
            entries <= 2 * live + 64 + 1,
            "{entries} entries for {live} timers"
        );
        assert!(slots <= self.keys.len());
        assert_eq!(self.timers.len(), live);
        assert_eq!(self.timers.is_empty(), live == 0);
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let mut model = Model::default();
    for step in &steps {
        model.step(step);
        model.check();
    }
    let mut values: Vec<usize> = model.timers.iter().copied().collect();
    let mut expected: Vec<usize> = model.sorted.values().copied().collect();
    values.sort_unstable();
    expected.sort_unstable();
    assert_eq!(values, expected);
    model.now = u64::MAX;
    model.pop_due();
    assert_eq!(model.timers.footprint().0, 0);
});
