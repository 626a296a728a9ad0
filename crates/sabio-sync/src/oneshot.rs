//! One value from any thread to one future: how work done elsewhere comes back to a task.
//!
//! The resolver's threads answer through it. Wakers and values are woken, dropped and handed over
//! outside the lock; a value is received at most once, and a sender that goes away without sending
//! wakes its receiver with [`Closed`].

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::primitive::{Mutex, lock};

/// A channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State::Empty));
    (
        Sender {
            shared: Some(Arc::clone(&shared)),
        },
        Receiver { shared },
    )
}

/// The sender went away without sending, or the value was received before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the sender was dropped without sending a value")
    }
}

impl std::error::Error for Closed {}

enum State<T> {
    /// Nothing sent, nobody waits.
    Empty,
    /// Nothing sent, and this waker is to be woken when something is.
    Waiting(Waker),
    /// Sent and not yet received.
    Sent(T),
    /// The value was received, or one of the two sides is gone.
    Closed,
}

/// The sending half; dropping it closes the channel.
pub struct Sender<T> {
    /// `None` only between [`Sender::send`] and the drop that follows it.
    shared: Option<Arc<Mutex<State<T>>>>,
}

impl<T> Sender<T> {
    /// Hands `value` to the receiver and wakes it; drops the value if the receiver is gone.
    pub fn send(mut self, value: T) {
        if let Some(shared) = self.shared.take() {
            finish(&shared, State::Sent(value));
        }
    }

    /// Whether the receiver is gone, so that the work for it may be skipped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.shared {
            Some(shared) => matches!(*lock(shared), State::Closed),
            None => true,
        }
    }
}

impl<T> Sender<T> {
    /// Shows the waker of who waits for the value, if somebody does, to a garbage collector's traversal. `visit` must
    /// neither use the channel nor wake, clone or drop a waker.
    pub fn visit(&self, visit: &mut dyn FnMut(&Waker)) {
        if let Some(shared) = &self.shared
            && let State::Waiting(waker) = &*lock(shared)
        {
            visit(waker);
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            finish(&shared, State::Closed);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Moves an open channel to `last`, the sender's final word, and wakes the receiver.
fn finish<T>(shared: &Mutex<State<T>>, last: State<T>) {
    let mut state = lock(shared);
    if matches!(*state, State::Closed) {
        drop(state);
        return;
    }
    let previous = mem::replace(&mut *state, last);
    drop(state);
    if let State::Waiting(waker) = previous {
        waker.wake();
    }
}

/// The receiving half: a future of the value.
#[must_use = "futures do nothing unless polled"]
pub struct Receiver<T> {
    shared: Arc<Mutex<State<T>>>,
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloned before the lock is taken and dropped after it is released: both may run foreign code.
        let mut spare = Some(cx.waker().clone());
        let mut state = lock(&self.shared);
        let previous = match mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => {
                drop(state);
                return Poll::Ready(Ok(value));
            }
            State::Closed => {
                drop(state);
                return Poll::Ready(Err(Closed));
            }
            State::Waiting(waker) if waker.will_wake(cx.waker()) => {
                *state = State::Waiting(waker);
                None
            }
            other => {
                if let Some(waker) = spare.take() {
                    *state = State::Waiting(waker);
                }
                Some(other)
            }
        };
        drop(state);
        drop(previous);
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let last = mem::replace(&mut *lock(&self.shared), State::Closed);
        drop(last);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").finish_non_exhaustive()
    }
}
