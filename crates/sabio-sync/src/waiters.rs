//! A queue of tasks that wait for their turn: what locks, events and queues stand on.
//!
//! The order is first come, first served, and no wake-up is lost: a [`Wait`] that is dropped after
//! [`Waiters::wake_one`] chose it, but before it ran, passes the wake-up on to the next in line
//! (asyncio's rule for a cancelled waiter). Waiting, waking and leaving are each O(1).
//!
//! asyncio knows that a waiter is cancelled before the waiter's task has run, and passes it over.
//! Whoever drives the tasks can tell the queue the same: see [`Waiters::with_doomed`].
//!
//! The queue lives on one thread. No borrow of it is alive while a waker is woken, cloned or
//! dropped, so foreign code that runs there may use the same queue.

mod chain;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chain::{Chain, Left, Woken};

/// A first-in, first-out queue of waiting tasks. Clones share one queue.
#[derive(Clone, Default)]
pub struct Waiters {
    queue: Rc<WaitQueue>,
}

impl Waiters {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`new`](Self::new), passing over the doomed: see [`WaitQueue::with_doomed`].
    #[must_use]
    pub fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            queue: Rc::new(WaitQueue::with_doomed(doomed)),
        }
    }

    /// A future that ends when [`wake_one`](WaitQueue::wake_one) or [`wake_all`](WaitQueue::wake_all)
    /// gets to it. It takes its place in the queue when it is first polled.
    pub fn wait(&self) -> Wait {
        Wait {
            waiters: self.clone(),
            place: Place::default(),
            passes_on: true,
        }
    }

    /// As [`wait`](Self::wait), for who decides itself what becomes of a wake-up that was not used:
    /// see [`Wait::leave`]. Dropping it passes nothing on.
    pub(crate) fn wait_alone(&self) -> Wait {
        let mut wait = self.wait();
        wait.passes_on = false;
        wait
    }
}

impl Deref for Waiters {
    type Target = WaitQueue;

    #[inline]
    fn deref(&self) -> &WaitQueue {
        &self.queue
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Waiters")
            .field("len", &self.len())
            .finish()
    }
}

/// The queue itself, which the primitives keep next to the rest of their state. It is two words until somebody waits:
/// most locks are never waited for.
pub struct WaitQueue {
    queue: OnceCell<Box<RefCell<Chain>>>,
    doomed: fn(&Waker) -> bool,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::with_doomed(|_| false)
    }
}

impl WaitQueue {
    /// An empty queue that passes over the *doomed*: tasks that will drop their [`Wait`] at their
    /// next step, because they have been cancelled. `doomed` is asked about the wakers of waiting
    /// tasks; it must neither use the queue nor wake, clone or drop a waker.
    #[must_use]
    pub const fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            queue: OnceCell::new(),
            doomed,
        }
    }

    /// The chain of those who wait, which begins with the first of them.
    #[inline]
    fn chain(&self) -> &RefCell<Chain> {
        self.queue
            .get_or_init(|| Box::new(RefCell::new(Chain::with_doomed(self.doomed))))
    }

    /// Polls for who has this place in this queue: takes it at first, is ready once it was woken.
    #[inline(always)]
    pub(crate) fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        match place.0.get() {
            Standing::Outside => {
                let waker = cx.waker().clone();
                place
                    .0
                    .set(Standing::Inside(self.chain().borrow_mut().push_back(waker)));
                Poll::Pending
            }
            Standing::Inside(node) => {
                if self.chain().borrow_mut().take_if_woken(node).is_some() {
                    place.finish();
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                let old = self.chain().borrow_mut().replace_waker(node, waker);
                drop(old);
                Poll::Pending
            }
            Standing::Done => Poll::Ready(()),
        }
    }

    /// Takes the waker of who has this place, if it waits and has not been woken. Whoever takes it polls from the place
    /// again, or leaves it.
    #[must_use]
    pub fn take_waker(&self, place: &Place) -> Option<Waker> {
        let Standing::Inside(node) = place.0.get() else {
            return None;
        };
        self.chain()
            .borrow_mut()
            .exchange_waker(node, Waker::noop().clone())
    }

    /// Gives a place up. What the wake-up that it may have got was for is the caller's to see to.
    #[inline]
    pub(crate) fn leave(&self, place: &Place) -> Departure {
        let Standing::Inside(node) = place.0.get() else {
            return Departure::Outside;
        };
        place.finish();
        let left = self.chain().borrow_mut().leave(node);
        match left {
            Left::Waiting(waker) => {
                drop(waker);
                Departure::Waiting
            }
            Left::Woken(Woken::One) => Departure::Woken,
            Left::Woken(Woken::All) => Departure::WokenWithAll,
        }
    }

    /// Wakes the task that waits longest, of those that are not doomed; `false` when there is none.
    #[inline]
    pub fn wake_one(&self) -> bool {
        // Most releases have nobody to wake.
        !self.is_empty() && self.wake_alive()
    }

    fn wake_alive(&self) -> bool {
        let woken = self.chain().borrow_mut().pop_alive();
        match woken {
            Some(waker) => {
                waker.wake();
                true
            }
            None => false,
        }
    }

    /// Wakes the task that came first, unless it has been woken already, or is doomed: whoever
    /// leaves the queue calls this again, so that task will see to it.
    #[inline]
    pub(crate) fn wake_first(&self) {
        if !self.is_empty() {
            let woken = self.chain().borrow_mut().pop_first();
            if let Some(waker) = woken {
                waker.wake();
            }
        }
    }

    /// Wakes every task that waits now, in the order in which they came, and says how many. Tasks
    /// that start to wait while the others are being woken are left waiting.
    pub fn wake_all(&self) -> usize {
        let count = self.len();
        for woken in 0..count {
            let waker = self.chain().borrow_mut().pop_front(Woken::All);
            match waker {
                Some(waker) => waker.wake(),
                None => return woken,
            }
        }
        count
    }

    /// Shows the waker of each task that waits and has not been woken, oldest first. The queue owns
    /// exactly these, which is what a garbage collector wants to know. `visit` must neither use the
    /// queue nor wake, clone or drop a waker.
    pub fn visit(&self, visit: &mut dyn FnMut(&Waker)) {
        if let Some(Ok(queue)) = self.queue.get().map(|queue| queue.try_borrow()) {
            queue.visit(visit);
        }
    }

    /// How many tasks wait and have not been woken.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.queue.get().map_or(0, |queue| queue.borrow().waiting())
    }

    /// How many tasks wait, or were woken and have not run since. Doomed ones count.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.queue.get().map_or(0, |queue| {
            let queue = queue.borrow();
            queue.waiting() + queue.woken()
        })
    }

    /// Whether a newcomer has to stand behind somebody: any task that is inside and not doomed.
    #[must_use]
    #[inline]
    pub fn is_contended(&self) -> bool {
        self.queue
            .get()
            .is_some_and(|queue| queue.borrow().is_contended())
    }

    /// Shows each task that is inside, oldest first but for the woken, which come first: `None`
    /// for one that was woken, the waker of one that waits. The limits of [`visit`](Self::visit)
    /// hold.
    pub fn look(&self, look: &mut dyn FnMut(Option<&Waker>)) {
        let Some(Ok(queue)) = self.queue.get().map(|queue| queue.try_borrow()) else {
            return;
        };
        (0..queue.woken()).for_each(|_| look(None));
        drop(queue);
        self.visit(&mut |waker| look(Some(waker)));
    }

    /// Whether nobody waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WaitQueue")
            .field("len", &self.len())
            .finish()
    }
}

