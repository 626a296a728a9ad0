//! Waiting for a descriptor as a future: what `sock_recv` and its kin are written on.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker as TaskWaker};

use super::Reactor;
use super::watch::{Direction, Mode, Waiting};
use crate::token::Token;

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// A future that ends when `fd` is readable.
    ///
    /// Any number of them may wait for one descriptor, beside handles. Dropping one forgets it.
    ///
    /// # Errors
    /// The future's output is an error when the descriptor cannot be watched: those of
    /// [`add_reader`](Self::add_reader), and `EBADF` when the descriptor was closed, reused or given to a
    /// source while the future waited.
    pub fn readable(self: &Rc<Self>, fd: RawFd) -> Readiness<S, H> {
        Readiness {
            reactor: Rc::clone(self),
            fd,
            direction: Direction::Read,
            state: State::Idle,
        }
    }

    /// A future that ends when `fd` is writable, or its connect has finished.
    ///
    /// # Errors
    /// Those of [`readable`](Self::readable).
    pub fn writable(self: &Rc<Self>, fd: RawFd) -> Readiness<S, H> {
        Readiness {
            reactor: Rc::clone(self),
            fd,
            direction: Direction::Write,
            state: State::Idle,
        }
    }

    fn start_wait(&self, fd: RawFd, direction: Direction, waker: TaskWaker) -> io::Result<(Token, u64)> {
        let number = self.next_wait.get();
        self.next_wait.set(number + 1);
        let mut waker = Some(waker);
        let mut table = self.table.borrow_mut();
        let (armed, stale) = self.arm(&mut table, fd, direction.interest(), Mode::Once);
        if let Ok(token) = armed
            && let Some(watch) = table.watch_mut(token)
            && let Some(waker) = waker.take()
        {
            watch.side(direction).waiting.push(Waiting { number, waker });
        }
        drop(table);
        drop(waker);
        if let Some(stale) = stale {
            stale.release();
        }
        armed.map(|token| (token, number))
    }

    /// `Some` when the wait is over: its watch has gone stale, or it was taken off the list by an event.
    fn finished(&self, token: Token, number: u64, direction: Direction) -> Option<io::Result<()>> {
        let table = self.table.borrow();
        let Some(watch) = table.watch(token) else {
            return Some(Err(io::Error::from_raw_os_error(libc::EBADF)));
        };
        if watch.waits(direction, number) {
            None
        } else {
            Some(Ok(()))
        }
    }

    fn replace_waiting_waker(&self, token: Token, number: u64, direction: Direction, waker: TaskWaker) {
        let mut waker = waker;
        let mut table = self.table.borrow_mut();
        if let Some(waiting) = table.watch_mut(token).and_then(|watch| {
            watch
                .side(direction)
                .waiting
                .iter_mut()
                .find(|waiting| waiting.number == number)
        }) {
            std::mem::swap(&mut waiting.waker, &mut waker);
        }
        drop(table);
        drop(waker);
    }

    fn stop_wait(&self, token: Token, number: u64, direction: Direction) {
        let mut table = self.table.borrow_mut();
        let Some(watch) = table.watch_mut(token) else {
            return;
        };
        let waiting = &mut watch.side(direction).waiting;
        let Some(index) = waiting.iter().position(|waiting| waiting.number == number) else {
            return;
        };
        let left = waiting.remove(index);
        let stale = match watch.reduce(&self.poller, token) {
            Ok(()) => None,
            Err(_) => table.remove(token),
        };
        drop(table);
        drop(left);
        if let Some(stale) = stale {
            stale.release();
        }
    }
}

/// The future that [`Reactor::readable`] and [`Reactor::writable`] return.
#[must_use = "futures do nothing unless polled"]
pub struct Readiness<S: Clone, H: Clone> {
    reactor: Rc<Reactor<S, H>>,
    fd: RawFd,
    direction: Direction,
    state: State,
}

enum State {
    /// Not polled yet.
    Idle,
    /// On the list of a watch, or taken off it by an event.
    Waiting {
        token: Token,
        number: u64,
    },
    Done,
}

impl<S: Clone, H: Clone> Future for Readiness<S, H> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.state {
            State::Idle => {
                match self
                    .reactor
                    .start_wait(self.fd, self.direction, cx.waker().clone())
                {
                    Ok((token, number)) => {
                        self.state = State::Waiting { token, number };
                        Poll::Pending
                    }
                    Err(error) => {
                        self.state = State::Done;
                        Poll::Ready(Err(error))
                    }
                }
            }
            State::Waiting { token, number } => {
                if let Some(output) = self.reactor.finished(token, number, self.direction) {
                    self.state = State::Done;
                    return Poll::Ready(output);
                }
                self.reactor
                    .replace_waiting_waker(token, number, self.direction, cx.waker().clone());
                Poll::Pending
            }
            State::Done => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Clone, H: Clone> Drop for Readiness<S, H> {
    fn drop(&mut self) {
        if let State::Waiting { token, number } = self.state {
            self.state = State::Done;
            self.reactor.stop_wait(token, number, self.direction);
        }
    }
}

impl<S: Clone, H: Clone> fmt::Debug for Readiness<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Readiness")
            .field("fd", &self.fd)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}
