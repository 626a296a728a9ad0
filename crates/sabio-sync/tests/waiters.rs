//! `Waiters`: order, passing a wake-up on, and foreign code that runs inside of a wake-up.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use sabio_sync::{Wait, Waiters};
use support::{Counter, Executor};

#[test]
fn tasks_are_woken_in_the_order_in_which_they_came() {
    let waiters = Waiters::new();
    let order = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    for name in 0..3 {
        let (waiters, order) = (waiters.clone(), &order);
        executor.spawn(async move {
            waiters.wait().await;
            order.borrow_mut().push(name);
        });
    }
    executor.run();
    assert_eq!(waiters.len(), 3);
    assert!(waiters.wake_one());
    executor.run();
    assert_eq!(*order.borrow(), [0]);
    assert_eq!(waiters.wake_all(), 2);
    executor.run();
    assert_eq!(*order.borrow(), [0, 1, 2]);
    assert!(waiters.is_empty());
    assert!(!waiters.wake_one());
}

#[test]
fn a_cancelled_waiter_passes_its_wake_up_on() {
    let waiters = Waiters::new();
    let mut executor = Executor::new();
    let first = executor.spawn(waiters.wait());
    let second = executor.spawn(waiters.wait());
    executor.run();
    waiters.wake_one();
    executor.cancel(first);
    executor.run();
    assert!(executor.is_done(second));
}

#[test]
fn a_wake_up_meant_for_all_is_not_passed_on() {
    let waiters = Waiters::new();
    let mut executor = Executor::new();
    let first = executor.spawn(waiters.wait());
    executor.run();
    waiters.wake_all();
    let late = executor.spawn(waiters.wait());
    executor.cancel(first);
    executor.run();
    assert!(!executor.is_done(late));
}

#[test]
fn a_wait_that_was_never_polled_is_in_no_queue() {
    let waiters = Waiters::new();
    let wait = waiters.wait();
    assert!(waiters.is_empty());
    assert!(!waiters.wake_one());
    drop(wait);
}

