//! `Semaphore`: in every way in which a few tasks can start, run and be cancelled, permits are neither lost nor made,
//! the line is kept, and nobody waits while a permit is free.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proptest::prelude::*;
use sabio_sync::{Semaphore, yield_now};
use support::Executor;
use support::model::{Model, Program};

/// A permit that goes back when this is dropped, also when the task is cancelled.
struct Permit(Semaphore, Rc<Cell<u64>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.1.set(self.1.get() - 1);
        self.0.release();
    }
}

fn users(program: &mut Program, permits: u64, names: &[&'static str], times: usize) {
    let semaphore = Semaphore::new(permits);
    let used = Rc::new(Cell::new(0));
    for name in names {
        let (semaphore, used) = (semaphore.clone(), Rc::clone(&used));
        program.task(name, |_| async move {
            for _ in 0..times {
                semaphore.acquire().await;
                used.set(used.get() + 1);
                let _permit = Permit(semaphore.clone(), Rc::clone(&used));
                yield_now().await;
            }
        });
    }
    let (in_use, free) = (Rc::clone(&used), semaphore.clone());
    program.always(move || assert!(in_use.get() + free.value() <= permits));
    program.at_rest(move |waiting| {
        assert!(waiting.is_empty(), "{waiting:?} wait for a free permit");
        assert_eq!(semaphore.value(), permits);
        assert_eq!(semaphore.waiters().inside(), 0);
    });
}

#[test]
fn permits_are_neither_lost_nor_made() {
    Model::new().explore(|program| users(program, 1, &["a", "b", "c"], 2));
    Model::new().explore(|program| users(program, 2, &["a", "b", "c", "d"], 1));
    Model::new()
        .needless_polls(2)
        .explore(|program| users(program, 1, &["a", "b", "c"], 1));
    Model::new()
        .any_order()
        .explore(|program| users(program, 2, &["a", "b", "c"], 1));
}

#[test]
fn cancelled_tasks_give_their_permits_on() {
    Model::new()
        .cancels(2)
        .explore(|program| users(program, 1, &["a", "b", "c"], 1));
    Model::new()
        .cancels(1)
        .explore(|program| users(program, 2, &["a", "b", "c", "d"], 1));
    Model::new()
        .cancels(2)
        .any_order()
        .explore(|program| users(program, 1, &["a", "b", "c"], 1));
}

#[test]
fn the_line_is_kept() {
    Model::new().cancels(1).explore(|program| {
        let semaphore = Semaphore::new(2);
        let (came, got) = (
            Rc::new(RefCell::new(Vec::new())),
            Rc::new(RefCell::new(Vec::new())),
        );
        for name in ["a", "b", "c", "d"] {
            let (semaphore, came, got) = (semaphore.clone(), Rc::clone(&came), Rc::clone(&got));
            program.task(name, |_| async move {
                came.borrow_mut().push(name);
                semaphore.acquire().await;
                got.borrow_mut().push(name);
                yield_now().await;
                semaphore.release();
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
fn a_newcomer_stands_behind_those_who_have_been_given_a_permit_and_not_run() {
    let semaphore = Semaphore::new(0);
    let mut executor = Executor::new();
    let waiting = executor.spawn(semaphore.acquire());
    executor.run();
    semaphore.release();
    semaphore.release();
    // One permit went to the waiting task, the other is free, but not for a newcomer yet.
    assert_eq!(semaphore.value(), 1);
    assert!(semaphore.locked());
    assert!(!semaphore.try_acquire());
    let late = executor.spawn(semaphore.acquire());
    executor.run();
    assert!(executor.is_done(waiting));
    assert!(executor.is_done(late));
    assert_eq!(semaphore.value(), 0);
}

#[test]
fn unlimited_permits_do_not_run_out() {
    let semaphore = Semaphore::new(Semaphore::UNLIMITED);
    for _ in 0..3 {
        assert!(semaphore.try_acquire());
    }
    semaphore.release();
    assert_eq!(semaphore.value(), Semaphore::UNLIMITED);
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
        4 => Just(Step::Acquire),
        3 => Just(Step::Release),
        2 => Just(Step::Run),
        2 => any::<usize>().prop_map(Step::Cancel),
    ]
}

proptest! {
    #[test]
    fn permits_are_conserved(start in 0_u64..4, steps in prop::collection::vec(step(), 1..80)) {
        let semaphore = Semaphore::new(start);
        let got = RefCell::new(Vec::new());
        let mut executor = Executor::new();
        let mut spawned = Vec::new();
        let mut released = 0;
        for step in steps {
            match step {
                Step::Acquire => {
                    let name = spawned.len();
                    let (semaphore, got) = (semaphore.clone(), &got);
                    spawned.push(executor.spawn(async move {
                        semaphore.acquire().await;
                        got.borrow_mut().push(name);
                    }));
                }
                Step::Release => {
                    semaphore.release();
                    released += 1;
                }
                Step::Run => {
                    executor.run();
                    let taken = got.borrow().len() as u64;
                    prop_assert_eq!(semaphore.value() + taken, start + released);
                    prop_assert!(semaphore.value() == 0 || semaphore.waiters().inside() == 0);
                }
                Step::Cancel(pick) if !spawned.is_empty() => executor.cancel(spawned[pick % spawned.len()]),
                Step::Cancel(_) => {}
            }
            prop_assert!(got.borrow().is_sorted());
        }
    }
}
