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

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

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

/// The queue itself, which the primitives keep next to the rest of their state.
#[derive(Default)]
pub struct WaitQueue {
    queue: RefCell<Queue>,
}

impl WaitQueue {
    /// An empty queue that passes over the *doomed*: tasks that will drop their [`Wait`] at their
    /// next step, because they have been cancelled. `doomed` is asked about the wakers of waiting
    /// tasks; it must neither use the queue nor wake, clone or drop a waker.
    #[must_use]
    pub fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        let queue = Queue {
            doomed,
            ..Queue::default()
        };
        Self {
            queue: RefCell::new(queue),
        }
    }

    /// Polls for who has this place in this queue: takes it at first, is ready once it was woken.
    #[inline(always)]
    pub(crate) fn poll(&self, place: &Place, cx: &mut Context<'_>) -> Poll<()> {
        match place.0.get() {
            Standing::Outside => {
                let waker = cx.waker().clone();
                place
                    .0
                    .set(Standing::Inside(self.queue.borrow_mut().push_back(waker)));
                Poll::Pending
            }
            Standing::Inside(node) => {
                if self.queue.borrow_mut().take_if_woken(node).is_some() {
                    place.finish();
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                let old = self.queue.borrow_mut().replace_waker(node, waker);
                drop(old);
                Poll::Pending
            }
            Standing::Done => Poll::Ready(()),
        }
    }

    /// Gives a place up. What the wake-up that it may have got was for is the caller's to see to.
    #[inline]
    pub(crate) fn leave(&self, place: &Place) -> Departure {
        let Standing::Inside(node) = place.0.get() else {
            return Departure::Outside;
        };
        place.finish();
        let left = self.queue.borrow_mut().leave(node);
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
        let woken = self.queue.borrow_mut().pop_alive();
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
            let woken = self.queue.borrow_mut().pop_first();
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
            let waker = self.queue.borrow_mut().pop_front(Woken::All);
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
        let Ok(queue) = self.queue.try_borrow() else {
            return;
        };
        let mut node = queue.first;
        while let Some(Node::Waiting { waker, after, .. }) = queue.nodes.get(node) {
            visit(waker);
            node = *after;
        }
    }

    /// How many tasks wait and have not been woken.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.queue.borrow().waiting
    }

    /// How many tasks wait, or were woken and have not run since. Doomed ones count.
    #[must_use]
    pub fn inside(&self) -> usize {
        let queue = self.queue.borrow();
        queue.waiting + queue.woken
    }

    /// Whether a newcomer has to stand behind somebody: any task that is inside and not doomed.
    #[must_use]
    #[inline]
    pub fn is_contended(&self) -> bool {
        let queue = self.queue.borrow();
        queue.woken > 0 || (queue.waiting > 0 && queue.first_alive() != NIL)
    }

    /// Shows each task that is inside, oldest first but for the woken, which come first: `None`
    /// for one that was woken, the waker of one that waits. The limits of [`visit`](Self::visit)
    /// hold.
    pub fn look(&self, look: &mut dyn FnMut(Option<&Waker>)) {
        let Ok(queue) = self.queue.try_borrow() else {
            return;
        };
        (0..queue.woken).for_each(|_| look(None));
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

/// Which call woke a task: only a wake-up meant for one task is passed on.
#[derive(Clone, Copy)]
enum Woken {
    One,
    All,
}

enum Left {
    Waiting(Option<Waker>),
    Woken(Woken),
}

/// No node: the end of the chain in either direction, or of the list of free nodes.
const NIL: usize = usize::MAX;

enum Node {
    Waiting {
        waker: Waker,
        before: usize,
        after: usize,
    },
    Woken(Woken),
    Free {
        next: usize,
    },
}

/// A doubly linked list inside a vector, oldest first. A node belongs to exactly one [`Place`],
/// which frees it, so an index held by a `Place` is always that `Place`'s node.
struct Queue {
    nodes: Vec<Node>,
    first: usize,
    last: usize,
    free: usize,
    waiting: usize,
    /// How many were woken and have neither run nor left since.
    woken: usize,
    doomed: fn(&Waker) -> bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            first: NIL,
            last: NIL,
            free: NIL,
            waiting: 0,
            woken: 0,
            doomed: |_| false,
        }
    }
}

impl Queue {
    fn push_back(&mut self, waker: Waker) -> usize {
        let entry = Node::Waiting {
            waker,
            before: self.last,
            after: NIL,
        };
        let node = if let Some(Node::Free { next }) = self.nodes.get(self.free) {
            let node = self.free;
            self.free = *next;
            self.nodes[node] = entry;
            node
        } else {
            self.nodes.push(entry);
            self.nodes.len() - 1
        };
        match self.nodes.get_mut(self.last) {
            Some(Node::Waiting { after, .. }) => *after = node,
            _ => self.first = node,
        }
        self.last = node;
        self.waiting += 1;
        node
    }

    fn pop_front(&mut self, how: Woken) -> Option<Waker> {
        self.pop(self.first, how)
    }

    /// Takes the oldest that is not doomed.
    fn pop_alive(&mut self) -> Option<Waker> {
        self.pop(self.first_alive(), Woken::One)
    }

    /// Takes the one that came first of all, if it neither was woken already nor is doomed.
    fn pop_first(&mut self) -> Option<Waker> {
        if self.woken > 0 || self.first != self.first_alive() {
            return None;
        }
        self.pop(self.first, Woken::One)
    }

    fn pop(&mut self, node: usize, how: Woken) -> Option<Waker> {
        let waker = self.unlink(node, Node::Woken(how))?;
        self.woken += 1;
        Some(waker)
    }

    /// The oldest that waits and is not doomed.
    fn first_alive(&self) -> usize {
        let mut node = self.first;
        while let Some(Node::Waiting { waker, after, .. }) = self.nodes.get(node) {
            if !(self.doomed)(waker) {
                return node;
            }
            node = *after;
        }
        NIL
    }

    /// Takes a waiting node out of the chain and leaves `instead` in its slot.
    fn unlink(&mut self, node: usize, instead: Node) -> Option<Waker> {
        let Some(Node::Waiting { before, after, .. }) = self.nodes.get(node) else {
            return None;
        };
        let (earlier, later) = (*before, *after);
        match self.nodes.get_mut(earlier) {
            Some(Node::Waiting { after, .. }) => *after = later,
            _ => self.first = later,
        }
        match self.nodes.get_mut(later) {
            Some(Node::Waiting { before, .. }) => *before = earlier,
            _ => self.last = earlier,
        }
        self.waiting -= 1;
        match std::mem::replace(&mut self.nodes[node], instead) {
            Node::Waiting { waker, .. } => Some(waker),
            Node::Woken(_) | Node::Free { .. } => None,
        }
    }

    fn take_if_woken(&mut self, node: usize) -> Option<Woken> {
        let Some(Node::Woken(how)) = self.nodes.get(node) else {
            return None;
        };
        let how = *how;
        self.release(node);
        self.woken -= 1;
        Some(how)
    }

    fn replace_waker(&mut self, node: usize, new: Waker) -> Waker {
        match self.nodes.get_mut(node) {
            Some(Node::Waiting { waker, .. }) => std::mem::replace(waker, new),
            _ => new,
        }
    }

    fn leave(&mut self, node: usize) -> Left {
        if let Some(how) = self.take_if_woken(node) {
            return Left::Woken(how);
        }
        let waker = self.unlink(node, Node::Free { next: self.free });
        self.free = node;
        Left::Waiting(waker)
    }

    fn release(&mut self, node: usize) {
        self.nodes[node] = Node::Free { next: self.free };
        self.free = node;
    }
}
