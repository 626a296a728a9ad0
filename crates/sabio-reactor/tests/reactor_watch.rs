//! Watches: handles, futures, both at once, and descriptors that the user closed without a word.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sabio_reactor::{Events, Fired, Reactor, Readiness};
use support::{Counter, TestReactor, errno, new_reactor, reuse_number, turn};

type Watched = (Option<&'static str>, Option<&'static str>);

/// The handles that fired, of one watch.
fn watch(fired: &[Fired<&'static str, &'static str>]) -> Watched {
    match fired {
        [Fired::Watch { reader, writer }] => (*reader, *writer),
        [] => (None, None),
        other => panic!("{other:?}"),
    }
}

fn ended_with(polled: Poll<std::io::Result<()>>) -> Option<i32> {
    match polled {
        Poll::Ready(result) => errno(result),
        Poll::Pending => panic!("still waits"),
    }
}

fn is_ok(polled: &Poll<std::io::Result<()>>) -> bool {
    matches!(polled, Poll::Ready(Ok(())))
}

/// A pair whose near end has nothing to read and no room to write.
fn full_pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    while (&near).write(&[0; 4096]).is_ok() {}
    (near, far)
}

fn drain(stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut stream = stream;
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

#[test]
fn handles_are_called_for_their_direction_until_removed() {
    let reactor = new_reactor();
    let (near, mut far) = full_pair();
    let fd = near.as_raw_fd();
    assert_eq!(reactor.add_reader(fd, "reader").unwrap(), None);
    assert_eq!(reactor.add_writer(fd, "writer").unwrap(), None);
    assert_eq!(watch(&turn(&reactor, 0)), (None, None));
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), None));
    drain(&far);
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), Some("writer")));
    assert_eq!(reactor.remove_reader(fd), Some("reader"));
    assert_eq!(watch(&turn(&reactor, 1000)), (None, Some("writer")));
    assert_eq!(reactor.remove_writer(fd), Some("writer"));
    assert_eq!(watch(&turn(&reactor, 0)), (None, None));
    assert_eq!(
        (reactor.remove_reader(fd), reactor.remove_writer(fd)),
        (None, None)
    );
}

#[test]
fn a_new_handle_takes_the_place_of_the_old_one() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    assert_eq!(reactor.add_reader(near.as_raw_fd(), "first").unwrap(), None);
    assert_eq!(
        reactor.add_reader(near.as_raw_fd(), "second").unwrap(),
        Some("first")
    );
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("second"), None));
}

#[test]
fn a_hangup_calls_both_handles() {
    let reactor = new_reactor();
    let (near, far) = UnixStream::pair().unwrap();
    reactor.add_reader(near.as_raw_fd(), "reader").unwrap();
    reactor.add_writer(near.as_raw_fd(), "writer").unwrap();
    drop(far);
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), Some("writer")));
}

#[test]
fn what_cannot_be_watched_says_why() {
    let reactor = new_reactor();
    let file = File::open("/proc/self/exe").unwrap();
    for (fd, expected) in [
        (file.as_raw_fd(), libc::EPERM),
        (-1, libc::EBADF),
        (i32::MAX, libc::EBADF),
    ] {
        assert_eq!(errno(reactor.add_reader(fd, "reader")), Some(expected));
        assert_eq!(errno(reactor.add_writer(fd, "writer")), Some(expected));
        let counter = Counter::new();
        assert_eq!(
            ended_with(counter.poll(&mut reactor.readable(fd))),
            Some(expected)
        );
        assert_eq!(
            ended_with(counter.poll(&mut reactor.writable(fd))),
            Some(expected)
        );
        assert_eq!(reactor.remove_reader(fd), None);
    }
}

#[test]
fn futures_end_when_their_direction_is_ready() {
    let reactor = new_reactor();
    let (near, mut far) = full_pair();
    let fd = near.as_raw_fd();
    let (reads, writes) = (Counter::new(), Counter::new());
    let (mut readable, mut writable) = (reactor.readable(fd), reactor.writable(fd));
    assert!(reads.poll(&mut readable).is_pending());
    assert!(writes.poll(&mut writable).is_pending());
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (None, None));
    assert_eq!((reads.woken(), writes.woken()), (1, 0));
    assert!(is_ok(&reads.poll(&mut readable)));
    assert!(writes.poll(&mut writable).is_pending());
    drain(&far);
    turn(&reactor, 1000);
    assert_eq!(writes.woken(), 1);
    assert!(is_ok(&writes.poll(&mut writable)));
    // Still readable and writable, but nobody waits: silence.
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
}

