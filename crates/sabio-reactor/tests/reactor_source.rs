//! Sources: registering, interest, stale tokens, and descriptors whose number was reused.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use sabio_reactor::{Event, Events, Fired, Interest, Reactor, Token};
use support::{Counter, TestReactor, errno, new_reactor, reuse_number, turn};

/// The one source that fired, with the directions.
fn source(fired: &[Fired<&'static str, &'static str>]) -> Option<(&'static str, bool, bool)> {
    match fired {
        [Fired::Source(name, event)] => Some((name, event.readable, event.writable)),
        [] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_hears_of_what_it_is_interested_in() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let token = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "near")
        .unwrap();
    assert_eq!(source(&turn(&reactor, 0)), None);
    far.write_all(b"x").unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("near", true, false)));
    reactor.set_interest(token, Interest::WRITABLE).unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("near", false, true)));
    reactor
        .set_interest(token, Interest::READABLE | Interest::WRITABLE)
        .unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("near", true, true)));
    assert_eq!(
        reactor.interest(token),
        Some(Interest::READABLE | Interest::WRITABLE)
    );
    assert_eq!(reactor.owner_of(near.as_raw_fd()), Some("near"));
    assert_eq!(reactor.deregister(token), Some("near"));
    assert_eq!(source(&turn(&reactor, 0)), None);
    assert_eq!(reactor.owner_of(near.as_raw_fd()), None);
}

#[test]
fn a_source_without_interest_is_not_bothered_by_a_hangup() {
    let reactor = new_reactor();
    let (near, far) = UnixStream::pair().unwrap();
    let token = reactor
        .register(near.as_raw_fd(), Interest::NONE, "near")
        .unwrap();
    drop(far);
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
    reactor.set_interest(token, Interest::READABLE).unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("near", true, false)));
    reactor.set_interest(token, Interest::NONE).unwrap();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
}

#[test]
fn a_hangup_reaches_whoever_is_interested_in_one_direction() {
    for (interest, readable) in [(Interest::READABLE, true), (Interest::WRITABLE, false)] {
        let reactor = new_reactor();
        let (near, far) = UnixStream::pair().unwrap();
        reactor.register(near.as_raw_fd(), interest, "near").unwrap();
        drop(far);
        assert_eq!(source(&turn(&reactor, 1000)), Some(("near", readable, !readable)));
    }
}

#[test]
fn an_event_of_a_deregistered_source_reaches_nobody() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let token = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "old")
        .unwrap();
    far.write_all(b"x").unwrap();
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_secs(1)))
        .unwrap();
    let event = events.get(0).unwrap();
    reactor.deregister(token);
    // The place and the number go to another at once.
    let newer = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "new")
        .unwrap();
    assert_eq!(newer.index(), token.index());
    assert_eq!(reactor.fire(event), Fired::Nothing);
    assert_eq!(reactor.deregister(token), None);
    assert_eq!(
        errno(reactor.set_interest(token, Interest::NONE)),
        Some(libc::EBADF)
    );
    assert_eq!(reactor.interest(token), None);
    assert_eq!(reactor.owner_of(near.as_raw_fd()), Some("new"));
}

#[test]
fn an_event_whose_interest_is_gone_meanwhile_reaches_nobody() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let token = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "near")
        .unwrap();
    far.write_all(b"x").unwrap();
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_secs(1)))
        .unwrap();
    reactor.set_interest(token, Interest::WRITABLE).unwrap();
    assert_eq!(reactor.fire(events.get(0).unwrap()), Fired::Nothing);
}

#[test]
fn made_up_tokens_reach_nobody() {
    let reactor = new_reactor();
    for token in [
        Token::new(0, 0),
        Token::new(u32::MAX - 1, 7),
        Token::new(12345, u32::MAX),
    ] {
        let event = Event {
            token,
            readable: true,
            writable: true,
            hangup: true,
            error: true,
        };
        assert_eq!(reactor.fire(event), Fired::Nothing);
        assert_eq!(reactor.deregister(token), None);
    }
}

