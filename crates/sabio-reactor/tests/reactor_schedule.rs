//! Timers of the reactor: handles, sleepers, and a loop's turn that is never early.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sabio_reactor::{Due, Events, Nanos};
use support::{Counter, TestReactor, new_reactor};

/// Waits as a loop does until `reactor` has something due, and takes it out.
fn next_due(reactor: &TestReactor) -> (Nanos, Due<&'static str>) {
    let mut events = Events::new();
    loop {
        let now = Nanos::now();
        if let Some(due) = reactor.pop_due(now) {
            return (now, due);
        }
        let deadline = reactor.next_deadline().unwrap_or(Nanos::MAX);
        reactor
            .poller()
            .wait(&mut events, Some(deadline.saturating_since(now)))
            .unwrap();
    }
}

#[test]
fn handles_come_out_in_order_and_never_early() {
    let reactor = new_reactor();
    let start = Nanos::now();
    let at = |micros| start.saturating_add(Duration::from_micros(micros));
    for (micros, name) in [(900, "c"), (200, "a"), (900, "d"), (400, "b"), (3100, "e")] {
        reactor.schedule(at(micros), name);
    }
    assert_eq!(reactor.timer_count(), 5);
    for (micros, name) in [(200, "a"), (400, "b"), (900, "c"), (900, "d"), (3100, "e")] {
        let (now, due) = next_due(&reactor);
        let Due::Handle(deadline, handle) = due else {
            panic!("{due:?}")
        };
        assert_eq!((deadline, handle), (at(micros), name));
        assert!(now >= deadline);
        // The same in the seconds that Python sees.
        assert!(now.as_secs_f64() >= deadline.as_secs_f64());
    }
    assert!(!reactor.has_timers());
}

#[test]
fn a_cancelled_handle_is_given_back_once_and_does_not_come_out() {
    let reactor = new_reactor();
    let key = reactor.schedule(Nanos(1), "cancelled");
    reactor.schedule(Nanos(2), "kept");
    assert_eq!(reactor.next_deadline(), Some(Nanos(1)));
    assert_eq!(reactor.cancel(key), Some("cancelled"));
    assert_eq!(reactor.cancel(key), None);
    assert_eq!(reactor.next_deadline(), Some(Nanos(2)));
    assert!(matches!(
        reactor.pop_due(Nanos(2)),
        Some(Due::Handle(Nanos(2), "kept"))
    ));
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_sleeper_is_given_out_between_the_handles() {
    let reactor = new_reactor();
    let counter = Counter::new();
    reactor.schedule(Nanos(5), "before");
    let mut sleep = reactor.sleep_until(Nanos(5));
    assert!(counter.poll(&mut sleep).is_pending());
    reactor.schedule(Nanos(5), "after");
    assert!(matches!(
        reactor.pop_due(Nanos(9)),
        Some(Due::Handle(_, "before"))
    ));
    let Some(Due::Waker(waker)) = reactor.pop_due(Nanos(9)) else {
        panic!("no sleeper")
    };
    assert_eq!(counter.woken(), 0);
    waker.wake();
    assert_eq!(counter.woken(), 1);
    assert!(matches!(reactor.pop_due(Nanos(9)), Some(Due::Handle(_, "after"))));
    assert_eq!(counter.poll(&mut sleep), Poll::Ready(()));
}

#[test]
fn a_sleep_in_the_past_still_takes_a_turn() {
    let reactor = new_reactor();
    let counter = Counter::new();
    let mut sleep = reactor.sleep_until(Nanos(0));
    assert!(counter.poll(&mut sleep).is_pending());
    assert!(matches!(reactor.pop_due(Nanos::now()), Some(Due::Waker(_))));
    assert_eq!(counter.poll(&mut sleep), Poll::Ready(()));
}

#[test]
fn a_dropped_sleep_is_forgotten() {
    let reactor = new_reactor();
    let counter = Counter::new();
    let mut sleep = reactor.sleep_until(Nanos(5));
    assert!(counter.poll(&mut sleep).is_pending());
    assert!(counter.poll(&mut sleep).is_pending());
    assert_eq!(Arc::strong_count(&counter), 2);
    drop(sleep);
    assert_eq!(Arc::strong_count(&counter), 1);
    assert!(!reactor.has_timers());
    assert!(reactor.pop_due(Nanos::MAX).is_none());
    drop(reactor.sleep_until(Nanos(1)));
}

#[test]
fn the_newest_waker_of_a_sleep_is_the_one_that_is_given_out() {
    let reactor = new_reactor();
    let (old, new) = (Counter::new(), Counter::new());
    let mut sleep = reactor.sleep_until(Nanos(5));
    assert!(old.poll(&mut sleep).is_pending());
    assert!(new.poll(&mut sleep).is_pending());
    let Some(Due::Waker(waker)) = reactor.pop_due(Nanos(5)) else {
        panic!("no sleeper")
    };
    // Not by `will_wake`, which may say no of the same waker: two codegen units have two tables of its functions.
    waker.wake();
    assert_eq!((old.woken(), new.woken()), (0, 1));
    drop(sleep);
}
