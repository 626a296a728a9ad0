//! `Lock`: in every way in which a few tasks can start, run and be cancelled, at most one holds it, the line is kept,
//! and a free lock is never left to those who wait.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use proptest::prelude::*;
use sabio_sync::{Lock, NotAcquired, Place, yield_now};
use support::model::{Model, Program};
use support::{Counter, Executor};

/// Counts a task in for as long as this lives.
struct Inside(Rc<Cell<usize>>);

impl Inside {
    fn enter(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Releases the lock, as `async with` does, also when the task is cancelled.
struct Held(Lock);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release().unwrap();
    }
}

/// Tasks that each take the lock, hold it for one turn and give it back, so many times.
fn contenders(program: &mut Program, lock: &Lock, names: &[&'static str], times: usize) {
    let inside = Rc::new(Cell::new(0));
    for name in names {
        let (lock, inside) = (lock.clone(), Rc::clone(&inside));
        program.task(name, |_| async move {
            for _ in 0..times {
                lock.acquire().await;
                let held = Held(lock.clone());
                let _inside = Inside::enter(&inside);
                assert!(lock.locked());
                yield_now().await;
                drop(_inside);
                drop(held);
            }
        });
    }
    let checked = lock.clone();
    program.always(move || {
        assert!(inside.get() <= 1);
        assert!(inside.get() == 0 || checked.locked());
    });
    let lock = lock.clone();
    program.at_rest(move |waiting| {
        assert!(waiting.is_empty(), "{waiting:?} wait for a free lock");
        assert!(!lock.locked());
        assert_eq!(lock.waiters().inside(), 0);
    });
}

#[test]
fn at_most_one_holds_it_and_nobody_waits_for_a_free_lock() {
    Model::new().explore(|program| contenders(program, &Lock::new(), &["a", "b", "c"], 2));
    Model::new()
        .any_order()
        .explore(|program| contenders(program, &Lock::new(), &["a", "b", "c"], 1));
    Model::new()
        .needless_polls(2)
        .explore(|program| contenders(program, &Lock::new(), &["a", "b", "c"], 1));
}

#[test]
fn cancelled_tasks_lose_no_wake_up_and_leave_no_trace() {
    Model::new()
        .cancels(2)
        .explore(|program| contenders(program, &Lock::new(), &["a", "b", "c"], 1));
    Model::new()
        .cancels(1)
        .explore(|program| contenders(program, &Lock::new(), &["a", "b"], 2));
    Model::new()
        .cancels(2)
        .any_order()
        .explore(|program| contenders(program, &Lock::new(), &["a", "b", "c"], 1));
}

#[test]
fn the_doomed_are_passed_over_and_nothing_is_lost_by_it() {
    // Everybody counts as doomed: the line is as good as empty, so it may be jumped, and nobody is woken; whoever
    // leaves it sees to the others all the same.
    let lock = Lock::with_doomed(|_| true);
    assert!(lock.try_acquire());
    let mut executor = Executor::new();
    let waiting = executor.spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    executor.run();
    lock.release().unwrap();
    executor.run();
    assert!(!executor.is_done(waiting));
    assert!(lock.try_acquire());
    executor.cancel(waiting);
    assert_eq!(lock.waiters().inside(), 0);
    assert!(lock.locked());
}

#[test]
fn the_waker_of_who_waits_can_be_taken_until_it_is_used() {
    let lock = Lock::new();
    assert!(lock.try_acquire());
    let (place, count) = (Place::default(), Counter::new());
    let waker = Waker::from(Arc::clone(&count));
    let poll = || lock.poll_acquire(&place, &mut Context::from_waker(&waker));
    assert!(lock.waiters().take_waker(&place).is_none());
    assert!(poll().is_pending());
    assert!(lock.waiters().take_waker(&place).unwrap().will_wake(&waker));
    assert!(!lock.waiters().take_waker(&place).unwrap().will_wake(&waker));
    assert!(poll().is_pending());
    lock.release().unwrap();
    assert_eq!(count.woken(), 1);
    assert!(lock.waiters().take_waker(&place).is_none());
    assert!(poll().is_ready());
    lock.leave(&place);
}

#[test]
fn the_line_is_kept() {
    Model::new().cancels(1).explore(|program| {
        let lock = Lock::new();
        let (came, got) = (
            Rc::new(RefCell::new(Vec::new())),
            Rc::new(RefCell::new(Vec::new())),
        );
        for name in ["a", "b", "c"] {
            let (lock, came, got) = (lock.clone(), Rc::clone(&came), Rc::clone(&got));
            program.task(name, |_| async move {
                came.borrow_mut().push(name);
                lock.acquire().await;
                let _held = Held(lock.clone());
                got.borrow_mut().push(name);
                yield_now().await;
            });
        }
        program.at_rest(move |_| {
            let got = got.borrow();
            let came: Vec<_> = came
                .take()
                .into_iter()
                .filter(|name| got.contains(name))
                .collect();
            assert_eq!(*got, came);
        });
    });
}

#[test]
fn a_newcomer_does_not_jump_the_line() {
    let lock = Lock::new();
    assert!(lock.try_acquire());
    let mut executor = Executor::new();
    let waiting = executor.spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    executor.run();
    lock.release().unwrap();
    assert!(!lock.locked());
    assert!(!lock.try_acquire());
    executor.run();
    assert!(executor.is_done(waiting));
    assert!(lock.locked());
}

#[test]
fn releasing_what_nobody_holds_is_an_error() {
    let lock = Lock::new();
    assert_eq!(lock.release(), Err(NotAcquired));
    assert_eq!(NotAcquired.to_string(), "Lock is not acquired.");
    assert!(lock.try_acquire());
    assert_eq!(lock.release(), Ok(()));
    assert_eq!(lock.release(), Err(NotAcquired));
}

#[test]
fn an_acquire_that_is_never_polled_takes_nothing() {
    let lock = Lock::new();
    drop(lock.acquire());
    assert!(!lock.locked());
    assert_eq!(lock.waiters().inside(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Acquire,
    Release,
    Run,
    Cancel(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Acquire),
        3 => Just(Step::Release),
        2 => Just(Step::Run),
        2 => any::<usize>().prop_map(Step::Cancel),
    ]
}

proptest! {
    #[test]
    fn whoever_waits_gets_it_in_turn(steps in prop::collection::vec(step(), 1..80)) {
        let lock = Lock::new();
        let got = RefCell::new(Vec::new());
        let mut executor = Executor::new();
        let mut spawned = Vec::new();
        for step in steps {
            match step {
                Step::Acquire => {
                    let name = spawned.len();
                    let (lock, got) = (lock.clone(), &got);
                    spawned.push(executor.spawn(async move {
                        lock.acquire().await;
                        got.borrow_mut().push(name);
                    }));
                }
                Step::Release => {
                    let was = lock.locked();
                    prop_assert_eq!(lock.release().is_ok(), was);
                }
                Step::Run => {
                    executor.run();
                    prop_assert!(lock.locked() || lock.waiters().inside() == 0);
                }
                Step::Cancel(pick) if !spawned.is_empty() => executor.cancel(spawned[pick % spawned.len()]),
                Step::Cancel(_) => {}
            }
            prop_assert!(got.borrow().is_sorted());
        }
    }
}