#[test]
fn a_loop_of_waits_hears_of_each_message() {
    let reactor = new_reactor();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let counter = Counter::new();
    for round in 1..=50 {
        let mut readable = reactor.readable(near.as_raw_fd());
        assert!(counter.poll(&mut readable).is_pending());
        far.write_all(b"x").unwrap();
        turn(&reactor, 1000);
        assert_eq!(counter.woken(), round);
        assert!(is_ok(&counter.poll(&mut readable)));
        near.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn many_futures_and_a_handle_share_a_descriptor() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let counters: Vec<_> = (0..5).map(|_| Counter::new()).collect();
    let mut futures: Vec<_> = counters.iter().map(|_| reactor.readable(fd)).collect();
    for (counter, future) in counters.iter().zip(&mut futures) {
        assert!(counter.poll(future).is_pending());
    }
    reactor.add_reader(fd, "reader").unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), None));
    for (counter, future) in counters.iter().zip(&mut futures) {
        assert_eq!(counter.woken(), 1);
        assert!(is_ok(&counter.poll(future)));
    }
    // The handle goes on hearing of it, the futures do not.
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), None));
    assert!(counters.iter().all(|counter| counter.woken() == 1));
    // Without the handle a new future still hears of it.
    let mut late = reactor.readable(fd);
    assert!(counters[0].poll(&mut late).is_pending());
    reactor.remove_reader(fd);
    turn(&reactor, 1000);
    assert!(is_ok(&counters[0].poll(&mut late)));
}

#[test]
fn a_dropped_future_is_forgotten() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let counter = Counter::new();
    let mut first = reactor.readable(near.as_raw_fd());
    let mut second = reactor.readable(near.as_raw_fd());
    assert!(counter.poll(&mut first).is_pending());
    assert!(counter.poll(&mut second).is_pending());
    assert_eq!(Arc::strong_count(&counter), 3);
    drop(first);
    assert_eq!(Arc::strong_count(&counter), 2);
    drop(second);
    assert_eq!(Arc::strong_count(&counter), 1);
    far.write_all(b"x").unwrap();
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
    assert_eq!(counter.woken(), 0);
}

#[test]
fn a_future_that_has_ended_stays_ended_when_the_watch_changes() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let counter = Counter::new();
    let mut readable = reactor.readable(fd);
    assert!(counter.poll(&mut readable).is_pending());
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    reactor.add_writer(fd, "writer").unwrap();
    reactor.remove_writer(fd);
    assert!(is_ok(&counter.poll(&mut readable)));
}

#[test]
fn the_newest_waker_of_a_future_is_the_one_that_is_woken() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let (old, new) = (Counter::new(), Counter::new());
    let mut readable = reactor.readable(near.as_raw_fd());
    assert!(old.poll(&mut readable).is_pending());
    assert!(new.poll(&mut readable).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    assert_eq!((old.woken(), new.woken()), (0, 1));
}

#[test]
fn a_future_on_a_reused_number_fails_and_the_new_one_waits() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let (old, new) = (Counter::new(), Counter::new());
    let mut stale = reactor.readable(fd);
    assert!(old.poll(&mut stale).is_pending());
    let (near, mut far) = reuse_number(near);
    let mut fresh = reactor.readable(near.as_raw_fd());
    assert!(new.poll(&mut fresh).is_pending());
    assert_eq!(old.woken(), 1);
    assert_eq!(ended_with(old.poll(&mut stale)), Some(libc::EBADF));
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    assert_eq!((old.woken(), new.woken()), (1, 1));
    assert!(is_ok(&new.poll(&mut fresh)));
}

