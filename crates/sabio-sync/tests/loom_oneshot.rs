//! Every interleaving of the one-value channel: `RUSTFLAGS="--cfg loom" cargo test --release`.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;
use sabio_sync::oneshot::{self, Closed};

#[test]
fn a_value_is_always_delivered() {
    loom::model(|| {
        let (sender, receiver) = oneshot::channel();
        let worker = thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver), Ok(7));
        worker.join().unwrap();
    });
}

#[test]
fn a_sender_that_goes_away_is_always_noticed() {
    loom::model(|| {
        let (sender, receiver) = oneshot::channel::<u8>();
        let worker = thread::spawn(move || drop(sender));
        assert_eq!(block_on(receiver), Err(Closed));
        worker.join().unwrap();
    });
}

#[test]
fn a_receiver_that_goes_away_leaves_the_value_dropped_once() {
    loom::model(|| {
        let value = std::sync::Arc::new(());
        let (sender, mut receiver) = oneshot::channel();
        let sent = value.clone();
        let worker = thread::spawn(move || {
            let _ = sender.is_closed();
            sender.send(sent);
        });
        let polled = pin!(&mut receiver).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(received) = polled {
            drop(received);
        }
        drop(receiver);
        worker.join().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_change_of_wakers_loses_no_wake_up() {
    loom::model(|| {
        let (sender, mut receiver) = oneshot::channel();
        let worker = thread::spawn(move || sender.send(1));
        // Polled with one waker, then awaited with another.
        let value = match pin!(&mut receiver).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => block_on(receiver),
        };
        assert_eq!(value, Ok(1));
        worker.join().unwrap();
    });
}
