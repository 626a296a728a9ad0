//! `Queue`: asyncio's rules one by one, against a list, and over stores that fail or come back.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use proptest::prelude::*;
use sabio_sync::{Fifo, GetError, Lifo, PutError, Queue, Store, TooManyDone, WaitError};
use support::Executor;

type Fifos = Rc<Queue<Fifo<u32>>>;

fn fifo(maxsize: usize) -> Fifos {
    Rc::new(Queue::new(Fifo::new(maxsize)))
}

#[test]
fn items_come_out_in_the_order_of_the_store() {
    let first = Queue::new(Fifo::new(0));
    let last = Queue::new(Lifo::new(0));
    for item in [1, 2, 3] {
        first.put_nowait(item).unwrap();
        last.put_nowait(item).unwrap();
    }
    let first: Vec<u32> = std::iter::from_fn(|| first.get_nowait().ok()).collect();
    let last: Vec<u32> = std::iter::from_fn(|| last.get_nowait().ok()).collect();
    assert_eq!((first, last), (vec![1, 2, 3], vec![3, 2, 1]));
}

#[test]
fn a_full_queue_gives_the_item_back_and_an_empty_one_says_so() {
    let queue = fifo(1);
    assert_eq!(queue.get_nowait(), Err(GetError::Empty));
    queue.put_nowait(1).unwrap();
    assert_eq!(queue.put_nowait(2), Err(PutError::Full(2)));
    assert_eq!((queue.store().len(), queue.store().maxsize()), (1, 1));
}

#[test]
fn zero_stands_for_no_limit() {
    let queue = fifo(0);
    for item in 0..1000 {
        queue.put_nowait(item).unwrap();
    }
    assert_eq!(queue.store().len(), 1000);
}

#[test]
fn getters_are_served_in_the_order_in_which_they_came() {
    let queue = fifo(0);
    let got = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    for name in 0..3 {
        let (queue, got) = (&queue, &got);
        executor.spawn(async move {
            let item = queue.get().await.unwrap();
            got.borrow_mut().push((name, item));
        });
    }
    executor.run();
    assert_eq!(queue.getters().len(), 3);
    for item in [10, 11, 12] {
        queue.put_nowait(item).unwrap();
    }
    executor.run();
    assert_eq!(*got.borrow(), [(0, 10), (1, 11), (2, 12)]);
}

#[test]
fn putters_are_let_in_in_the_order_in_which_they_came() {
    let queue = fifo(1);
    queue.put_nowait(0).unwrap();
    let mut executor = Executor::new();
    for item in 1..4 {
        let queue = &queue;
        executor.spawn(async move { queue.put(item).await.unwrap() });
    }
    executor.run();
    assert_eq!(queue.putters().len(), 3);
    for item in 0..4 {
        assert_eq!(queue.get_nowait(), Ok(item));
        executor.run();
    }
}

#[test]
fn whoever_comes_first_takes_the_item_and_the_woken_getter_waits_again() {
    let queue = fifo(0);
    let mut executor = Executor::new();
    let getter = executor.spawn(async {
        queue.get().await.unwrap();
    });
    executor.run();
    queue.put_nowait(1).unwrap();
    assert_eq!(queue.get_nowait(), Ok(1));
    executor.run();
    assert!(!executor.is_done(getter));
    queue.put_nowait(2).unwrap();
    executor.run();
    assert!(executor.is_done(getter));
}

#[test]
fn a_getter_that_gives_up_passes_its_wake_up_on_while_there_is_an_item() {
    let queue = fifo(0);
    let mut executor = Executor::new();
    let first = executor.spawn(async {
        queue.get().await.unwrap();
    });
    let second = executor.spawn(async {
        queue.get().await.unwrap();
    });
    executor.run();
    queue.put_nowait(1).unwrap();
    executor.cancel(first);
    executor.run();
    assert!(executor.is_done(second));
}

#[test]
fn a_getter_that_gives_up_when_the_item_is_gone_costs_nobody_a_place() {
    let queue = fifo(0);
    let got = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    let first = executor.spawn(async {
        queue.get().await.unwrap();
    });
    for name in ["second", "third"] {
        let (queue, got) = (&queue, &got);
        executor.spawn(async move {
            queue.get().await.unwrap();
            got.borrow_mut().push(name);
        });
    }
    executor.run();
    queue.put_nowait(1).unwrap();
    assert_eq!(queue.get_nowait(), Ok(1));
    executor.cancel(first);
    executor.run();
    queue.put_nowait(2).unwrap();
    executor.run();
    assert_eq!(*got.borrow(), ["second"]);
}