#[test]
fn a_future_on_a_closed_descriptor_fails_as_soon_as_anyone_asks() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let counter = Counter::new();
    let mut stale = reactor.readable(fd);
    assert!(counter.poll(&mut stale).is_pending());
    // Under this number there is now what cannot be watched at all.
    let mut descriptor = std::os::fd::OwnedFd::from(near);
    rustix::io::dup2(File::open("/proc/self/exe").unwrap(), &mut descriptor).unwrap();
    assert_eq!(errno(reactor.add_reader(fd, "reader")), Some(libc::EPERM));
    assert_eq!(counter.woken(), 1);
    assert_eq!(ended_with(counter.poll(&mut stale)), Some(libc::EBADF));
}

#[test]
fn handles_of_a_closed_descriptor_do_not_fire_for_the_next_one() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    reactor.add_reader(fd, "old reader").unwrap();
    reactor.add_writer(fd, "old writer").unwrap();
    let (near, mut far) = reuse_number(near);
    // The handle of the same direction is given back, as it would be without the reuse.
    assert_eq!(
        reactor.add_reader(near.as_raw_fd(), "new reader").unwrap(),
        Some("old reader")
    );
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("new reader"), None));
    assert_eq!(reactor.remove_writer(fd), None);
}

#[test]
fn adding_the_same_handle_again_heals_a_watch_on_a_reused_number() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    reactor.add_reader(near.as_raw_fd(), "reader").unwrap();
    let (near, mut far) = reuse_number(near);
    reactor.add_reader(near.as_raw_fd(), "reader").unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(watch(&turn(&reactor, 1000)), (Some("reader"), None));
}

#[test]
fn a_wait_after_a_silent_reuse_is_heard() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let counter = Counter::new();
    // An ended wait leaves a resting registration behind.
    let mut readable = reactor.readable(near.as_raw_fd());
    assert!(counter.poll(&mut readable).is_pending());
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    assert!(is_ok(&counter.poll(&mut readable)));
    let (near, mut far) = reuse_number(near);
    let mut readable = reactor.readable(near.as_raw_fd());
    assert!(counter.poll(&mut readable).is_pending());
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    assert!(is_ok(&counter.poll(&mut readable)));
}

#[test]
fn a_number_that_went_to_a_source_and_came_back_can_be_watched() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let counter = Counter::new();
    let mut writable = reactor.writable(fd);
    assert!(counter.poll(&mut writable).is_pending());
    turn(&reactor, 1000);
    assert!(is_ok(&counter.poll(&mut writable)));
    let token = reactor
        .register(fd, sabio_reactor::Interest::READABLE, "source")
        .unwrap();
    assert_eq!(reactor.deregister(token), Some("source"));
    let mut readable = reactor.readable(fd);
    assert!(counter.poll(&mut readable).is_pending());
    far.write_all(b"x").unwrap();
    turn(&reactor, 1000);
    assert!(is_ok(&counter.poll(&mut readable)));
}

