//! The resolver's threads.
//!
//! A thread is started when work is queued that no idle thread can take, up to four, and ends after ten
//! seconds without work: a program that resolves nothing has none. Work is taken in the order in which it was
//! queued. Dropping the [`Resolver`] lets idle threads end at once, and a busy one after the lookup that
//! it is in, which cannot be interrupted; its answer goes nowhere.
//!
//! One resolver belongs to one loop, so a forked child, whose loop is a new one, starts with no thread and a
//! lock that nobody holds. The parent's resolver is of no use there and is not touched: its lock may be held by
//! a thread that the child does not have.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sabio_sync::oneshot::{self, Receiver, Sender};

use super::query::{AddrInfo, NameInfo, Query, ResolveError};
use crate::socket::Address;
use crate::sys::{self, ForkMark};

/// How many lookups run at once.
const MOST_THREADS: usize = 4;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A pool of threads that call getaddrinfo(3) and getnameinfo(3).
pub struct Resolver {
    shared: Arc<Shared>,
    idle: Duration,
    process: ForkMark,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled for each job, and for all when the resolver is dropped.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// How many threads wait for a job. Each of them will take one of `jobs`, if there is any.
    waiting: usize,
    closed: bool,
}

enum Job {
    Address(Query, Sender<Result<Vec<AddrInfo>, ResolveError>>),
    Name(Address, i32, Sender<Result<NameInfo, ResolveError>>),
}

impl Job {
    /// Looks up and answers, unless nobody waits for the answer any more. Blocks.
    fn run(self) {
        match self {
            Self::Address(query, sender) if !sender.is_closed() => sender.send(sys::getaddrinfo(&query)),
            Self::Name(address, flags, sender) if !sender.is_closed() => {
                sender.send(sys::getnameinfo(&address, flags));
            }
            Self::Address(..) | Self::Name(..) => {}
        }
    }

    /// Answers that there is no thread to look up with.
    fn fail(self, error: &io::Error) {
        let error = ResolveError {
            code: libc::EAI_SYSTEM,
            errno: error.raw_os_error().or(Some(libc::EAGAIN)),
            message: format!("can't start a resolver thread: {error}"),
        };
        match self {
            Self::Address(_, sender) => sender.send(Err(error)),
            Self::Name(_, _, sender) => sender.send(Err(error)),
        }
    }
}

impl Resolver {
    /// A pool without threads.
    #[must_use]
    pub fn new() -> Self {
        Self::with_idle_time(IDLE)
    }

    /// A pool whose threads end after `idle` without work.
    #[must_use]
    pub fn with_idle_time(idle: Duration) -> Self {
        let shared = Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            idle,
            process: ForkMark::new(),
        }
    }

    /// Looks up the addresses of a name. Dropping the result gives up waiting; a lookup that has
    /// not begun is then skipped. The waker that the result is polled with is woken on another thread: see
    /// [`remote`](crate::remote).
    ///
    /// # Errors
    /// The answer is a [`ResolveError`] when the name does not resolve, the arguments do not fit together, or
    /// no thread can be started.
    pub fn lookup(&self, query: Query) -> Receiver<Result<Vec<AddrInfo>, ResolveError>> {
        let (sender, receiver) = oneshot::channel();
        self.queue(Job::Address(query, sender));
        receiver
    }

    /// Looks up the names of an address and its port; `flags` are `NI_*`.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn getnameinfo(&self, address: Address, flags: i32) -> Receiver<Result<NameInfo, ResolveError>> {
        let (sender, receiver) = oneshot::channel();
        self.queue(Job::Name(address, flags, sender));
        receiver
    }

    /// How many threads there are.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.shared.lock().threads
    }

    fn queue(&self, job: Job) {
        if let Err(error) = self.process.check() {
            return job.fail(&error);
        }
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        if state.jobs.len() <= state.waiting || state.threads == MOST_THREADS {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.start_thread() {
            self.give_up_on_thread(&error);
        }
    }

    fn start_thread(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let idle = self.idle;
        let started = thread::Builder::new()
            .name("sabio-resolver".to_owned())
            .spawn(move || {
                sys::block_signals();
                shared.work(idle);
            });
        started.map(drop)
    }

    /// The system has no thread left. Those that run will get to the jobs; if there is none, nobody will.
    fn give_up_on_thread(&self, error: &io::Error) {
        let mut state = self.shared.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        for job in jobs {
            job.fail(error);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn work(&self, idle: Duration) {
        while let Some(job) = self.next_job(idle) {
            job.run();
        }
    }

    /// Waits for a job; `None` when the thread is to end, which has then been booked.
    fn next_job(&self, idle: Duration) -> Option<Job> {
        let mut state = self.lock();
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        let deadline = Instant::now() + idle;
        state.waiting += 1;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                state.waiting -= 1;
                state.threads -= 1;
                return None;
            }
            let (next, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if let Some(job) = state.jobs.pop_front() {
                state.waiting -= 1;
                return Some(job);
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if self.process.is_inherited() {
            return;
        }
        let mut state = self.shared.lock();
        state.closed = true;
        let unanswered = std::mem::take(&mut state.jobs);
        drop(state);
        self.shared.changed.notify_all();
        drop(unanswered);
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Resolver")
            .field("threads", &self.thread_count())
            .finish_non_exhaustive()
    }
}
