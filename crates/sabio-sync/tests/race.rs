//! `race` and `yield_now`.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};

use sabio_sync::{Either, Waiters, race, yield_now};
use support::Executor;

struct OnDrop<'a>(&'a Cell<usize>);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_first_argument_wins_when_both_are_ready() {
    let winner = Cell::new(None);
    let mut executor = Executor::new();
    executor.spawn(async { winner.set(Some(race(ready(1), ready("two")).await)) });
    executor.run();
    assert_eq!(winner.get(), Some(Either::First(1)));
}

#[test]
fn the_second_argument_wins_when_it_is_ready_alone() {
    let winner = Cell::new(None);
    let mut executor = Executor::new();
    executor.spawn(async { winner.set(Some(race(pending::<()>(), ready(2)).await)) });
    executor.run();
    assert_eq!(winner.get(), Some(Either::Second(2)));
}

#[test]
fn the_loser_is_dropped_before_the_race_ends() {
    let waiters = Waiters::new();
    let dropped = Cell::new(0);
    let seen = Cell::new(None);
    let mut executor = Executor::new();
    executor.spawn(async {
        let guard = OnDrop(&dropped);
        let loser = async {
            let _guard = guard;
            pending::<()>().await;
        };
        race(loser, waiters.wait()).await;
        seen.set(Some(dropped.get()));
    });
    executor.run();
    assert_eq!(dropped.get(), 0);
    waiters.wake_one();
    executor.run();
    assert_eq!(seen.get(), Some(1));
}

#[test]
fn a_race_that_is_dropped_drops_both() {
    let dropped = Cell::new(0);
    let mut executor = Executor::new();
    let task = executor.spawn(async {
        let (one, two) = (OnDrop(&dropped), OnDrop(&dropped));
        let first = async {
            let _guard = one;
            pending::<()>().await;
        };
        let second = async {
            let _guard = two;
            pending::<()>().await;
        };
        race(first, second).await;
    });
    executor.run();
    executor.cancel(task);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_yield_lets_every_ready_task_run_first() {
    let order = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    for name in ["a", "b", "c"] {
        let order = &order;
        executor.spawn(async move {
            for round in 0..2 {
                order.borrow_mut().push((name, round));
                yield_now().await;
            }
        });
    }
    let polls = executor.run();
    assert_eq!(polls, 9);
    assert_eq!(
        *order.borrow(),
        [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]
    );
}
