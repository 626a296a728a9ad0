//! Timers against a sorted list, and the bounds on their memory and order.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use sabio_reactor::{Nanos, TimerKey, Timers};

/// Takes out all timers, in the order in which they would have fired.
fn drain<T>(timers: &mut Timers<T>) -> impl Iterator<Item = (Nanos, T)> + use<T> {
    let mut all = timers.take();
    std::iter::from_fn(move || all.pop_due(Nanos(u64::MAX)))
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64),
    /// So many, each a little later than the one before.
    InsertRun(u64, usize),
    /// Cancels one of the keys that were ever given out.
    Cancel(usize),
    /// Cancels the newest key, as a timeout does that was not needed.
    CancelNewest,
    /// Takes what is due at that time.
    Pop(u64),
    NextDeadline,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    // Few different deadlines, so that many are equal.
    prop_oneof![
        12 => (0u64..20).prop_map(Step::Insert),
        // In order, as with a constant delay, with many more of them than are moved at once.
        2 => (0u64..20, 1usize..40).prop_map(|(first, count)| Step::InsertRun(first, count)),
        5 => any::<usize>().prop_map(Step::Cancel),
        5 => Just(Step::CancelNewest),
        5 => (0u64..20).prop_map(Step::Pop),
        3 => Just(Step::NextDeadline),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }))]

    #[test]
    fn timers_behave_as_a_sorted_list(steps in prop::collection::vec(step(), 1..400)) {
        let mut timers = Timers::new();
        // (deadline, order of insertion) sorted; the order of insertion is the value, too.
        let mut model: Vec<(u64, usize)> = Vec::new();
        let mut keys: Vec<(TimerKey, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(deadline) => {
                    let value = keys.len();
                    keys.push((timers.insert(Nanos(deadline), value), value));
                    let place = model.partition_point(|entry| *entry < (deadline, value));
                    model.insert(place, (deadline, value));
                }
                Step::InsertRun(first, count) => {
                    for number in 0..count {
                        let (deadline, value) = (first + number as u64 / 4, keys.len());
                        keys.push((timers.insert(Nanos(deadline), value), value));
                        let place = model.partition_point(|entry| *entry < (deadline, value));
                        model.insert(place, (deadline, value));
                    }
                }
                Step::Cancel(pick) if !keys.is_empty() => {
                    let (key, value) = keys[pick % keys.len()];
                    let place = model.iter().position(|entry| entry.1 == value);
                    prop_assert_eq!(timers.cancel(key), place.map(|place| model.remove(place).1));
                }
                Step::CancelNewest if !keys.is_empty() => {
                    let (key, value) = keys[keys.len() - 1];
                    let place = model.iter().position(|entry| entry.1 == value);
                    prop_assert_eq!(timers.cancel(key), place.map(|place| model.remove(place).1));
                    prop_assert!(timers.get_mut(key).is_none());
                }
                Step::Pop(now) => {
                    while let Some((deadline, value)) = timers.pop_due(Nanos(now)) {
                        prop_assert!(!model.is_empty());
                        prop_assert_eq!((deadline.0, value), model.remove(0));
                    }
                    prop_assert!(model.first().is_none_or(|(deadline, _)| *deadline > now));
                }
                Step::NextDeadline => {
                    prop_assert_eq!(timers.next_deadline().map(|at| at.0), model.first().map(|entry| entry.0));
                }
                Step::Drain => {
                    let drained: Vec<_> = drain(&mut timers).map(|(at, value)| (at.0, value)).collect();
                    prop_assert_eq!(drained, std::mem::take(&mut model));
                }
                Step::Cancel(_) | Step::CancelNewest => {}
            }
            let (entries, slots) = timers.footprint();
            prop_assert!(entries <= 2 * model.len() + 64 + 1, "{} entries for {} timers", entries, model.len());
            prop_assert!(slots <= keys.len());
            prop_assert_eq!(timers.len(), model.len());
            prop_assert_eq!(timers.is_empty(), model.is_empty());
            prop_assert_eq!(timers.iter().count(), model.len());
        }
    }
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_were_set() {
    let mut timers = Timers::new();
    for value in 0..1000 {
        timers.insert(Nanos(7), value);
    }
    let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(Nanos(7)))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(fired, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_timer_is_not_due_before_its_deadline() {
    let mut timers = Timers::new();
    timers.insert(Nanos(100), ());
    assert_eq!(timers.pop_due(Nanos(99)), None);
    assert_eq!(timers.pop_due(Nanos(100)), Some((Nanos(100), ())));
}

#[test]
fn a_key_never_reaches_a_later_timer() {
    let mut timers = Timers::new();
    let first = timers.insert(Nanos(1), "first");
    assert_eq!(timers.cancel(first), Some("first"));
    let second = timers.insert(Nanos(1), "second");
    assert_ne!(first, second);
    assert_eq!(timers.cancel(first), None);
    assert_eq!(timers.pop_due(Nanos(1)), Some((Nanos(1), "second")));
    assert_eq!(timers.cancel(second), None);
}

/// A timeout that is set far away and cancelled soon, a million times: what `wait_for` does.
#[test]
fn memory_stays_bounded_while_far_timers_come_and_go() {
    let mut timers = Timers::new();
    // Some that stay, so that the cancelled ones are in the middle of the heap.
    for value in 0..100 {
        timers.insert(Nanos(1 << 40), value);
    }
    let mut pending = std::collections::VecDeque::new();
    let rounds = if cfg!(miri) { 2_000 } else { 1_000_000_u64 };
    for round in 0..rounds {
        pending.push_back(timers.insert(Nanos((1 << 30) + round % 1013), 0));
        if pending.len() > 50
            && let Some(key) = pending.pop_front()
        {
            assert!(timers.cancel(key).is_some());
        }
    }
    assert_eq!(timers.len(), 150);
    let (heap, slots) = timers.footprint();
    assert!(heap <= 2 * 151 + 65, "{heap} heap entries for 150 timers");
    assert!(slots <= 151, "{slots} slots for 150 timers");
}

#[test]
fn a_timer_that_is_set_and_cancelled_again_leaves_nothing() {
    let mut timers = Timers::new();
    timers.insert(Nanos(5), 0);
    for _ in 0..10 {
        let key = timers.insert(Nanos(9), 1);
        timers.cancel(key);
        assert_eq!(timers.footprint().0, 1);
    }
}

#[test]
fn values_are_given_back_and_never_dropped_inside() {
    use std::rc::Rc;
    let value = Rc::new(());
    let mut timers = Timers::new();
    let mut given_back = Vec::new();
    for round in 0..500_u64 {
        let keys: Vec<_> = (0..3)
            .map(|step| timers.insert(Nanos(round * step), Rc::clone(&value)))
            .collect();
        given_back.extend(timers.cancel(keys[1]));
        given_back.extend(timers.cancel(keys[2]));
        given_back.extend(timers.pop_due(Nanos(round)).map(|(_, value)| value));
    }
    given_back.extend(drain(&mut timers).map(|(_, value)| value));
    assert_eq!(Rc::strong_count(&value), 1 + 1500);
    assert_eq!(given_back.len(), 1500);
}