thread_local! {
    static SHARED: RefCell<Option<Rc<Reactor<&'static str, &'static str>>>> = const { RefCell::new(None) };
    static AGAIN: RefCell<Option<Readiness<&'static str, &'static str>>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Uses the reactor when it is woken and again when it is dropped, as foreign code may.
struct Meddler {
    fd: i32,
}

impl Meddler {
    fn meddle(&self) {
        let reactor = SHARED.with(|shared| shared.borrow().clone()).unwrap();
        let mut again = reactor.readable(self.fd);
        assert!(Counter::new().poll(&mut again).is_pending());
        reactor.add_writer(self.fd, "writer").unwrap();
        reactor.remove_writer(self.fd);
        let key = reactor.schedule(sabio_reactor::Nanos(3), "timer");
        assert_eq!(reactor.cancel(key), Some("timer"));
        let old = AGAIN.with(|slot| slot.borrow_mut().replace(again));
        drop(old);
        CALLS.with(|calls| calls.set(calls.get() + 1));
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

fn poll_as_meddler<F: Future + Unpin>(future: &mut F, fd: i32) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Meddler { fd }));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn calls() -> usize {
    CALLS.with(Cell::get)
}

#[test]
fn wakers_may_call_back_when_they_are_woken_replaced_and_dropped() {
    let reactor = new_reactor();
    SHARED.with(|shared| shared.replace(Some(Rc::clone(&reactor))));
    let (near, mut far) = UnixStream::pair().unwrap();
    let (other, _other_far) = UnixStream::pair().unwrap();
    for meddled_with in [near.as_raw_fd(), other.as_raw_fd()] {
        CALLS.with(|calls| calls.set(0));
        let mut waits = reactor.readable(near.as_raw_fd());
        assert!(poll_as_meddler(&mut waits, meddled_with).is_pending());
        // Replaced: the first one is dropped.
        assert!(poll_as_meddler(&mut waits, meddled_with).is_pending());
        assert_eq!(calls(), 1);
        // Woken, then dropped.
        far.write_all(b"x").unwrap();
        turn(&reactor, 1000);
        assert_eq!(calls(), 3);
        (&near).read_exact(&mut [0]).unwrap();
        // Dropped with its future.
        let mut waits = reactor.readable(near.as_raw_fd());
        assert!(poll_as_meddler(&mut waits, meddled_with).is_pending());
        drop(waits);
        assert_eq!(calls(), 4);
        // A sleeper: replaced, dropped with its future, and given out when due.
        let mut sleeps = reactor.sleep_until(sabio_reactor::Nanos(1));
        assert!(poll_as_meddler(&mut sleeps, meddled_with).is_pending());
        assert!(poll_as_meddler(&mut sleeps, meddled_with).is_pending());
        assert_eq!(calls(), 5);
        drop(sleeps);
        assert_eq!(calls(), 6);
        // The watch that `meddle` left behind.
        AGAIN.with(|slot| slot.borrow_mut().take());
    }
    // Woken and dropped because the number was reused.
    let mut waits = reactor.readable(near.as_raw_fd());
    assert!(poll_as_meddler(&mut waits, other.as_raw_fd()).is_pending());
    let before = calls();
    let (near, _far) = reuse_number(near);
    reactor
        .register(near.as_raw_fd(), sabio_reactor::Interest::READABLE, "source")
        .unwrap();
    assert_eq!(calls(), before + 2);
    AGAIN.with(|slot| slot.borrow_mut().take());
    SHARED.with(|shared| shared.replace(None));
}

/// A number whose first file had a reader, was closed and is still open elsewhere, and has another file now.
struct Reused {
    near: UnixStream,
    far: UnixStream,
    old_far: UnixStream,
    _elsewhere: UnixStream,
}

fn reused_by_another_file(reactor: &TestReactor) -> Reused {
    let (near, old_far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    reactor.add_reader(fd, "old").unwrap();
    let elsewhere = near.try_clone().unwrap();
    let (near, far) = reuse_number(near);
    assert_eq!(near.as_raw_fd(), fd);
    // The kernel knows nothing of this number and goes on reporting the old file.
    assert_eq!(reactor.remove_reader(fd), Some("old"));
    Reused {
        near,
        far,
        old_far,
        _elsewhere: elsewhere,
    }
}

#[test]
fn events_of_a_closed_file_that_is_open_elsewhere_are_nobody_elses() {
    let reactor = new_reactor();
    let mut number = reused_by_another_file(&reactor);
    let fd = number.near.as_raw_fd();
    reactor.add_reader(fd, "new").unwrap();
    number.old_far.write_all(b"old").unwrap();
    assert_eq!(watch(&turn(&reactor, 10)), (None, None));
    number.far.write_all(b"new").unwrap();
    let fired = turn(&reactor, 1000);
    let due = fired.iter().filter(|fired| **fired != Fired::Nothing);
    assert_eq!(due.count(), 1);
    assert_eq!(reactor.remove_reader(fd), Some("new"));
}

#[test]
fn a_future_hears_nothing_of_a_closed_file_that_is_open_elsewhere() {
    let reactor = new_reactor();
    let mut number = reused_by_another_file(&reactor);
    let counter = Counter::new();
    let mut waiting = reactor.readable(number.near.as_raw_fd());
    assert!(counter.poll(&mut waiting).is_pending());
    number.old_far.write_all(b"old").unwrap();
    turn(&reactor, 10);
    assert!(counter.poll(&mut waiting).is_pending());
    number.far.write_all(b"new").unwrap();
    turn(&reactor, 1000);
    assert!(is_ok(&counter.poll(&mut waiting)));
}
