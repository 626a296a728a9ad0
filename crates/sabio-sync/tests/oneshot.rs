//! The one-value channel: delivery, closing, and that nothing foreign runs under its lock.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use sabio_sync::oneshot::{self, Closed, Receiver, Sender};
use support::Counter;

fn poll_once<T>(receiver: &mut Receiver<T>, counter: &Arc<Counter>) -> Poll<Result<T, Closed>> {
    let waker = Waker::from(Arc::clone(counter));
    pin!(receiver).poll(&mut Context::from_waker(&waker))
}

#[test]
fn a_value_sent_before_is_there_at_the_first_poll() {
    let (sender, mut receiver) = oneshot::channel();
    sender.send(7);
    let counter = Counter::new();
    assert_eq!(poll_once(&mut receiver, &counter), Poll::Ready(Ok(7)));
    assert_eq!(poll_once(&mut receiver, &counter), Poll::Ready(Err(Closed)));
    assert_eq!(counter.woken(), 0);
}

#[test]
fn a_value_sent_later_wakes_the_newest_waker_once() {
    let (sender, mut receiver) = oneshot::channel();
    let (old, new) = (Counter::new(), Counter::new());
    assert!(poll_once(&mut receiver, &old).is_pending());
    assert!(poll_once(&mut receiver, &new).is_pending());
    sender.send("value");
    assert_eq!((old.woken(), new.woken()), (0, 1));
    assert_eq!(poll_once(&mut receiver, &new), Poll::Ready(Ok("value")));
}

#[test]
fn a_dropped_sender_closes_the_channel() {
    let (sender, mut receiver) = oneshot::channel::<()>();
    let counter = Counter::new();
    assert!(poll_once(&mut receiver, &counter).is_pending());
    drop(sender);
    assert_eq!(counter.woken(), 1);
    assert_eq!(poll_once(&mut receiver, &counter), Poll::Ready(Err(Closed)));
}

#[test]
fn the_collector_sees_who_waits() {
    let (sender, mut receiver) = oneshot::channel::<()>();
    let (old, new) = (Counter::new(), Counter::new());
    // It would only look; waking tells who it is.
    let wake_all_seen = || {
        let mut seen = Vec::new();
        sender.visit(&mut |waker| seen.push(waker.clone()));
        seen.into_iter().for_each(Waker::wake);
        (old.woken(), new.woken())
    };
    assert_eq!(wake_all_seen(), (0, 0));
    assert!(poll_once(&mut receiver, &old).is_pending());
    assert!(poll_once(&mut receiver, &new).is_pending());
    assert_eq!(wake_all_seen(), (0, 1));
    drop(receiver);
    assert_eq!(wake_all_seen(), (0, 1));
}

#[test]
fn a_sender_learns_that_nobody_waits_any_more() {
    let (sender, receiver) = oneshot::channel();
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(sender.is_closed());
    sender.send(Arc::new(1));
}

#[test]
fn a_value_that_nobody_took_is_dropped_once() {
    let value = Arc::new(());
    let (sender, receiver) = oneshot::channel();
    sender.send(Arc::clone(&value));
    assert_eq!(Arc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

/// Asks the channel from inside of a wake-up, which would hang if the lock were held.
struct Inside {
    receiver: Mutex<Option<Receiver<i32>>>,
    received: Mutex<Option<Poll<Result<i32, Closed>>>>,
}

impl Wake for Inside {
    fn wake(self: Arc<Self>) {
        let mut receiver = self.receiver.lock().unwrap().take().unwrap();
        *self.received.lock().unwrap() = Some(poll_once(&mut receiver, &Counter::new()));
    }
}

#[test]
fn the_receiver_is_woken_outside_of_the_lock() {
    let (sender, mut receiver) = oneshot::channel();
    let inside = Arc::new(Inside {
        receiver: Mutex::new(None),
        received: Mutex::new(None),
    });
    let waker = Waker::from(Arc::clone(&inside));
    assert!(
        pin!(&mut receiver)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *inside.receiver.lock().unwrap() = Some(receiver);
    sender.send(3);
    assert_eq!(*inside.received.lock().unwrap(), Some(Poll::Ready(Ok(3))));
}

/// Asks the channel when it is dropped, be it as a value or as a waker.
struct AsksWhenDropped(Arc<Mutex<Option<Sender<i32>>>>);

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        let sender = self.0.lock().unwrap().take();
        assert!(sender.is_some_and(|sender| sender.is_closed()));
    }
}

impl Wake for AsksWhenDropped {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_dropped_receiver_drops_its_waker_outside_of_the_lock() {
    let (sender, mut receiver) = oneshot::channel::<i32>();
    let shared = Arc::new(Mutex::new(Some(sender)));
    let waker = Waker::from(Arc::new(AsksWhenDropped(Arc::clone(&shared))));
    assert!(
        pin!(&mut receiver)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    drop(receiver);
    assert!(shared.lock().unwrap().is_none());
}

#[test]
fn values_cross_threads() {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    for delay in [0, 0, 0, 1] {
        let (sender, mut receiver) = oneshot::channel();
        let worker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(delay));
            sender.send(vec![1, 2, 3]);
        });
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let value = loop {
            match pin!(&mut receiver).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => break value,
                Poll::Pending => thread::park_timeout(Duration::from_secs(10)),
            }
        };
        assert_eq!(value, Ok(vec![1, 2, 3]));
        worker.join().unwrap();
    }
}
