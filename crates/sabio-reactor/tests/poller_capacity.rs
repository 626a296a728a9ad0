//! More ready descriptors than one wait reports. Alone in its file: it takes all the descriptors it can get.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sabio_reactor::{CAPACITY, Events, Interest, Poller, Token};

#[test]
fn more_events_than_fit_come_with_the_next_waits() {
    let poller = Poller::new().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    // Clones of one writable socket are ready descriptors of their own.
    let many: Vec<_> = (0..CAPACITY + 100).map_while(|_| near.try_clone().ok()).collect();
    for (index, stream) in (0u32..).zip(&many) {
        poller
            .add(stream.as_raw_fd(), Token::new(index, 0), Interest::WRITABLE)
            .unwrap();
    }
    let mut seen = HashSet::new();
    let mut events = Events::new();
    for _ in 0..4 {
        poller.wait(&mut events, Some(Duration::from_secs(1))).unwrap();
        assert!(events.len() <= CAPACITY);
        seen.extend(events.iter().map(|event| event.token.index()));
    }
    assert_eq!(seen.len(), many.len());
}
