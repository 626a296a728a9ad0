//! A queue between tasks, with asyncio's rules (asyncio: Queues), over any [`Store`].
//!
//! Those who wait are served in the order in which they came, but nobody waits who need not: an item or a place is for
//! whoever comes first after it was there. A task that is woken therefore looks again, and waits again at the end of the
//! line if somebody was faster. One that gives up after it was woken passes the wake-up on, if what it was woken for is
//! still there: no item and no place is left lying while somebody waits for it.
//!
//! The store may run foreign code in each of its methods. Nothing of the queue is borrowed then, and each step leaves
//! the queue whole before the next one calls the store.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::store::Store;
use crate::waiters::{BorrowedWait, Departure, Place, WaitQueue};

/// Why an item was not put. It comes back, unless the store had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutError<T, E> {
    /// There is no room now.
    Full(T),
    /// The queue was shut down.
    ShutDown(T),
    /// The store failed.
    Store(E),
}

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetError<E> {
    /// There is none now.
    Empty,
    /// There is none, and the queue was shut down.
    ShutDown,
    /// The store failed.
    Store(E),
}

/// Why a task waits no longer for room or for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitError<E> {
    /// The queue was shut down.
    ShutDown,
    /// The store failed.
    Store(E),
}

impl<E> From<E> for WaitError<E> {
    fn from(error: E) -> Self {
        Self::Store(error)
    }
}

/// [`Queue::task_done`] was called more often than items were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyDone;

/// A queue between tasks of one thread.
pub struct Queue<S> {
    store: S,
    getters: WaitQueue,
    putters: WaitQueue,
    /// Those in [`Queue::join`].
    joiners: WaitQueue,
    unfinished: Cell<usize>,
    shut_down: Cell<bool>,
}

impl<S: Store> Queue<S> {
    /// An empty queue over `store`.
    pub fn new(store: S) -> Self {
        Self::with_lines(store, WaitQueue::default(), WaitQueue::default())
    }

    /// As [`Queue::new`], with a way to tell tasks that have been cancelled and only have to run to notice it: see
    /// [`WaitQueue::with_doomed`].
    pub fn with_doomed(store: S, doomed: fn(&Waker) -> bool) -> Self {
        Self::with_lines(
            store,
            WaitQueue::with_doomed(doomed),
            WaitQueue::with_doomed(doomed),
        )
    }

    fn with_lines(store: S, getters: WaitQueue, putters: WaitQueue) -> Self {
        Self {
            store,
            getters,
            putters,
            joiners: WaitQueue::default(),
            unfinished: Cell::new(0),
            shut_down: Cell::new(false),
        }
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Waits until there is room, then puts `item` (`Queue.put`). A put that is dropped puts nothing.
    ///
    /// # Errors
    /// The queue was shut down, or the store failed.
    pub async fn put(&self, item: S::Item) -> Result<(), PutError<S::Item, S::Error>> {
        match self.until_room().await {
            Ok(()) => self.put_nowait(item),
            Err(WaitError::ShutDown) => Err(PutError::ShutDown(item)),
            Err(WaitError::Store(error)) => Err(PutError::Store(error)),
        }
    }

    /// Waits until there is an item, then takes it (`Queue.get`). A get that is dropped takes nothing.
    ///
    /// # Errors
    /// The queue was shut down and is empty, or the store failed.
    pub async fn get(&self) -> Result<S::Item, GetError<S::Error>> {
        match self.until_item().await {
            Ok(()) => self.get_nowait(),
            Err(WaitError::ShutDown) => Err(GetError::ShutDown),
            Err(WaitError::Store(error)) => Err(GetError::Store(error)),
        }
    }

    /// The waiting of [`Queue::put`]: ends when an item can be put, which has to be done before the next `await`.
    ///
    /// # Errors
    /// The queue was shut down and is full, or the store failed.
    pub fn until_room(&self) -> impl Future<Output = Result<(), WaitError<S::Error>>> {
        Turn::new(self, Line::Putters)
    }

    /// The waiting of [`Queue::get`]: ends when there is an item, which has to be taken before the next `await`.
    ///
    /// # Errors
    /// The queue was shut down and is empty, or the store failed.
    pub fn until_item(&self) -> impl Future<Output = Result<(), WaitError<S::Error>>> {
        Turn::new(self, Line::Getters)
    }

    /// [`Queue::until_room`] or [`Queue::until_item`], for who keeps the place in line as such: polls from there.
    /// Every wait ends with [`Queue::leave`].
    ///
    /// # Errors
    /// As those.
    #[inline(always)]
    pub fn poll_turn(
        &self,
        line: Line,
        place: &Place,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), WaitError<S::Error>>> {
        let waiters = self.line(line);
        if !place.is_outside() {
            if waiters.poll(place, cx).is_pending() {
                return Poll::Pending;
            }
            // Somebody may have been faster: then it stands in line again, at the end.
            place.restart();
        }
        if !self.has_nothing(line)? {
            return Poll::Ready(Ok(()));
        }
        // As asyncio's `get()` does, and its `put()` does not, it asks once more.
        if self.shut_down.get() && (line == Line::Putters || self.has_nothing(line)?) {
            return Poll::Ready(Err(WaitError::ShutDown));
        }
        self.store.before_waiting(cx.waker())?;
        waiters.poll(place, cx).map(Ok)
    }

    /// Gives up a place of [`Queue::poll_turn`]. If it was woken, it passes the wake-up on if there is still something
    /// to be had: the next in line would otherwise lose its turn for nothing.
    #[inline]
    pub fn leave(&self, line: Line, place: &Place) {
        let waiters = self.line(line);
        let departure = waiters.leave(place);
        if !matches!(departure, Departure::Woken | Departure::WokenWithAll) {
            return;
        }
        // A store that cannot tell must not cost anybody a wake-up: to be woken in vain is harmless.
        if !self.has_nothing(line).unwrap_or(false) {
            waiters.wake_one();
        }
    }

    #[inline]
    fn line(&self, line: Line) -> &WaitQueue {
        match line {
            Line::Getters => &self.getters,
            Line::Putters => &self.putters,
        }
    }

    /// Whether those in this line have to wait.
    #[inline]
    fn has_nothing(&self, line: Line) -> Result<bool, S::Error> {
        match line {
            Line::Getters => self.store.is_empty(),
            Line::Putters => self.store.is_full(),
        }
    }

    /// Puts `item` if there is room, and wakes one task that waits for an item (`Queue.put_nowait`).
    ///
    /// # Errors
    /// The queue is full or was shut down, or the store failed.
    #[inline]
    pub fn put_nowait(&self, item: S::Item) -> Result<(), PutError<S::Item, S::Error>> {
        if self.shut_down.get() {
            return Err(PutError::ShutDown(item));
        }
        if self.store.is_full().map_err(PutError::Store)? {
            return Err(PutError::Full(item));
        }
        self.store.put(item).map_err(PutError::Store)?;
        self.unfinished.set(self.unfinished.get() + 1);
        self.getters.wake_one();
        Ok(())
    }

    /// Takes the next item if there is one, and wakes one task that waits for room (`Queue.get_nowait`).
    ///
    /// # Errors
    /// There is no item, or the store failed.
    #[inline]
    pub fn get_nowait(&self) -> Result<S::Item, GetError<S::Error>> {
        if self.store.is_empty().map_err(GetError::Store)? {
            return Err(if self.shut_down.get() {
                GetError::ShutDown
            } else {
                GetError::Empty
            });
        }
        let item = self.store.get().map_err(GetError::Store)?;
        let item = item.ok_or(GetError::Empty)?;
        self.putters.wake_one();
        Ok(item)
    }

    /// One of the items that were put is dealt with (`Queue.task_done`). The last one ends every [`Queue::join`].
    ///
    /// # Errors
    /// All were.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let unfinished = self.unfinished.get().checked_sub(1).ok_or(TooManyDone)?;
        self.unfinished.set(unfinished);
        if unfinished == 0 {
            self.joiners.wake_all();
        }
        Ok(())
    }

