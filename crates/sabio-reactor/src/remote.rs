//! Wakers for other threads.
//!
//! A task's own waker may be tied to the loop's thread: woken, cloned and dropped nowhere else. When a
//! task waits for work on another thread, [`remote`] polls that work with a stand-in which any thread
//! may hold. Waking the stand-in puts its number on a list and wakes the reactor; the loop's thread then
//! calls [`RemoteWakers::drain`], which wakes the task. The task's own waker never leaves its thread, and it
//! is let go as soon as the work is done or given up, whoever still holds the stand-in.
//!
//! Why no wake-up is lost: a stand-in puts itself on the list once, until `drain` has taken it off, and
//! `drain` marks it as taken *before* it wakes the task. Whoever found it marked as listed is therefore
//! followed by a wake-up of the task, which then sees everything that was written before.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker as TaskWaker};

use crate::primitive::{AtomicBool, Mutex, Ordering, lock};
use crate::waker::Waker;

/// The stand-ins of one loop. Clones share them; none leaves the loop's thread.
#[derive(Clone)]
pub struct RemoteWakers {
    local: Rc<Local>,
}

struct Local {
    /// The tasks' own wakers by the number of their stand-in; taken out when woken.
    wakers: RefCell<HashMap<u64, TaskWaker>>,
    next_number: Cell<u64>,
    shared: Arc<Shared>,
}

struct Shared {
    woken: Mutex<Vec<Arc<StandIn>>>,
    /// Set after `woken` grew, so that `drain` need not take the lock to find it empty.
    any_woken: AtomicBool,
    reactor: Waker,
}

/// What the other threads hold.
struct StandIn {
    number: u64,
    /// Whether it is on the list.
    listed: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for StandIn {
    fn wake(self: Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        lock(&shared.woken).push(self);
        shared.any_woken.store(true, Ordering::Release);
        shared.reactor.wake();
    }
}

impl RemoteWakers {
    /// No stand-ins yet; waking one wakes the reactor that `reactor` belongs to.
    #[must_use]
    pub fn new(reactor: Waker) -> Self {
        let shared = Shared {
            woken: Mutex::new(Vec::new()),
            any_woken: AtomicBool::new(false),
            reactor,
        };
        let local = Local {
            wakers: RefCell::new(HashMap::new()),
            next_number: Cell::new(0),
            shared: Arc::new(shared),
        };
        Self {
            local: Rc::new(local),
        }
    }

    /// A stand-in for `task`, for as long as the result lives.
    #[must_use]
    pub fn wrap(&self, task: TaskWaker) -> RemoteWaker {
        let wrapped = self.stand_in();
        self.local.wakers.borrow_mut().insert(wrapped.number, task);
        wrapped
    }

    /// For the loop's thread, once per turn and after the reactor's waker was reset: wakes the tasks whose
    /// stand-ins were woken. Says how many there were.
    pub fn drain(&self) -> usize {
        let shared = &self.local.shared;
        if !shared.any_woken.load(Ordering::Acquire) {
            return 0;
        }
        shared.any_woken.store(false, Ordering::Relaxed);
        let woken = mem::take(&mut *lock(&shared.woken));
        let mut count = 0;
        for stand_in in woken {
            stand_in.listed.swap(false, Ordering::AcqRel);
            let task = self.local.wakers.borrow_mut().remove(&stand_in.number);
            if let Some(task) = task {
                task.wake();
                count += 1;
            }
        }
        count
    }

    /// How many tasks' wakers are being held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.local.wakers.borrow().len()
    }

    /// Whether no task's waker is being held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stand_in(&self) -> RemoteWaker {
        let number = self.local.next_number.get();
        self.local.next_number.set(number + 1);
        let shared = Arc::clone(&self.local.shared);
        let stand_in = Arc::new(StandIn {
            number,
            listed: AtomicBool::new(false),
            shared,
        });
        RemoteWaker {
            number,
            waker: TaskWaker::from(stand_in),
            wakers: self.clone(),
        }
    }
}

impl fmt::Debug for RemoteWakers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RemoteWakers")
            .field("len", &self.len())
            .finish()
    }
}

/// A stand-in on the loop's thread; dropping it lets the task's own waker go.
pub struct RemoteWaker {
    number: u64,
    waker: TaskWaker,
    wakers: RemoteWakers,
}

impl RemoteWaker {
    /// The waker that any thread may hold.
    #[must_use]
    pub fn waker(&self) -> &TaskWaker {
        &self.waker
    }

    /// Names the task to be woken from now on; a woken stand-in wakes nobody until it is told again.
    pub fn set_task(&self, task: &TaskWaker) {
        let known = self
            .wakers
            .local
            .wakers
            .borrow()
            .get(&self.number)
            .is_some_and(|current| current.will_wake(task));
        if known {
            return;
        }
        let task = task.clone();
        let previous = self.wakers.local.wakers.borrow_mut().insert(self.number, task);
        drop(previous);
    }
}

impl Drop for RemoteWaker {
    fn drop(&mut self) {
        let task = self.wakers.local.wakers.borrow_mut().remove(&self.number);
        drop(task);
    }
}

impl fmt::Debug for RemoteWaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RemoteWaker")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// Polls `future` with a stand-in for the task's waker, so that it may be woken by any thread.
pub async fn remote<F: Future>(wakers: RemoteWakers, future: F) -> F::Output {
    let mut future = pin!(future);
    let stand_in = wakers.stand_in();
    poll_fn(|cx| {
        stand_in.set_task(cx.waker());
        future.as_mut().poll(&mut Context::from_waker(stand_in.waker()))
    })
    .await
}
