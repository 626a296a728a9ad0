//! Wakers for other threads: the task's own waker stays at home.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker as TaskWaker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use sabio_reactor::{Events, RemoteWakers, remote};
use sabio_sync::oneshot;
use support::{Counter, TestReactor, new_reactor};

/// Notes the threads on which it is woken and dropped.
struct Homebody {
    touched: Arc<Mutex<Vec<ThreadId>>>,
}

impl Homebody {
    fn note(&self) {
        self.touched.lock().unwrap().push(thread::current().id());
    }
}

impl Wake for Homebody {
    fn wake(self: Arc<Self>) {
        self.note();
    }
}

impl Drop for Homebody {
    fn drop(&mut self) {
        self.note();
    }
}

fn wait_and_drain(reactor: &TestReactor, wakers: &RemoteWakers) -> usize {
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_secs(20)))
        .unwrap();
    assert!(!events.is_empty(), "no wake-up in 20 seconds");
    for event in &events {
        reactor.fire(event);
    }
    wakers.drain()
}

#[test]
fn a_tasks_waker_never_leaves_its_thread() {
    let reactor = new_reactor();
    let wakers = RemoteWakers::new(reactor.waker());
    let touched = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..50 {
        let (sender, receiver) = oneshot::channel();
        let task = TaskWaker::from(Arc::new(Homebody {
            touched: Arc::clone(&touched),
        }));
        let mut waits = pin!(remote(wakers.clone(), receiver));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        drop(task);
        let worker = thread::spawn(move || sender.send(6));
        assert_eq!(wait_and_drain(&reactor, &wakers), 1);
        let polled = waits.as_mut().poll(&mut Context::from_waker(TaskWaker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(6)));
        worker.join().unwrap();
    }
    assert!(wakers.is_empty());
    let touched = touched.lock().unwrap();
    assert_eq!(touched.len(), 100);
    assert!(touched.iter().all(|touch| *touch == thread::current().id()));
}

#[test]
fn giving_up_lets_the_tasks_waker_go_while_the_work_goes_on() {
    let reactor = new_reactor();
    let wakers = RemoteWakers::new(reactor.waker());
    let (sender, receiver) = oneshot::channel::<()>();
    let counter = Counter::new();
    let mut waits = Box::pin(remote(wakers.clone(), receiver));
    assert!(counter.poll(&mut waits).is_pending());
    assert_eq!((Arc::strong_count(&counter), wakers.len()), (2, 1));
    drop(waits);
    assert_eq!((Arc::strong_count(&counter), wakers.len()), (1, 0));
    assert!(sender.is_closed());
    sender.send(());
    assert_eq!(wakers.drain(), 0);
    assert_eq!(counter.woken(), 0);
}

#[test]
fn a_stand_in_that_outlives_its_task_wakes_nobody() {
    let reactor = new_reactor();
    let wakers = RemoteWakers::new(reactor.waker());
    let counter = Counter::new();
    let wrapped = wakers.wrap(TaskWaker::from(Arc::clone(&counter)));
    let stand_in = wrapped.waker().clone();
    drop(wrapped);
    // The next one must not be taken for it.
    let next = wakers.wrap(TaskWaker::from(Arc::clone(&counter)));
    thread::spawn(move || stand_in.wake()).join().unwrap();
    assert_eq!(wait_and_drain(&reactor, &wakers), 0);
    assert_eq!(counter.woken(), 0);
    next.waker().wake_by_ref();
    assert_eq!(wait_and_drain(&reactor, &wakers), 1);
    assert_eq!(counter.woken(), 1);
}

#[test]
fn many_wake_ups_of_one_stand_in_are_one() {
    let reactor = new_reactor();
    let wakers = RemoteWakers::new(reactor.waker());
    let counter = Counter::new();
    let wrapped = wakers.wrap(TaskWaker::from(Arc::clone(&counter)));
    for _ in 0..100 {
        wrapped.waker().wake_by_ref();
    }
    assert_eq!(wakers.drain(), 1);
    assert_eq!(counter.woken(), 1);
    // Woken again without having been told of a task: there is none to wake.
    wrapped.waker().wake_by_ref();
    assert_eq!(wakers.drain(), 0);
    wrapped.set_task(&TaskWaker::from(Arc::clone(&counter)));
    wrapped.waker().wake_by_ref();
    assert_eq!(wakers.drain(), 1);
    assert_eq!(counter.woken(), 2);
}

#[test]
fn no_answer_of_many_threads_is_lost() {
    let reactor = new_reactor();
    let wakers = RemoteWakers::new(reactor.waker());
    let mut waits: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    let mut threads = Vec::new();
    for number in 0..200_u32 {
        let (sender, receiver) = oneshot::channel();
        threads.push(thread::spawn(move || sender.send(number)));
        waits.push(Box::pin(remote(wakers.clone(), receiver)));
    }
    let counter = Counter::new();
    let mut sum = 0;
    loop {
        waits.retain_mut(|wait| match counter.poll(wait) {
            Poll::Ready(answer) => {
                sum += answer.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if waits.is_empty() {
            break;
        }
        wait_and_drain(&reactor, &wakers);
    }
    assert_eq!(sum, (0..200).sum());
    for thread in threads {
        thread.join().unwrap();
    }
}
