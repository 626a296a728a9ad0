//! `Condition`: in every way in which a few tasks can run and be cancelled, who waits goes on with the lock in hand,
//! and no notification is lost.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use sabio_sync::{Catch, Condition, Lock, Monitor};
use support::Executor;
use support::model::{Cancelled, Model, This};

/// The lock of a condition in the hands of a task of the model.
struct Hands {
    lock: Lock,
    task: This,
}

impl Catch for Hands {
    type Error = Cancelled;

    fn catch<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Cancelled>> {
        self.task.catch(future)
    }

    fn is_cancellation(&self, _: &Cancelled) -> bool {
        true
    }
}

impl Monitor for Hands {
    fn release(&self) -> Result<(), Cancelled> {
        self.lock.release().unwrap();
        Ok(())
    }

    async fn acquire(&self) -> Result<(), Cancelled> {
        self.task.catch(self.lock.acquire()).await
    }

    fn try_acquire(&self) -> bool {
        self.lock.try_acquire()
    }
}

/// Takes an item as soon as there is one; whatever happens, gives the lock back.
async fn consume(hands: Hands, condition: Condition, items: Rc<Cell<i32>>) {
    if Monitor::acquire(&hands).await.is_err() {
        return;
    }
    let outcome = async {
        while items.get() == 0 {
            condition.wait(&hands).await?;
            assert!(hands.lock.locked());
        }
        items.set(items.get() - 1);
        Ok::<_, Cancelled>(())
    };
    let _ = outcome.await;
    // A task goes on with the lock in hand, also after it was cancelled.
    hands.lock.release().unwrap();
}

fn explore(model: Model, consumers: &[&'static str], items: i32) -> usize {
    model.explore(|program| {
        let (lock, condition) = (Lock::new(), Condition::new());
        let produced = Rc::new(Cell::new(0));
        for name in consumers {
            let (lock, condition, items) = (lock.clone(), condition.clone(), Rc::clone(&produced));
            program.task(name, |task| consume(Hands { lock, task }, condition, items));
        }
        for _ in 0..items {
            let (lock, condition, items) = (lock.clone(), condition.clone(), Rc::clone(&produced));
            program.task("produce", |_| async move {
                lock.acquire().await;
                items.set(items.get() + 1);
                condition.notify(1);
                lock.release().unwrap();
            });
        }
        program.at_rest(move |waiting| {
            assert!(!lock.locked());
            assert_eq!(lock.waiters().inside(), 0);
            assert_eq!(condition.waiters().inside(), waiting.len());
            assert!(
                waiting.is_empty() || produced.get() == 0,
                "{waiting:?} wait while there are items"
            );
        });
    })
}

#[test]
fn no_notification_is_lost() {
    explore(Model::new(), &["a", "b"], 2);
    explore(Model::new().needless_polls(2), &["a", "b"], 1);
    explore(Model::new().any_order(), &["a", "b"], 2);
}

#[test]
fn a_cancelled_task_takes_its_lock_back_and_notifies_another_one() {
    explore(Model::new().cancels(1), &["a", "b"], 2);
    explore(Model::new().cancels(2), &["a", "b"], 1);
    explore(Model::new().cancels(1), &["a", "b", "c"], 1);
    explore(Model::new().cancels(2).any_order(), &["a", "b"], 1);
}

#[test]
fn tasks_are_notified_in_the_order_in_which_they_came() {
    let (lock, condition) = (Lock::new(), Condition::new());
    let order = std::cell::RefCell::new(Vec::new());
    let mut executor = Executor::new();
    for name in 0..4 {
        let (lock, condition, order) = (lock.clone(), condition.clone(), &order);
        executor.spawn(async move {
            lock.acquire().await;
            let Ok(()) = condition.wait(&lock).await;
            order.borrow_mut().push(name);
            lock.release().unwrap();
        });
    }
    executor.run();
    assert!(lock.try_acquire());
    condition.notify(2);
    executor.run();
    assert!(order.borrow().is_empty());
    lock.release().unwrap();
    executor.run();
    assert_eq!(*order.borrow(), [0, 1]);
    condition.notify(100);
    executor.run();
    assert_eq!(*order.borrow(), [0, 1, 2, 3]);
}

#[test]
fn a_wait_that_is_dropped_takes_a_free_lock_back_and_passes_its_notification_on() {
    let (lock, condition) = (Lock::new(), Condition::new());
    let mut executor = Executor::new();
    let mut spawn = || {
        let (lock, condition) = (lock.clone(), condition.clone());
        let task = executor.spawn(async move {
            lock.acquire().await;
            let Ok(()) = condition.wait(&lock).await;
        });
        executor.run();
        task
    };
    let (first, second) = (spawn(), spawn());
    condition.notify(1);
    executor.cancel(first);
    // The task of the dropped wait is about to release the lock that it believes to hold.
    assert!(lock.locked());
    lock.release().unwrap();
    executor.run();
    assert!(executor.is_done(second));
}