#[test]
fn a_number_that_was_reused_behind_our_back_belongs_to_the_new_source() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    let old = reactor.register(fd, Interest::READABLE, "old").unwrap();
    let (near, mut far) = reuse_number(near);
    let new = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "new")
        .unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("new", true, false)));
    // The old owner cannot touch the new one's registration.
    assert_eq!(reactor.deregister(old), Some("old"));
    assert_eq!(source(&turn(&reactor, 1000)), Some(("new", true, false)));
    assert_eq!(reactor.owner_of(fd), Some("new"));
    assert_eq!(reactor.deregister(new), Some("new"));
}

#[test]
fn the_old_owner_of_a_reused_number_can_only_deregister() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let old = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "old")
        .unwrap();
    reactor
        .register(near.as_raw_fd(), Interest::READABLE, "new")
        .unwrap();
    assert_eq!(
        errno(reactor.set_interest(old, Interest::WRITABLE)),
        Some(libc::EBADF)
    );
    assert_eq!(reactor.deregister(old), Some("old"));
    assert_eq!(reactor.owner_of(near.as_raw_fd()), Some("new"));
}

#[test]
fn what_cannot_be_watched_is_not_registered() {
    let reactor = new_reactor();
    let file = File::open("/proc/self/exe").unwrap();
    assert_eq!(
        errno(reactor.register(file.as_raw_fd(), Interest::READABLE, "file")),
        Some(libc::EPERM)
    );
    assert_eq!(
        errno(reactor.register(-1, Interest::READABLE, "nothing")),
        Some(libc::EBADF)
    );
    assert_eq!(
        errno(reactor.register(i32::MAX, Interest::READABLE, "closed")),
        Some(libc::EBADF)
    );
    assert_eq!(reactor.owner_of(file.as_raw_fd()), None);
}

#[test]
fn a_source_takes_a_watched_descriptor_over() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    reactor.add_reader(fd, "reader").unwrap();
    let counter = Counter::new();
    let mut waits = reactor.readable(fd);
    assert!(counter.poll(&mut waits).is_pending());
    reactor.register(fd, Interest::READABLE, "source").unwrap();
    assert_eq!(counter.woken(), 1);
    far.write_all(b"x").unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("source", true, false)));
    assert_eq!(reactor.remove_reader(fd), None);
    match counter.poll(&mut waits) {
        std::task::Poll::Ready(result) => assert_eq!(errno(result), Some(libc::EBADF)),
        std::task::Poll::Pending => panic!("waits for a descriptor that is gone"),
    }
}

#[test]
fn a_watched_descriptor_taken_over_without_interest_is_silent() {
    let reactor = new_reactor();
    let (near, mut far) = UnixStream::pair().unwrap();
    reactor.add_reader(near.as_raw_fd(), "reader").unwrap();
    reactor
        .register(near.as_raw_fd(), Interest::NONE, "source")
        .unwrap();
    far.write_all(b"x").unwrap();
    let mut events = Events::new();
    reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(5)))
        .unwrap();
    assert!(events.is_empty());
}

/// A descriptor for which a future has waited once: the kernel knows it and is silent.
fn rested(reactor: &Rc<TestReactor>) -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut waits = reactor.writable(near.as_raw_fd());
    let counter = Counter::new();
    assert!(counter.poll(&mut waits).is_pending());
    assert_eq!(turn(reactor, 1000), []);
    assert!(counter.poll(&mut waits).is_ready());
    (near, far)
}

#[test]
fn what_rests_is_taken_over_by_a_source_and_woken() {
    let reactor = new_reactor();
    let (near, mut far) = rested(&reactor);
    let token = reactor
        .register(near.as_raw_fd(), Interest::NONE, "source")
        .unwrap();
    far.write_all(b"x").unwrap();
    far.shutdown(std::net::Shutdown::Both).unwrap();
    let mut events = Events::new();
    let moment = Some(Duration::from_millis(5));
    reactor.poller().wait(&mut events, moment).unwrap();
    assert!(events.is_empty());
    reactor.set_interest(token, Interest::READABLE).unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("source", true, false)));
    assert_eq!(reactor.deregister(token), Some("source"));
    reactor.poller().wait(&mut events, moment).unwrap();
    assert!(events.is_empty());
}

