//! `Barrier`: in every way in which a few tasks can run and be cancelled, nobody gets through before all are there,
//! the indices differ, and the barrier is ready for the next round when all have left.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;

use sabio_sync::{Barrier, BarrierState, Broken, Catch};
use support::Executor;
use support::model::{Cancelled, Model, This};

impl Catch for This {
    type Error = Cancelled;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Cancelled>> {
        Self::catch(self, future)
    }

    fn is_cancellation(&self, _: &Cancelled) -> bool {
        true
    }
}

/// A task that nobody cancels.
struct Calm;

impl Catch for Calm {
    type Error = Infallible;

    async fn catch<F: Future>(&self, future: F) -> Result<F::Output, Infallible> {
        Ok(future.await)
    }

    fn is_cancellation(&self, error: &Infallible) -> bool {
        match *error {}
    }
}

#[test]
fn nobody_gets_through_before_all_are_there() {
    for (model, parties, rounds) in [
        (Model::new(), 2, 2),
        (Model::new(), 3, 1),
        (Model::new().any_order(), 2, 1),
        (Model::new().needless_polls(1), 2, 1),
    ] {
        model.explore(|program| {
            let barrier = Barrier::new(parties);
            let arrived = Rc::new(Cell::new(0));
            let indices = Rc::new(RefCell::new(Vec::new()));
            for name in &["a", "b", "c"][..parties] {
                let (barrier, arrived, indices) = (barrier.clone(), Rc::clone(&arrived), Rc::clone(&indices));
                program.task(name, |task| async move {
                    for round in 1..=rounds {
                        arrived.set(arrived.get() + 1);
                        let index = barrier.wait(&task).await.unwrap().unwrap();
                        assert!(arrived.get() >= round * parties);
                        indices.borrow_mut().push((round, index));
                    }
                });
            }
            program.at_rest(move |waiting| {
                assert!(waiting.is_empty());
                let mut indices = indices.take();
                indices.sort_unstable();
                let all = (1..=rounds).flat_map(|round| (0..parties).map(move |index| (round, index)));
                assert!(all.eq(indices));
                assert_eq!((barrier.state(), barrier.count()), (BarrierState::Filling, 0));
            });
        });
    }
}

#[test]
fn a_cancelled_task_is_not_counted_any_more() {
    Model::new().cancels(1).explore(|program| {
        let barrier = Barrier::new(2);
        let through = Rc::new(Cell::new(0));
        for name in ["a", "b", "c"] {
            let (barrier, through) = (barrier.clone(), Rc::clone(&through));
            program.task(name, |task| async move {
                if barrier.wait(&task).await.is_ok_and(|passed| passed.is_ok()) {
                    through.set(through.get() + 1);
                }
            });
        }
        program.at_rest(move |waiting| {
            assert!(waiting.len() < 2, "{waiting:?} wait for each other");
            assert_eq!(barrier.count(), waiting.len());
            assert_eq!(barrier.state(), BarrierState::Filling);
            assert!(through.get() <= 2);
        });
    });
}

#[test]
fn reset_and_abort_let_everybody_go_whatever_is_cancelled() {
    for aborts in [false, true] {
        Model::new().cancels(1).explore(|program| {
            let barrier = Barrier::new(3);
            let ended = Rc::new(Cell::new(false));
            for name in ["a", "b"] {
                let barrier = barrier.clone();
                program.task(name, |task| async move {
                    if let Ok(passed) = barrier.wait(&task).await {
                        assert!(passed.is_err());
                    }
                });
            }
            let (ends, done) = (barrier.clone(), Rc::clone(&ended));
            program.task("ends", |task| async move {
                let outcome = if aborts {
                    ends.abort(&task).await
                } else {
                    ends.reset(&task).await
                };
                done.set(outcome.is_ok());
            });
            program.at_rest(move |waiting| {
                assert_eq!(barrier.count(), waiting.len());
                let state = match (aborts, ended.get()) {
                    (true, true) => BarrierState::Broken,
                    _ => BarrierState::Filling,
                };
                assert_eq!(barrier.state(), state);
                // After an abort nobody waits; who comes after a reset does.
                assert!(waiting.is_empty() || !aborts || !ended.get());
            });
        });
    }
}

#[test]
fn a_broken_barrier_works_again_after_a_reset() {
    let barrier = Barrier::new(2);
    let results = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    let come = |executor: &mut Executor<'_>| {
        let barrier = barrier.clone();
        executor.spawn(async move {
            let _ = barrier.wait(&Calm).await;
        });
        executor.run();
    };
    come(&mut executor);
    assert_eq!(barrier.n_waiting(), 1);
    let aborting = barrier.clone();
    executor.spawn(async move {
        let Ok(()) = aborting.abort(&Calm).await;
    });
    executor.run();
    assert_eq!((barrier.state(), barrier.n_waiting()), (BarrierState::Broken, 0));
    let (late, seen) = (barrier.clone(), &results);
    executor.spawn(async move {
        let Ok(outcome) = late.wait(&Calm).await;
        seen.borrow_mut().push(outcome);
    });
    executor.run();
    assert_eq!(*results.borrow(), [Err(Broken::Before)]);
    let resetting = barrier.clone();
    executor.spawn(async move {
        let Ok(()) = resetting.reset(&Calm).await;
    });
    executor.run();
    come(&mut executor);
    assert_eq!((barrier.state(), barrier.n_waiting()), (BarrierState::Filling, 1));
    come(&mut executor);
    assert_eq!((barrier.state(), barrier.count()), (BarrierState::Filling, 0));
}

#[test]
fn a_wait_that_is_dropped_leaves_the_barrier_in_order() {
    let barrier = Barrier::new(3);
    let mut executor = Executor::new();
    let mut come = || {
        let barrier = barrier.clone();
        let task = executor.spawn(async move {
            let _ = barrier.wait(&Calm).await;
        });
        executor.run();
        task
    };
    let first = come();
    assert_eq!(barrier.count(), 1);
    executor.cancel(first);
    executor.run();
    assert_eq!((barrier.state(), barrier.count()), (BarrierState::Filling, 0));
    let mut come = || {
        let barrier = barrier.clone();
        executor.spawn(async move {
            let _ = barrier.wait(&Calm).await;
        });
        executor.run();
    };
    come();
    come();
    come();
    assert_eq!((barrier.state(), barrier.count()), (BarrierState::Filling, 0));
}
