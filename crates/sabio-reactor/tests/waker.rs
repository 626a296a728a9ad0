//! The waker with a real eventfd: from many threads, coalesced, and after the reactor is gone.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sabio_reactor::{Events, Token};
use support::{new_reactor, turn};

#[test]
fn no_wake_up_of_many_threads_is_lost() {
    const THREADS: usize = 8;
    const EACH: usize = 20_000;
    let reactor = new_reactor();
    let queued = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (waker, queued) = (reactor.waker(), Arc::clone(&queued));
            thread::spawn(move || {
                for _ in 0..EACH {
                    queued.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            })
        })
        .collect();
    let mut done = 0;
    let mut turns = 0;
    let mut events = Events::new();
    while done < THREADS * EACH {
        // A lost wake-up ends here, with an empty wait.
        reactor
            .poller()
            .wait(&mut events, Some(Duration::from_secs(20)))
            .unwrap();
        assert!(
            !events.is_empty(),
            "nothing in 20 seconds after {done} of {}",
            THREADS * EACH
        );
        for event in &events {
            reactor.fire(event);
        }
        done += queued.swap(0, Ordering::Relaxed);
        turns += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(turns <= THREADS * EACH);
}

#[test]
fn a_wake_up_before_the_wait_ends_it_at_once_and_only_once() {
    let reactor = new_reactor();
    for _ in 0..1000 {
        reactor.waker().wake();
    }
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(
        events.iter().map(|event| event.token).collect::<Vec<_>>(),
        [Token::WAKER]
    );
    for event in &events {
        reactor.fire(event);
    }
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
}

#[test]
fn a_wake_up_ends_a_wait_that_is_under_way() {
    let reactor = new_reactor();
    let waker = reactor.waker();
    let start = Instant::now();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    turn(&reactor, 20_000);
    assert!(start.elapsed() < Duration::from_secs(10));
    thread.join().unwrap();
}

#[test]
fn a_waker_that_outlives_its_reactor_wakes_nothing_else() {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    let reactor = new_reactor();
    let waker = reactor.waker();
    let number = waker.descriptor().unwrap();
    drop(reactor.close());
    assert_eq!(waker.descriptor(), None);
    // Whoever has the number now, no stray write must reach it.
    let pairs: Vec<_> = (0..20).map(|_| UnixStream::pair().unwrap()).collect();
    waker.wake();
    for (near, far) in &pairs {
        for (one, other) in [(near, far), (far, near)] {
            if one.as_raw_fd() == number {
                let mut other = other.try_clone().unwrap();
                other.set_nonblocking(true).unwrap();
                assert!(other.read(&mut [0; 8]).is_err());
            }
        }
    }
}
