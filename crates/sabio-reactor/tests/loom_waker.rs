//! Every interleaving of waking the reactor: `RUSTFLAGS="--cfg loom" cargo test --release`.
//!
//! A lost wake-up shows as a reactor that waits for ever, which the model checker reports as a deadlock.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sabio_reactor::Waker;

/// Sleeps and resets as the loop does, until `expected` pieces of work have been seen.
fn run_reactor(waker: &Waker, queued: &AtomicUsize, expected: usize) {
    let mut done = 0;
    while done < expected {
        waker.wait_readable();
        waker.reset();
        done += queued.swap(0, Ordering::Relaxed);
    }
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let waker = Waker::new().unwrap();
        let queued = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let (waker, queued) = (waker.clone(), Arc::clone(&queued));
                thread::spawn(move || {
                    queued.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                })
            })
            .collect();
        run_reactor(&waker, &queued, 2);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// Three, because it takes one wake-up to wake the reactor, one to come in the middle of its reset, and one
/// more to be lost if that left the flag set.
#[test]
fn a_producer_that_wakes_three_times_loses_none() {
    loom::model(|| {
        let waker = Waker::new().unwrap();
        let queued = Arc::new(AtomicUsize::new(0));
        let producer = {
            let (waker, queued) = (waker.clone(), Arc::clone(&queued));
            thread::spawn(move || {
                for _ in 0..3 {
                    queued.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            })
        };
        run_reactor(&waker, &queued, 3);
        producer.join().unwrap();
    });
}

#[test]
fn many_wake_ups_make_one_write_until_the_reactor_has_seen_it() {
    loom::model(|| {
        let waker = Waker::new().unwrap();
        let producers: Vec<_> = (0..2)
            .map(|_| {
                let waker = waker.clone();
                thread::spawn(move || waker.wake())
            })
            .collect();
        waker.wake();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(waker.signals(), 1);
        waker.reset();
        assert_eq!(waker.signals(), 0);
        waker.wake();
        assert_eq!(waker.signals(), 1);
    });
}