#[test]
fn a_putter_that_gives_up_passes_its_place_on_and_puts_nothing() {
    let queue = fifo(1);
    queue.put_nowait(0).unwrap();
    let mut executor = Executor::new();
    let first = executor.spawn(async { queue.put(1).await.unwrap() });
    let second = executor.spawn(async { queue.put(2).await.unwrap() });
    executor.run();
    assert_eq!(queue.get_nowait(), Ok(0));
    executor.cancel(first);
    executor.run();
    assert!(executor.is_done(second));
    assert_eq!(queue.get_nowait(), Ok(2));
    assert_eq!(queue.get_nowait(), Err(GetError::Empty));
}

#[test]
fn join_ends_with_the_last_item_that_is_dealt_with() {
    let queue = fifo(0);
    let mut executor = Executor::new();
    let at_once = executor.spawn(queue.join());
    executor.run();
    assert!(executor.is_done(at_once));
    queue.put_nowait(1).unwrap();
    queue.put_nowait(2).unwrap();
    let joiner = executor.spawn(queue.join());
    executor.run();
    queue.task_done().unwrap();
    executor.run();
    assert!(!executor.is_done(joiner));
    queue.task_done().unwrap();
    // More work comes before the joiner has its turn: its wait is over all the same.
    queue.put_nowait(3).unwrap();
    executor.run();
    assert!(executor.is_done(joiner));
    queue.task_done().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyDone));
}

#[test]
fn shutdown_lets_the_items_be_taken_and_nothing_be_put() {
    let queue = fifo(1);
    queue.put_nowait(1).unwrap();
    let ended = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    executor.spawn(async {
        let result = queue.put(2).await;
        ended.borrow_mut().push(result);
    });
    executor.run();
    queue.shutdown(false).unwrap();
    executor.run();
    assert_eq!(*ended.borrow(), [Err(PutError::ShutDown(2))]);
    assert_eq!(queue.put_nowait(3), Err(PutError::ShutDown(3)));
    assert_eq!(queue.get_nowait(), Ok(1));
    assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
    assert!(queue.is_shut_down());
}

#[test]
fn immediate_shutdown_drops_the_items_and_ends_everybody_s_wait() {
    let queue = fifo(2);
    for item in [1, 2] {
        queue.put_nowait(item).unwrap();
    }
    assert_eq!(queue.get_nowait(), Ok(1));
    let ended = RefCell::new(Vec::new());
    let mut executor = Executor::new();
    let joiner = executor.spawn(queue.join());
    executor.run();
    queue.shutdown(true).unwrap();
    // The item that was taken is not dealt with yet.
    assert_eq!(queue.unfinished(), 1);
    executor.run();
    assert!(!executor.is_done(joiner));
    queue.task_done().unwrap();
    executor.spawn(async {
        let result = queue.get().await;
        ended.borrow_mut().push(result);
    });
    executor.run();
    assert!(executor.is_done(joiner));
    assert_eq!(*ended.borrow(), [Err(GetError::ShutDown)]);
}

#[test]
fn shutdown_wakes_everybody_who_waits_for_an_item() {
    let queue = fifo(0);
    let mut executor = Executor::new();
    let getters: Vec<_> = (0..3)
        .map(|_| {
            executor.spawn(async {
                assert_eq!(queue.get().await, Err(GetError::ShutDown));
            })
        })
        .collect();
    executor.run();
    queue.shutdown(false).unwrap();
    executor.run();
    assert!(getters.into_iter().all(|getter| executor.is_done(getter)));
}

/// A store whose methods fail on demand.
#[derive(Default)]
struct Failing {
    items: RefCell<VecDeque<u32>>,
    fails: Cell<&'static str>,
}

impl Failing {
    fn check(&self, method: &'static str) -> Result<(), &'static str> {
        if self.fails.get() == method {
            Err(method)
        } else {
            Ok(())
        }
    }
}

impl Store for Failing {
    type Item = u32;
    type Error = &'static str;

    fn is_empty(&self) -> Result<bool, &'static str> {
        self.check("is_empty")?;
        Ok(self.items.borrow().is_empty())
    }

    fn is_full(&self) -> Result<bool, &'static str> {
        self.check("is_full")?;
        Ok(self.items.borrow().len() >= 2)
    }

    fn put(&self, item: u32) -> Result<(), &'static str> {
        self.check("put")?;
        self.items.borrow_mut().push_back(item);
        Ok(())
    }

    fn get(&self) -> Result<Option<u32>, &'static str> {
        self.check("get")?;
        Ok(self.items.borrow_mut().pop_front())
    }

    fn before_waiting(&self, _waker: &Waker) -> Result<(), &'static str> {
        self.check("before_waiting")
    }
}

#[test]
fn errors_of_the_store_come_out_and_change_nothing() {
    let queue = Queue::new(Failing::default());
    queue.put_nowait(1).unwrap();
    queue.store().fails.set("put");
    assert_eq!(queue.put_nowait(2), Err(PutError::Store("put")));
    assert_eq!(queue.unfinished(), 1);
    queue.store().fails.set("is_full");
    assert_eq!(queue.put_nowait(2), Err(PutError::Store("is_full")));
    queue.store().fails.set("get");
    assert_eq!(queue.get_nowait(), Err(GetError::Store("get")));
    assert_eq!(queue.shutdown(true), Err("get"));
    queue.store().fails.set("is_empty");
    assert_eq!(queue.get_nowait(), Err(GetError::Store("is_empty")));
    queue.store().fails.set("");
    assert_eq!(queue.get_nowait(), Ok(1));
    assert!(queue.is_shut_down());
}

