//! What the tests of the reactor share: wakers that count, and one turn of a loop.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use sabio_reactor::{Events, Fired, Reactor};

/// The kind of reactor that the tests use: sources and handles are names.
pub(crate) type TestReactor = Reactor<&'static str, &'static str>;

/// A waker that counts how often it was woken.
#[derive(Default)]
pub(crate) struct Counter {
    woken: AtomicUsize,
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Ordering::Relaxed)
    }

    /// Polls `future` with this counter as its waker.
    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }
}

pub(crate) fn new_reactor() -> Rc<TestReactor> {
    Rc::new(Reactor::new().unwrap())
}

/// Waits once, at most `millis`, and fires what came; what is for nobody is left out.
pub(crate) fn turn<S: Clone, H: Clone>(reactor: &Reactor<S, H>, millis: u64) -> Vec<Fired<S, H>> {
    let mut events = Events::new();
    let waited = reactor
        .poller()
        .wait(&mut events, Some(Duration::from_millis(millis)));
    assert!(waited.is_ok(), "{waited:?}");
    let fired = events.iter().map(|event| reactor.fire(event));
    fired.filter(|fired| !matches!(fired, Fired::Nothing)).collect()
}

/// The error number of a result that should be an error.
pub(crate) fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// Closes `stream` and gives its number to one end of a new pair, without a moment in which another test could
/// take it. Nobody tells the reactor. The new stream and its other end.
pub(crate) fn reuse_number(stream: UnixStream) -> (UnixStream, UnixStream) {
    let mut descriptor = OwnedFd::from(stream);
    let (near, far) = UnixStream::pair().unwrap();
    rustix::io::dup2(&near, &mut descriptor).unwrap();
    (UnixStream::from(descriptor), far)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs one future on this thread, which sleeps while it waits.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "no answer");
        thread::park_timeout(Duration::from_secs(1));
    }
}