/// As [`Wait`], of a queue that is borrowed, and for who has nothing to pass on: all are woken at once.
pub(crate) struct BorrowedWait<'a> {
    queue: &'a WaitQueue,
    place: Place,
}

impl<'a> BorrowedWait<'a> {
    pub(crate) fn new(queue: &'a WaitQueue) -> Self {
        let place = Place::default();
        Self { queue, place }
    }
}

impl Future for BorrowedWait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.queue.poll(&self.place, cx)
    }
}

impl Drop for BorrowedWait<'_> {
    fn drop(&mut self) {
        self.queue.leave(&self.place);
    }
}

/// The future that [`Waiters::wait`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct Wait {
    waiters: Waiters,
    place: Place,
    passes_on: bool,
}

/// In what state somebody left the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Departure {
    /// It was not in the queue: never polled, or ended.
    Outside,
    /// It waited.
    Waiting,
    /// It had been woken, for itself, and not been told.
    Woken,
    /// It had been woken with all others, and not been told.
    WokenWithAll,
}

impl Wait {
    /// Leaves the queue. What the wake-up that it may have got was for is the caller's to see to.
    pub(crate) fn leave(&mut self) -> Departure {
        self.waiters.leave(&self.place)
    }
}

/// Where somebody stands in the queue of a primitive: what a wait comes down to, for those who keep it as such
/// instead of in a future. A new one stands outside.
///
/// It belongs to one wait with one primitive, to whose functions alone it may be given, and is
/// given up by the primitive's `leave` function before it is dropped.
#[derive(Default)]
pub struct Place(Cell<Standing>);

#[derive(Clone, Copy, Default)]
enum Standing {
    #[default]
    Outside,
    Inside(usize),
    Done,
}

impl Place {
    /// Whether the wait has not begun.
    #[must_use]
    #[inline]
    pub fn is_outside(&self) -> bool {
        matches!(self.0.get(), Standing::Outside)
    }

    /// A new wait begins, of one that has been left or has ended.
    #[inline]
    pub fn restart(&self) {
        self.0.set(Standing::Outside);
    }

    /// The wait is over, or need not begin.
    #[inline]
    pub(crate) fn finish(&self) {
        self.0.set(Standing::Done);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Place").finish_non_exhaustive()
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.waiters.poll(&this.place, cx)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.leave() == Departure::Woken && self.passes_on {
            self.waiters.wake_one();
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wait").finish_non_exhaustive()
    }
}