    /// Waits until every item that was put is dealt with (`Queue.join`). It ends even if more are put before the task
    /// has its turn.
    pub async fn join(&self) {
        if self.unfinished.get() > 0 {
            BorrowedWait::new(&self.joiners).await;
        }
    }

    /// Ends the queue (`Queue.shutdown`): puts fail from now on, and gets as soon as there is no item left. If
    /// `immediate`, the items that there are go at once, and count as dealt with. Everybody who waits looks again.
    ///
    /// # Errors
    /// The store failed; the queue is shut down, but nobody was woken.
    pub fn shutdown(&self, immediate: bool) -> Result<(), S::Error> {
        self.shut_down.set(true);
        if immediate {
            while !self.store.is_empty()? {
                drop(self.store.get()?);
                self.unfinished.set(self.unfinished.get().saturating_sub(1));
            }
            if self.unfinished.get() == 0 {
                self.joiners.wake_all();
            }
        }
        self.getters.wake_all();
        self.putters.wake_all();
        Ok(())
    }

    /// Whether [`Queue::shutdown`] was called.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.get()
    }

    /// How many of the items that were put are not dealt with.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.unfinished.get()
    }

    /// Says how many items are not dealt with, without telling anybody.
    pub fn set_unfinished(&self, count: usize) {
        self.unfinished.set(count);
    }

    /// The tasks that wait for an item.
    #[must_use]
    pub fn getters(&self) -> &WaitQueue {
        &self.getters
    }

    /// The tasks that wait for room.
    #[must_use]
    pub fn putters(&self) -> &WaitQueue {
        &self.putters
    }

    /// The tasks that wait for the last item to be dealt with.
    #[must_use]
    pub fn joiners(&self) -> &WaitQueue {
        &self.joiners
    }
}

impl<S> fmt::Debug for Queue<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("getters", &self.getters.len())
            .field("putters", &self.putters.len())
            .field("unfinished", &self.unfinished.get())
            .field("shut_down", &self.shut_down.get())
            .finish_non_exhaustive()
    }
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// An item.
    Getters,
    /// Room for an item.
    Putters,
}

/// One wait in one of the two lines.
struct Turn<'a, S: Store> {
    queue: &'a Queue<S>,
    line: Line,
    place: Place,
}

impl<'a, S: Store> Turn<'a, S> {
    fn new(queue: &'a Queue<S>, line: Line) -> Self {
        let place = Place::default();
        Self { queue, line, place }
    }
}

impl<S: Store> Future for Turn<'_, S> {
    type Output = Result<(), WaitError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &*self;
        this.queue.poll_turn(this.line, &this.place, cx)
    }
}

impl<S: Store> Drop for Turn<'_, S> {
    fn drop(&mut self) {
        self.queue.leave(self.line, &self.place);
    }
}