#[test]
fn those_who_start_to_wait_while_all_are_woken_are_left_waiting() {
    /// Starts another wait each time it is woken.
    struct Again {
        waiters: Waiters,
        next: RefCell<Option<Wait>>,
        woken: Cell<usize>,
    }
    thread_local! {
        static AGAIN: RefCell<Option<std::rc::Rc<Again>>> = const { RefCell::new(None) };
    }
    struct Foreign;
    impl std::task::Wake for Foreign {
        fn wake(self: Arc<Self>) {
            let again = AGAIN.with(|again| again.borrow().clone()).unwrap();
            again.woken.set(again.woken.get() + 1);
            let mut next = again.waiters.wait();
            let waker = Waker::from(Arc::new(Self));
            assert!(
                Pin::new(&mut next)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            // Drops the wait that this wake-up ended, from inside of the wake-up.
            again.next.replace(Some(next));
        }
    }
    let waiters = Waiters::new();
    let again = Again {
        waiters: waiters.clone(),
        next: RefCell::default(),
        woken: Cell::new(0),
    };
    let again = std::rc::Rc::new(again);
    AGAIN.with(|slot| slot.replace(Some(again.clone())));
    let mut first = waiters.wait();
    let waker = Waker::from(Arc::new(Foreign));
    assert!(
        Pin::new(&mut first)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert_eq!(waiters.wake_all(), 1);
    assert_eq!(again.woken.get(), 1);
    assert_eq!(waiters.len(), 1);
    assert_eq!(waiters.wake_all(), 1);
    assert_eq!(again.woken.get(), 2);
}

#[test]
fn a_waker_whose_drop_uses_the_queue_is_dropped_outside_of_it() {
    struct Curious;
    thread_local! {
        static SEEN: RefCell<(Option<Waiters>, Vec<usize>)> = const { RefCell::new((None, Vec::new())) };
    }
    impl std::task::Wake for Curious {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Curious {
        fn drop(&mut self) {
            SEEN.with(|seen| {
                let (waiters, lengths) = &mut *seen.borrow_mut();
                lengths.push(waiters.as_ref().unwrap().len());
            });
        }
    }
    let waiters = Waiters::new();
    SEEN.with(|seen| seen.borrow_mut().0 = Some(waiters.clone()));
    let mut wait = waiters.wait();
    let waker = Waker::from(Arc::new(Curious));
    assert!(
        Pin::new(&mut wait)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    // A new waker takes the place of the curious one, then the wait itself goes.
    let other = Waker::from(Counter::new());
    assert!(
        Pin::new(&mut wait)
            .poll(&mut Context::from_waker(&other))
            .is_pending()
    );
    drop(wait);
    assert_eq!(SEEN.with(|seen| seen.borrow().1.clone()), [1]);
    assert!(waiters.is_empty());
}

#[test]
fn the_newest_waker_is_the_one_that_is_woken() {
    let waiters = Waiters::new();
    let (old, new) = (Counter::new(), Counter::new());
    let mut wait = pin!(waiters.wait());
    for counter in [&old, &new] {
        let waker = Waker::from(Arc::clone(counter));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    waiters.wake_one();
    assert_eq!((old.woken(), new.woken()), (0, 1));
}

#[derive(Debug, Clone)]
enum Step {
    Wait,
    WakeOne,
    WakeAll,
    Poll(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Wait),
        3 => Just(Step::WakeOne),
        1 => Just(Step::WakeAll),
        3 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// What the queue should be, spelt out: a list, and how each of those who left it was woken.
#[derive(Default)]
struct Model {
    waiting: Vec<usize>,
    /// Woken and not yet told, with whether the wake-up is passed on.
    woken: Vec<(usize, bool)>,
}

impl Model {
    fn wake_one(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let first = self.waiting.remove(0);
        self.woken.push((first, true));
        true
    }

    fn wake_all(&mut self) -> usize {
        let count = self.waiting.len();
        self.woken
            .extend(self.waiting.drain(..).map(|waiter| (waiter, false)));
        count
    }

    fn take_woken(&mut self, waiter: usize) -> Option<bool> {
        let index = self.woken.iter().position(|(woken, _)| *woken == waiter)?;
        Some(self.woken.remove(index).1)
    }

    fn leave(&mut self, waiter: usize) {
        self.waiting.retain(|waiting| *waiting != waiter);
        if self.take_woken(waiter) == Some(true) {
            self.wake_one();
        }
    }
}

proptest! {
    #[test]
    fn the_queue_behaves_as_a_list(steps in prop::collection::vec(step(), 1..120)) {
        let waiters = Waiters::new();
        let mut model = Model::default();
        let mut waits: Vec<(usize, Wait, Arc<Counter>)> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Wait => {
                    let mut wait = waiters.wait();
                    let counter = Counter::new();
                    let waker = Waker::from(Arc::clone(&counter));
                    prop_assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
                    model.waiting.push(next);
                    waits.push((next, wait, counter));
                    next += 1;
                }
                Step::WakeOne => prop_assert_eq!(waiters.wake_one(), model.wake_one()),
                Step::WakeAll => prop_assert_eq!(waiters.wake_all(), model.wake_all()),
                Step::Poll(pick) if !waits.is_empty() => {
                    let index = pick % waits.len();
                    let (name, wait, counter) = &mut waits[index];
                    let waker = Waker::from(Arc::clone(counter));
                    let polled = Pin::new(wait).poll(&mut Context::from_waker(&waker));
                    let told = model.take_woken(*name).is_some();
                    prop_assert_eq!(polled == Poll::Ready(()), told);
                    if told {
                        drop(waits.remove(index));
                    }
                }
                Step::Drop(pick) if !waits.is_empty() => {
                    let (name, wait, _) = waits.remove(pick % waits.len());
                    drop(wait);
                    model.leave(name);
                }
                Step::Poll(_) | Step::Drop(_) => {}
            }
            prop_assert_eq!(waiters.len(), model.waiting.len());
            for (name, _, counter) in &waits {
                let woken = model.woken.iter().any(|(woken, _)| woken == name);
                prop_assert_eq!(counter.woken(), usize::from(woken), "waiter {}", name);
            }
        }
    }
}
