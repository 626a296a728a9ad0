//! The poller keeps the contract that `sys/mod.rs` gives a backend.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sabio_reactor::{Event, Events, Interest, Poller, Token};
use support::errno;

fn wait(poller: &Poller, millis: u64) -> Vec<Event> {
    let mut events = Events::new();
    poller
        .wait(&mut events, Some(Duration::from_millis(millis)))
        .unwrap();
    events.iter().collect()
}

const TOKEN: Token = Token::new(3, 9);

#[test]
fn events_carry_the_token_and_repeat_while_the_descriptor_is_ready() {
    let poller = Poller::new().unwrap();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    assert_eq!(wait(&poller, 0), []);
    far.write_all(b"x").unwrap();
    for _ in 0..3 {
        let event = Event {
            token: TOKEN,
            readable: true,
            writable: false,
            hangup: false,
            error: false,
        };
        assert_eq!(wait(&poller, 1000), [event]);
    }
    near.read_exact(&mut [0]).unwrap();
    assert_eq!(wait(&poller, 0), []);
}

#[test]
fn once_means_once_until_modified() {
    let poller = Poller::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let once = Interest::READABLE | Interest::ONCE;
    poller.add(near.as_raw_fd(), TOKEN, once).unwrap();
    far.write_all(b"x").unwrap();
    assert_eq!(wait(&poller, 1000).len(), 1);
    assert_eq!(wait(&poller, 10), []);
    // A hangup does not break the silence.
    drop(far);
    assert_eq!(wait(&poller, 10), []);
    poller.modify(near.as_raw_fd(), TOKEN, once).unwrap();
    assert_eq!(wait(&poller, 1000).len(), 1);
}

#[test]
fn a_hangup_counts_as_readable_and_writable() {
    let poller = Poller::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    drop(far);
    let events = wait(&poller, 1000);
    assert_eq!(events.len(), 1);
    assert!(events[0].readable && events[0].writable && events[0].hangup);
}

#[test]
fn a_reset_connection_is_an_error_in_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    // Unread data makes the kernel reset the connection when it is closed.
    (&near).write_all(b"unread").unwrap();
    far.write_all(b"also unread").unwrap();
    thread::sleep(Duration::from_millis(10));
    drop(far);
    let poller = Poller::new().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::WRITABLE).unwrap();
    let events = wait(&poller, 1000);
    assert_eq!(events.len(), 1);
    assert!(events[0].readable && events[0].writable && events[0].error);
}

#[test]
fn the_other_half_being_shut_down_is_readable_but_no_hangup() {
    let poller = Poller::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    let events = wait(&poller, 1000);
    assert!(events[0].readable && !events[0].hangup && !events[0].error);
}

#[test]
fn modify_reports_what_is_ready_already() {
    let poller = Poller::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    assert_eq!(wait(&poller, 0), []);
    let other = Token::new(4, 1);
    poller
        .modify(near.as_raw_fd(), other, Interest::WRITABLE)
        .unwrap();
    let events = wait(&poller, 1000);
    assert_eq!(
        (events[0].token, events[0].readable, events[0].writable),
        (other, false, true)
    );
}

#[test]
fn errors_tell_reused_closed_and_unwatchable_descriptors_apart() {
    let poller = Poller::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let fd = near.as_raw_fd();
    assert_eq!(
        errno(poller.modify(fd, TOKEN, Interest::READABLE)),
        Some(libc::ENOENT)
    );
    poller.add(fd, TOKEN, Interest::READABLE).unwrap();
    assert_eq!(
        errno(poller.add(fd, TOKEN, Interest::READABLE)),
        Some(libc::EEXIST)
    );
    let file = File::open("/proc/self/exe").unwrap();
    assert_eq!(
        errno(poller.add(file.as_raw_fd(), TOKEN, Interest::READABLE)),
        Some(libc::EPERM)
    );
    for bad in [-1, RawFd::MAX] {
        assert_eq!(
            errno(poller.add(bad, TOKEN, Interest::READABLE)),
            Some(libc::EBADF)
        );
    }
}

#[test]
fn removing_what_is_closed_or_unknown_is_no_error() {
    let poller = Poller::new().unwrap();
    let file = File::open("/proc/self/exe").unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    for fd in [near.as_raw_fd(), file.as_raw_fd(), RawFd::MAX] {
        assert!(!poller.remove(fd).unwrap());
    }
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    assert!(poller.remove(near.as_raw_fd()).unwrap());
    assert!(!poller.remove(near.as_raw_fd()).unwrap());
}

#[test]
fn a_closed_poller_says_so_and_gives_its_descriptor_back() {
    let poller = Poller::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    poller.close();
    poller.close();
    assert_eq!(
        errno(poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE)),
        Some(libc::EBADF)
    );
    assert_eq!(
        errno(poller.wait(&mut Events::new(), Some(Duration::ZERO))),
        Some(libc::EBADF)
    );
    poller.remove(near.as_raw_fd()).unwrap();
}

#[test]
fn a_wait_is_never_early_and_hardly_late() {
    let poller = Poller::new().unwrap();
    let mut events = Events::new();
    let mut late = Vec::new();
    for micros in [1, 50, 200, 700, 1500, 3000, 10_000] {
        for _ in 0..5 {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            poller.wait(&mut events, Some(timeout)).unwrap();
            let elapsed = start.elapsed();
            assert!(elapsed >= timeout, "waited {elapsed:?} of {timeout:?}");
            late.push(elapsed - timeout);
        }
    }
    // The median, because this machine has other things to do.
    late.sort_unstable();
    assert!(late[late.len() / 2] < Duration::from_millis(1), "{late:?}");
}

#[test]
fn a_wait_of_nothing_only_looks() {
    let poller = Poller::new().unwrap();
    let start = Instant::now();
    for _ in 0..100 {
        poller.wait(&mut Events::new(), Some(Duration::ZERO)).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_very_long_timeout_is_still_ended_by_an_event() {
    let poller = Poller::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    poller.add(near.as_raw_fd(), TOKEN, Interest::READABLE).unwrap();
    far.write_all(b"x").unwrap();
    for timeout in [Some(Duration::MAX), Some(Duration::from_secs(1 << 40)), None] {
        let mut events = Events::new();
        poller.wait(&mut events, timeout).unwrap();
        assert_eq!(events.len(), 1);
    }
}

#[test]
fn another_thread_may_change_registrations_during_a_wait() {
    let poller = Arc::new(Poller::new().unwrap());
    let (near, far) = UnixStream::pair().unwrap();
    let other = Arc::clone(&poller);
    let changer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.add(near.as_raw_fd(), TOKEN, Interest::WRITABLE).unwrap();
        near
    });
    let mut events = Events::new();
    poller.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
    assert_eq!(events.get(0).map(|event| event.token), Some(TOKEN));
    drop((changer.join().unwrap(), far));
}
