//! The explorer of the model tests: it sees every way in which a small program can run, and finds planted mistakes.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use sabio_sync::{Waiters, yield_now};
use support::model::Model;

/// Whether exploring this program ends in a failed check.
fn fails(explore: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(explore)).is_err()
}

#[test]
fn tasks_start_in_every_order() {
    let orders = Rc::new(RefCell::new(BTreeSet::new()));
    let runs = Model::new().explore(|program| {
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let order = Rc::clone(&order);
            program.task(name, |_| async move { order.borrow_mut().push(name) });
        }
        let orders = Rc::clone(&orders);
        program.at_rest(move |_| {
            orders.borrow_mut().insert(order.take());
        });
    });
    assert_eq!(orders.borrow().len(), 6);
    assert!(runs >= 6);
}

#[test]
fn ready_tasks_run_in_the_order_of_their_wake_ups_unless_asked_otherwise() {
    let explore = |model: Model| {
        model.explore(|program| {
            let waiters = Waiters::new();
            let order = Rc::new(RefCell::new(Vec::new()));
            for name in ["a", "b"] {
                let (waiters, order) = (waiters.clone(), Rc::clone(&order));
                program.task(name, |_| async move {
                    let place = waiters.len();
                    waiters.wait().await;
                    order.borrow_mut().push(place);
                });
            }
            program.task("wakes", |_| async move {
                waiters.wake_all();
            });
            // Who came before the wake-up ran in that order; whoever came later waits for ever.
            program.at_rest(move |_| assert!(order.borrow().is_sorted()));
        });
    };
    explore(Model::new());
    assert!(fails(|| explore(Model::new().any_order())));
}

#[test]
fn a_task_is_cancelled_at_each_of_its_steps() {
    let reached = Rc::new(RefCell::new(BTreeSet::new()));
    Model::new().cancels(1).explore(|program| {
        let steps = Rc::new(Cell::new(0));
        let counted = Rc::clone(&steps);
        program.task("steps", |_| async move {
            for _ in 0..3 {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
            counted.set(4);
        });
        let reached = Rc::clone(&reached);
        program.at_rest(move |_| {
            reached.borrow_mut().insert(steps.get());
        });
    });
    assert_eq!(
        reached.borrow().iter().copied().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
}

#[test]
fn a_caught_cancellation_lets_the_task_go_on() {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    Model::new().cancels(1).explore(|program| {
        let waiters = Waiters::new();
        let seen = Rc::clone(&seen);
        program.task("catches", |this| async move {
            let caught = this.catch(waiters.wait()).await.is_err();
            yield_now().await;
            seen.borrow_mut().insert((caught, waiters.len()));
        });
        program.at_rest(|_| {});
    });
    assert_eq!(seen.borrow().iter().copied().collect::<Vec<_>>(), [(true, 0)]);
}

#[test]
fn choices_of_a_task_are_all_tried() {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    Model::new().explore(|program| {
        let seen = Rc::clone(&seen);
        program.task("chooses", |this| async move {
            seen.borrow_mut().insert((this.choose(2), this.choose(3)));
        });
    });
    assert_eq!(seen.borrow().len(), 6);
}

#[test]
fn a_lost_wake_up_is_found() {
    assert!(fails(|| {
        Model::new().explore(|program| {
            let waiters = Waiters::new();
            let woken = waiters.clone();
            program.task("waits", |_| async move { waiters.wait().await });
            program.task("wakes", |_| async move {
                woken.wake_one();
            });
        });
    }));
}

#[test]
fn an_invariant_that_breaks_between_two_steps_is_found() {
    assert!(fails(|| {
        Model::new().explore(|program| {
            let inside = Rc::new(Cell::new(0));
            for name in ["a", "b"] {
                let inside = Rc::clone(&inside);
                program.task(name, |_| async move {
                    inside.set(inside.get() + 1);
                    yield_now().await;
                    inside.set(inside.get() - 1);
                });
            }
            program.always(move || assert!(inside.get() < 2));
        });
    }));
}

#[test]
fn a_future_that_takes_any_poll_for_its_wake_up_is_found() {
    /// Believes that it is polled a second time only when it was woken.
    struct Hasty(bool);
    impl Future for Hasty {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }
    let explore = |model: Model| {
        model.explore(|program| {
            program.task("hasty", |_| Hasty(false));
            program.at_rest(|waiting| assert_eq!(waiting, ["hasty"]));
        });
    };
    explore(Model::new());
    assert!(fails(|| explore(Model::new().needless_polls(1))));
}

#[test]
fn a_program_that_never_ends_is_found() {
    assert!(fails(|| {
        Model::new().explore(|program| {
            program.task("spins", |_| async move {
                loop {
                    yield_now().await;
                }
            });
        });
    }));
}