#[test]
fn a_store_may_refuse_the_wait() {
    let queue = Queue::new(Failing::default());
    queue.store().fails.set("before_waiting");
    let mut executor = Executor::new();
    executor.spawn(async {
        assert_eq!(queue.until_item().await, Err(WaitError::Store("before_waiting")));
        for item in [1, 2] {
            queue.put(item).await.unwrap();
        }
        assert_eq!(queue.put(3).await, Err(PutError::Store("before_waiting")));
    });
    executor.run();
    assert!(executor.is_done(0));
    assert_eq!((queue.getters().len(), queue.putters().len()), (0, 0));
}

#[test]
fn a_store_that_cannot_tell_costs_nobody_a_wake_up() {
    let queue = Queue::new(Failing::default());
    let mut executor = Executor::new();
    let first = executor.spawn(async {
        queue.get().await.unwrap();
    });
    let second = executor.spawn(async {
        queue.get().await.unwrap();
    });
    executor.run();
    queue.put_nowait(1).unwrap();
    queue.store().fails.set("is_empty");
    executor.cancel(first);
    queue.store().fails.set("");
    executor.run();
    assert!(executor.is_done(second));
}

/// An item that looks into its queue when it is dropped.
struct Curious(Rc<Queue<Fifo<Curious>>>, Rc<Cell<usize>>);

impl Drop for Curious {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        drop(self.0.get_nowait());
    }
}

#[test]
fn items_may_come_back_into_the_queue_while_they_are_dropped() {
    let queue = Rc::new(Queue::new(Fifo::new(0)));
    let dropped = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let item = Curious(Rc::clone(&queue), Rc::clone(&dropped));
        assert!(queue.put_nowait(item).is_ok());
    }
    queue.shutdown(true).unwrap();
    assert_eq!(dropped.get(), 5);
    assert!(queue.store().is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Put(bool),
    Get(bool),
    Done,
    Cancel(usize),
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Put),
        4 => any::<bool>().prop_map(Step::Get),
        2 => Just(Step::Done),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => Just(Step::Run),
    ]
}

proptest! {
    /// However puts, gets and cancellations are mixed: items come out once each, in order, never more than maxsize are
    /// inside, and at rest nobody waits for what is there.
    #[test]
    fn nothing_is_lost_or_doubled(maxsize in 0_usize..4, steps in prop::collection::vec(step(), 1..80)) {
        let queue = fifo(maxsize);
        let got = Rc::new(RefCell::new(Vec::new()));
        let put = Rc::new(RefCell::new(Vec::new()));
        let mut executor = Executor::new();
        let (mut tasks, mut next, mut unfinished) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Put(waiting) => {
                    let item = next;
                    next += 1;
                    let (queue, put) = (Rc::clone(&queue), Rc::clone(&put));
                    if waiting {
                        executor.spawn(async move {
                            queue.put(item).await.unwrap();
                            put.borrow_mut().push(item);
                        });
                        tasks += 1;
                    } else if queue.put_nowait(item).is_ok() {
                        put.borrow_mut().push(item);
                    }
                }
                Step::Get(waiting) => {
                    let (queue, got) = (Rc::clone(&queue), Rc::clone(&got));
                    if waiting {
                        executor.spawn(async move {
                            let item = queue.get().await.unwrap();
                            got.borrow_mut().push(item);
                        });
                        tasks += 1;
                    } else if let Ok(item) = queue.get_nowait() {
                        got.borrow_mut().push(item);
                    }
                }
                Step::Done => {
                    let done = queue.task_done().is_ok();
                    prop_assert_eq!(done, put.borrow().len() > unfinished);
                    unfinished += usize::from(done);
                }
                Step::Cancel(task) if tasks > 0 => executor.cancel(task % tasks),
                Step::Cancel(_) => {}
                Step::Run => {
                    executor.run();
                    let (items, getters, putters) =
                        (queue.store().len(), queue.getters().len(), queue.putters().len());
                    prop_assert!(getters == 0 || items == 0, "{getters} wait for {items} items");
                    prop_assert!(putters == 0 || (maxsize > 0 && items >= maxsize), "{putters} wait for room");
                }
            }
            prop_assert!(maxsize == 0 || queue.store().len() <= maxsize);
            prop_assert_eq!(queue.unfinished(), put.borrow().len() - unfinished);
            prop_assert_eq!(&put.borrow()[..got.borrow().len()], &got.borrow()[..]);
            prop_assert_eq!(put.borrow().len() - got.borrow().len(), queue.store().len());
        }
    }
}
