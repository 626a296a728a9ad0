//! `Event`: nobody sleeps through a `set`, whatever happens to the others, and a `clear` takes nothing back.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use sabio_sync::{Event, yield_now};
use support::Executor;
use support::model::Model;

#[test]
fn nobody_sleeps_through_a_set() {
    for model in [
        Model::new().cancels(2),
        Model::new().needless_polls(2),
        Model::new().any_order(),
    ] {
        model.explore(|program| {
            let event = Event::new();
            for name in ["a", "b", "c"] {
                let event = event.clone();
                program.task(name, |_| async move { event.wait().await });
            }
            let set = event.clone();
            program.task("set", |_| async move { set.set() });
            program.at_rest(move |waiting| {
                // The one that sets it may have been cancelled before it did.
                assert!(waiting.is_empty() || !event.is_set());
                assert_eq!(event.waiters().inside(), waiting.len());
            });
        });
    }
}

#[test]
fn who_waited_is_told_even_if_the_flag_is_cleared_before_it_runs() {
    Model::new().cancels(1).explore(|program| {
        let event = Event::new();
        let waiting = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b"] {
            let (event, waiting) = (event.clone(), Rc::clone(&waiting));
            program.task(name, |_| async move {
                waiting.borrow_mut().push(name);
                event.wait().await;
            });
        }
        let (pulse, at_pulse) = (event, Rc::new(RefCell::new(Vec::new())));
        let seen = Rc::clone(&at_pulse);
        program.task("pulse", |_| async move {
            seen.borrow_mut().clone_from(&waiting.borrow());
            pulse.set();
            pulse.clear();
        });
        program.at_rest(move |left| {
            assert!(left.iter().all(|name| !at_pulse.borrow().contains(name)));
        });
    });
}

#[test]
fn tasks_go_on_in_the_order_in_which_they_came() {
    Model::new().cancels(1).explore(|program| {
        let event = Event::new();
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let (event, order) = (event.clone(), Rc::clone(&order));
            program.task(name, |_| async move {
                if event.is_set() {
                    return;
                }
                let place = event.waiters().len();
                event.wait().await;
                order.borrow_mut().push((place, name));
            });
        }
        program.task("set", |_| async move {
            yield_now().await;
            event.set();
        });
        // Cancelled waiters make room, so places may repeat; they never go down.
        program.at_rest(move |_| assert!(order.borrow().is_sorted_by_key(|(place, _)| *place)));
    });
}

#[test]
fn a_set_flag_is_not_waited_for() {
    let event = Event::new();
    let mut executor = Executor::new();
    let early = executor.spawn(event.wait());
    executor.run();
    assert!(!executor.is_done(early));
    event.set();
    event.set();
    assert_eq!(event.waiters().inside(), 1);
    executor.run();
    assert!(executor.is_done(early));
    assert_eq!(event.waiters().inside(), 0);
    let late = executor.spawn(event.wait());
    executor.run();
    assert!(executor.is_done(late));
    event.clear();
    assert!(!event.is_set());
}