#[test]
fn a_source_that_took_over_what_rests_leaves_nothing_behind() {
    let reactor = new_reactor();
    let (near, _far) = rested(&reactor);
    let token = reactor
        .register(near.as_raw_fd(), Interest::NONE, "source")
        .unwrap();
    reactor.deregister(token);
    let unknown = reactor
        .poller()
        .modify(near.as_raw_fd(), token, Interest::WRITABLE);
    assert_eq!(errno(unknown), Some(libc::ENOENT));
}

#[test]
fn a_number_that_rested_and_was_reused_is_added_anew() {
    let reactor = new_reactor();
    let (near, _far) = rested(&reactor);
    let (near, mut far) = reuse_number(near);
    let token = reactor
        .register(near.as_raw_fd(), Interest::NONE, "source")
        .unwrap();
    reactor.set_interest(token, Interest::READABLE).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(source(&turn(&reactor, 1000)), Some(("source", true, false)));
    assert_eq!(reactor.deregister(token), Some("source"));
    assert_eq!(source(&turn(&reactor, 0)), None);
}

#[test]
fn a_sources_descriptor_cannot_be_watched() {
    let reactor = new_reactor();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    reactor.register(fd, Interest::READABLE, "source").unwrap();
    assert_eq!(errno(reactor.add_reader(fd, "reader")), Some(libc::EEXIST));
    assert_eq!(errno(reactor.add_writer(fd, "writer")), Some(libc::EEXIST));
    assert_eq!(reactor.remove_writer(fd), None);
    match Counter::new().poll(&mut reactor.writable(fd)) {
        std::task::Poll::Ready(result) => assert_eq!(errno(result), Some(libc::EEXIST)),
        std::task::Poll::Pending => panic!("waits for a source's descriptor"),
    }
    assert_eq!(reactor.owner_of(fd), Some("source"));
}

#[test]
fn closing_gives_everything_back_and_closes_the_descriptors() {
    let reactor = new_reactor();
    let (near, far) = UnixStream::pair().unwrap();
    let (third, _fourth) = UnixStream::pair().unwrap();
    let token = reactor
        .register(near.as_raw_fd(), Interest::READABLE, "source")
        .unwrap();
    reactor.add_reader(far.as_raw_fd(), "reader").unwrap();
    reactor.add_writer(far.as_raw_fd(), "writer").unwrap();
    let counter = Counter::new();
    let mut waits = reactor.readable(third.as_raw_fd());
    assert!(counter.poll(&mut waits).is_pending());
    let mut sleeps = reactor.sleep_until(sabio_reactor::Nanos(1));
    assert!(counter.poll(&mut sleeps).is_pending());
    reactor.schedule(sabio_reactor::Nanos(9), "late");
    reactor.schedule(sabio_reactor::Nanos(5), "early");

    let (mut sources, mut handles, mut wakers) = (Vec::new(), Vec::new(), 0);
    reactor.visit(
        |source| sources.push(*source),
        |handle| handles.push(*handle),
        |_| wakers += 1,
    );
    handles.sort_unstable();
    assert_eq!(
        (sources, handles, wakers),
        (vec!["source"], vec!["early", "late", "reader", "writer"], 2)
    );

    let closed = reactor.close();
    assert_eq!(closed.sources, ["source"]);
    assert_eq!(closed.handles, ["reader", "writer"]);
    let mut timers: Vec<_> = closed.timer_handles().copied().collect();
    timers.sort_unstable();
    assert_eq!(timers, ["early", "late"]);
    assert_eq!(counter.woken(), 0);

    assert_eq!(reactor.deregister(token), None);
    assert_eq!(
        errno(reactor.register(near.as_raw_fd(), Interest::NONE, "again")),
        Some(libc::EBADF)
    );
    assert_eq!(
        errno(reactor.add_reader(near.as_raw_fd(), "again")),
        Some(libc::EBADF)
    );
    assert!(!reactor.has_timers());
    assert!(reactor.close().sources.is_empty());
    match counter.poll(&mut waits) {
        std::task::Poll::Ready(result) => assert_eq!(errno(result), Some(libc::EBADF)),
        std::task::Poll::Pending => panic!("waits on a closed reactor"),
    }
}

