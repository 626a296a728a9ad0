//! `Queue` in every order in which a small program can run, with every point of cancellation.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use sabio_sync::{Fifo, GetError, PutError, Queue, yield_now};
use support::model::{Model, Program};

type Items = Rc<RefCell<Vec<u32>>>;

/// At rest, whoever still waits has nothing to wait for, and no item was lost or doubled.
fn check_at_rest(program: &mut Program, queue: &Rc<Queue<Fifo<u32>>>, put: &Items, got: &Items) {
    let (queue, put, got) = (Rc::clone(queue), Rc::clone(put), Rc::clone(got));
    program.at_rest(move |waiting| {
        let store = queue.store();
        if waiting.iter().any(|name| name.starts_with("get")) {
            assert!(store.is_empty(), "{waiting:?} wait for {} items", store.len());
        }
        if waiting.iter().any(|name| name.starts_with("put")) {
            assert!(
                store.len() >= store.maxsize(),
                "{waiting:?} wait for room that is there"
            );
        }
        let mut all = got.borrow().clone();
        while let Ok(item) = queue.get_nowait() {
            all.push(item);
        }
        assert_eq!(all, *put.borrow());
    });
}

fn build(program: &mut Program, maxsize: usize, putters: u32, getters: u32) {
    let queue = Rc::new(Queue::new(Fifo::new(maxsize)));
    let (put, got) = (Items::default(), Items::default());
    for item in 0..putters {
        let (queue, put) = (Rc::clone(&queue), Rc::clone(&put));
        program.task("put", move |_| async move {
            queue.put(item).await.unwrap();
            put.borrow_mut().push(item);
        });
    }
    for _ in 0..getters {
        let (queue, got) = (Rc::clone(&queue), Rc::clone(&got));
        program.task("get", move |_| async move {
            let item = queue.get().await.unwrap();
            got.borrow_mut().push(item);
        });
    }
    let watched = Rc::clone(&queue);
    program.always(move || assert!(maxsize == 0 || watched.store().len() <= maxsize));
    check_at_rest(program, &queue, &put, &got);
}

#[test]
fn every_item_arrives_whoever_is_cancelled() {
    for (maxsize, putters, getters) in [(0, 2, 3), (1, 3, 2), (1, 2, 2)] {
        let runs = Model::new()
            .cancels(2)
            .explore(|program| build(program, maxsize, putters, getters));
        assert!(runs > 1000, "{runs}");
    }
}

#[test]
fn needless_polls_and_other_orders_change_nothing() {
    Model::new()
        .cancels(1)
        .needless_polls(1)
        .explore(|program| build(program, 1, 2, 1));
    Model::new()
        .cancels(1)
        .any_order()
        .explore(|program| build(program, 1, 2, 1));
}

#[test]
fn a_faster_task_takes_the_item_and_nobody_is_forgotten() {
    Model::new().cancels(1).explore(|program| {
        let queue = Rc::new(Queue::new(Fifo::new(1)));
        let (put, got) = (Items::default(), Items::default());
        for _ in 0..2 {
            let (queue, got) = (Rc::clone(&queue), Rc::clone(&got));
            program.task("get", move |_| async move {
                let item = queue.get().await.unwrap();
                got.borrow_mut().push(item);
            });
        }
        let (own, made) = (Rc::clone(&queue), Rc::clone(&put));
        program.task("producer", move |_| async move {
            for item in 0..2 {
                own.put(item).await.unwrap();
                made.borrow_mut().push(item);
            }
        });
        let (own, taken) = (Rc::clone(&queue), Rc::clone(&got));
        program.task("thief", move |_| async move {
            yield_now().await;
            if let Ok(item) = own.get_nowait() {
                taken.borrow_mut().push(item);
            }
        });
        program.at_rest(move |waiting| {
            let store = queue.store();
            assert!(store.is_empty() || !waiting.contains(&"get"), "{waiting:?}");
            assert!(!store.is_empty() || !waiting.contains(&"producer"), "{waiting:?}");
            let mut all = got.borrow().clone();
            all.extend(queue.get_nowait());
            assert_eq!(all, *put.borrow());
        });
    });
}

#[test]
fn shutdown_ends_every_wait() {
    for immediate in [false, true] {
        Model::new().cancels(1).explore(|program| {
            let queue = Rc::new(Queue::new(Fifo::new(1)));
            for item in 0..2 {
                let queue = Rc::clone(&queue);
                program.task("put", move |_| async move {
                    let put = queue.put(item).await;
                    assert!(matches!(put, Ok(()) | Err(PutError::ShutDown(_))), "{put:?}");
                });
            }
            let own = Rc::clone(&queue);
            program.task("get", move |_| async move {
                loop {
                    match own.get().await {
                        Ok(_) => own.task_done().unwrap(),
                        Err(error) => {
                            assert_eq!(error, GetError::ShutDown);
                            break;
                        }
                    }
                }
            });
            let own = Rc::clone(&queue);
            program.task("shutdown", move |_| async move {
                own.shutdown(immediate).unwrap();
            });
            // Only a cancelled shutdown leaves anybody waiting.
            program
                .at_rest(move |waiting| assert!(waiting.is_empty() || !queue.is_shut_down(), "{waiting:?}"));
        });
    }
}

#[test]
fn join_ends_once_everything_is_dealt_with() {
    Model::new().cancels(1).explore(|program| {
        let queue = Rc::new(Queue::new(Fifo::new(0)));
        for item in [1, 2] {
            queue.put_nowait(item).unwrap();
        }
        for _ in 0..2 {
            let queue = Rc::clone(&queue);
            program.task("join", move |_| async move { queue.join().await });
        }
        for _ in 0..2 {
            let queue = Rc::clone(&queue);
            program.task("work", move |_| async move {
                queue.get().await.unwrap();
                yield_now().await;
                queue.task_done().unwrap();
            });
        }
        program.at_rest(move |waiting| {
            assert!(queue.unfinished() > 0 || waiting.is_empty(), "{waiting:?}");
        });
    });
}
