//! The reactor: which descriptors are watched for whom, and which timers are set.
//!
//! A descriptor is registered in one of two ways. A *source* (a transport, a listener) owns its
//! descriptor and hears of it under its token. Any other descriptor belongs to the user and is
//! *watched*: by handles (`add_reader`, `add_writer`), by futures (`sock_recv` and its kin), or both.
//! The table maps each descriptor to at most one of the two.
//!
//! The reactor lives on one thread, behind an `Rc`, and every method takes `&self`. Its borrows end
//! before anything foreign runs: wakers are woken, and handles, sources and wakers are dropped, when
//! the table and the timers can be used again. So a finalizer or a callback may call right back.
//!
//! Split by what is registered: `source` (owned descriptors), `watch` (the user's), `readiness` (futures of
//! those), `schedule` (timers and their futures), `fire` (events), `table` (the entries of all).

mod fire;
mod readiness;
mod schedule;
mod source;
mod table;
mod watch;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::task::Waker as TaskWaker;

use crate::interest::Interest;
use crate::sys::Poller;
use crate::timer::Timers;
use crate::token::Token;
use crate::waker::Waker;
use schedule::Timer;
use table::{Entry, Table};

pub use fire::Fired;
pub use readiness::Readiness;
pub use schedule::{Due, Sleep};

/// Descriptors and timers of one loop.
///
/// `S` is what owns a descriptor of its own, `H` a callback of a user. Cloning either must not run foreign
/// code: both are counted references.
pub struct Reactor<S, H> {
    poller: Poller,
    waker: Waker,
    table: RefCell<Table<S, H>>,
    timers: RefCell<Timers<Timer<H>>>,
    /// Memory to collect wakers in before they are woken; taken out while in use.
    spare: Cell<Vec<TaskWaker>>,
    /// The number of the next future that waits for a descriptor.
    next_wait: Cell<u64>,
    closed: Cell<bool>,
}

/// What a reactor held when it was closed; the caller drops it when it may.
#[derive(Debug)]
pub struct Closed<S, H> {
    /// The sources that were registered.
    pub sources: Vec<S>,
    /// The handles of watched descriptors.
    pub handles: Vec<H>,
    /// The wakers of tasks that waited for a descriptor. They have not been woken.
    pub wakers: Vec<TaskWaker>,
    /// The timers: handles, and wakers that have not been woken.
    timers: Timers<Timer<H>>,
}

impl<S, H> Closed<S, H> {
    /// The handles of timers, in no order.
    pub fn timer_handles(&self) -> impl Iterator<Item = &H> {
        self.timers.iter().filter_map(|timer| match timer {
            Timer::Handle(handle) => Some(handle),
            Timer::Sleeper(_) => None,
        })
    }
}

impl<S: Clone, H: Clone> Reactor<S, H> {
    /// A reactor with a poller and a waker of its own.
    ///
    /// # Errors
    /// Those of epoll_create1(2) and eventfd(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = Waker::new()?;
        if let Some(fd) = waker.descriptor() {
            poller.add(fd, Token::WAKER, Interest::READABLE)?;
        }
        Ok(Self {
            poller,
            waker,
            table: RefCell::new(Table::new()),
            timers: RefCell::new(Timers::new()),
            spare: Cell::new(Vec::new()),
            next_wait: Cell::new(0),
            closed: Cell::new(false),
        })
    }

    /// A waker that ends this reactor's wait, from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The poller to wait with. It may be used by a thread that has let go of everything else.
    #[must_use]
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Shows every source, every handle and the waker of every future that waits to a garbage collector's
    /// traversal. Shows nothing in the middle of a change: whatever is held then is kept alive by whoever is
    /// changing it. The functions must not wake, clone or drop a waker.
    pub fn visit(
        &self,
        mut source: impl FnMut(&S),
        mut handle: impl FnMut(&H),
        mut waker: impl FnMut(&TaskWaker),
    ) {
        if let Ok(table) = self.table.try_borrow() {
            table.visit(&mut source, &mut handle, &mut waker);
        }
        if let Ok(timers) = self.timers.try_borrow() {
            for timer in timers.iter() {
                match timer {
                    Timer::Handle(timer) => handle(timer),
                    Timer::Sleeper(sleeper) => waker(sleeper),
                }
            }
        }
    }

    /// Forgets everything, closes the poller and the waker, and gives back what was registered.
    ///
    /// From here on registering fails with `EBADF`, as do the futures that were waiting.
    #[must_use]
    pub fn close(&self) -> Closed<S, H> {
        self.closed.set(true);
        let entries = self.table.borrow_mut().drain();
        let timers = self.timers.borrow_mut().take();
        self.poller.close();
        self.waker.close();

        let mut closed = Closed {
            sources: Vec::new(),
            handles: Vec::new(),
            wakers: Vec::new(),
            timers,
        };
        for entry in entries {
            match entry {
                Entry::Source(source) => closed.sources.push(source.source),
                Entry::Watch(watch) => watch.scatter(&mut closed.handles, &mut closed.wakers),
            }
        }
        closed
    }
}

impl<S, H> fmt::Debug for Reactor<S, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reactor")
            .field("descriptors", &self.table.borrow().len())
            .field("timers", &self.timers.borrow().len())
            .finish_non_exhaustive()
    }
}