type FinalizedReactor = Reactor<Rc<Finalizer>, ()>;

/// A source whose drop calls back into the reactor, as a finalizer may.
struct Finalizer {
    reactor: RefCell<Option<Rc<FinalizedReactor>>>,
    other: Token,
    ran: Rc<Cell<bool>>,
}

impl Drop for Finalizer {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactor.borrow_mut().take() {
            assert!(reactor.set_interest(self.other, Interest::READABLE).is_ok());
            self.ran.set(true);
        }
    }
}

#[test]
fn a_source_that_cannot_be_registered_is_dropped_when_the_reactor_is_free() {
    let reactor: Rc<FinalizedReactor> = Rc::new(Reactor::new().unwrap());
    let (near, _far) = UnixStream::pair().unwrap();
    let ran = Rc::new(Cell::new(false));
    let plain = Finalizer {
        reactor: RefCell::new(None),
        other: Token::new(0, 0),
        ran: Rc::clone(&ran),
    };
    let other = reactor
        .register(near.as_raw_fd(), Interest::NONE, Rc::new(plain))
        .unwrap();
    let finalizer = Finalizer {
        reactor: RefCell::new(Some(Rc::clone(&reactor))),
        other,
        ran: Rc::clone(&ran),
    };
    let file = File::open("/proc/self/exe").unwrap();
    assert!(
        reactor
            .register(file.as_raw_fd(), Interest::READABLE, Rc::new(finalizer))
            .is_err()
    );
    assert!(ran.get());
    assert_eq!(reactor.interest(other), Some(Interest::READABLE));
}

#[test]
fn events_reach_the_connection_that_they_are_for() {
    // Connections come and go, so numbers and places are reused all the time; each source is the
    // number that its peer sends.
    let reactor: Reactor<u64, ()> = Reactor::new().unwrap();
    let mut live: Vec<(UnixStream, UnixStream, Token, u64)> = Vec::new();
    let mut next = 0;
    let mut seen = 0_u64;
    let mut random = 12345_u64;
    let mut events = Events::new();
    while seen < 20_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pick = (random >> 33) as usize;
        if live.len() < 30 || (pick.is_multiple_of(3) && live.len() < 60) {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(&u64::to_ne_bytes(next)).unwrap();
            let token = reactor
                .register(near.as_raw_fd(), Interest::READABLE, next)
                .unwrap();
            live.push((near, far, token, next));
            next += 1;
        } else {
            let (near, far, token, name) = live.swap_remove(pick % live.len());
            // Some owners keep to the rule, and some descriptors are closed behind our back.
            if pick.is_multiple_of(5) {
                drop((near, far));
                assert_eq!(reactor.deregister(token), Some(name));
            } else {
                assert_eq!(reactor.deregister(token), Some(name));
                drop((near, far));
            }
        }
        reactor.poller().wait(&mut events, Some(Duration::ZERO)).unwrap();
        for event in &events {
            let Fired::Source(name, _) = reactor.fire(event) else {
                panic!("{event:?} reached nobody")
            };
            let (near, ..) = live.iter().find(|(.., other)| *other == name).unwrap();
            let mut sent = [0; 8];
            rustix::net::recv(near, &mut sent, rustix::net::RecvFlags::PEEK).unwrap();
            assert_eq!(u64::from_ne_bytes(sent), name);
            seen += 1;
        }
    }
}
