//! Timers of the loop: handles that are due at a deadline, and futures that sleep until one.

use std::collections::TryReserveError;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker as TaskWaker};

use super::Reactor;
use crate::clock::Nanos;
use crate::timer::TimerKey;

/// What waits for a deadline.
#[derive(Debug)]
pub(super) enum Timer<H> {
    Handle(H),
    Sleeper(TaskWaker),
}

/// What a timer that is due asks for.
#[derive(Debug)]
pub enum Due<H> {
    /// Run this handle, which was due at the time given.
    Handle(Nanos, H),
    /// Wake this task. Its [`Sleep`] is over.
    Waker(TaskWaker),
}

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// Whether one more timer finds room.
    #[inline]
    #[must_use]
    pub fn has_room_for_timer(&self) -> bool {
        self.timers.borrow().has_room()
    }

    /// Makes room for one more timer.
    ///
    /// # Errors
    /// When there is no memory for it; nothing has changed then.
    pub fn make_room_for_timer(&self) -> Result<(), TryReserveError> {
        self.timers.borrow_mut().make_room()
    }

    /// Sets a timer for `handle` (`loop.call_at`). It is given out by [`pop_due`](Self::pop_due) once.
    #[inline]
    pub fn schedule(&self, deadline: Nanos, handle: H) -> TimerKey {
        self.timers.borrow_mut().insert(deadline, Timer::Handle(handle))
    }

    /// Sets a timer that wakes `waker`: [`pop_due`](Self::pop_due) gives it out once, unless
    /// [`cancel`](Self::cancel) comes first.
    #[inline]
    pub fn wake_at(&self, deadline: Nanos, waker: TaskWaker) -> TimerKey {
        self.timers.borrow_mut().insert(deadline, Timer::Sleeper(waker))
    }

    /// Takes a timer back, and gives its handle if it has one; `None` also when it was given out or taken back before.
    #[inline]
    pub fn cancel(&self, key: TimerKey) -> Option<H> {
        let timer = self.timers.borrow_mut().cancel(key);
        match timer? {
            Timer::Handle(handle) => Some(handle),
            Timer::Sleeper(waker) => {
                drop(waker);
                None
            }
        }
    }

    /// A future that ends when `deadline` has passed and the loop has come to it: at the earliest in
    /// the loop's next turn, also when the deadline lies in the past.
    pub fn sleep_until(self: &Rc<Self>, deadline: Nanos) -> Sleep<S, H> {
        Sleep {
            reactor: Rc::clone(self),
            deadline,
            state: SleepState::Idle,
        }
    }

    /// Whether any timer is set.
    #[inline]
    #[must_use]
    pub fn has_timers(&self) -> bool {
        !self.timers.borrow().is_empty()
    }

    /// How many timers are set.
    #[must_use]
    pub fn timer_count(&self) -> usize {
        self.timers.borrow().len()
    }

    /// When the first timer is due.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.timers.borrow_mut().next_deadline()
    }

    /// Takes out the first timer if it is due at `now`.
    #[inline]
    #[must_use]
    pub fn pop_due(&self, now: Nanos) -> Option<Due<H>> {
        let (deadline, timer) = self.timers.borrow_mut().pop_due(now)?;
        Some(match timer {
            Timer::Handle(handle) => Due::Handle(deadline, handle),
            Timer::Sleeper(waker) => Due::Waker(waker),
        })
    }

    /// Whether the sleeper is still set; its waker becomes `waker`, and the old one is given back.
    fn still_sleeps(&self, key: TimerKey, waker: TaskWaker) -> (bool, TaskWaker) {
        let mut timers = self.timers.borrow_mut();
        match timers.get_mut(key) {
            Some(Timer::Sleeper(current)) => (true, mem::replace(current, waker)),
            _ => (false, waker),
        }
    }
}

/// The future that [`Reactor::sleep_until`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep<S: Clone, H: Clone> {
    reactor: Rc<Reactor<S, H>>,
    deadline: Nanos,
    state: SleepState,
}

enum SleepState {
    Idle,
    Set(TimerKey),
    Done,
}

impl<S: Clone, H: Clone> Future for Sleep<S, H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            SleepState::Idle => {
                let sleeper = Timer::Sleeper(cx.waker().clone());
                let key = self.reactor.timers.borrow_mut().insert(self.deadline, sleeper);
                self.state = SleepState::Set(key);
                Poll::Pending
            }
            SleepState::Set(key) => {
                let (sleeps, waker) = self.reactor.still_sleeps(key, cx.waker().clone());
                drop(waker);
                if sleeps {
                    return Poll::Pending;
                }
                self.state = SleepState::Done;
                Poll::Ready(())
            }
            SleepState::Done => Poll::Ready(()),
        }
    }
}

impl<S: Clone, H: Clone> Drop for Sleep<S, H> {
    fn drop(&mut self) {
        if let SleepState::Set(key) = self.state {
            self.state = SleepState::Done;
            let timer = self.reactor.timers.borrow_mut().cancel(key);
            drop(timer);
        }
    }
}

impl<S: Clone, H: Clone> fmt::Debug for Sleep<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
