//! A small deterministic executor: tasks run in the order in which they were woken, one at a time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod model;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

type Queue = Arc<Mutex<VecDeque<usize>>>;

struct Wakeup {
    task: usize,
    queue: Queue,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.queue.lock().unwrap().push_back(self.task);
    }
}

/// Runs tasks of one test.
#[derive(Default)]
pub(crate) struct Executor<'a> {
    tasks: Vec<Option<Pin<Box<dyn Future<Output = ()> + 'a>>>>,
    queue: Queue,
}

#[allow(dead_code, reason = "each test file uses some of it")]
impl<'a> Executor<'a> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Queues a task and names it.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + 'a) -> usize {
        self.tasks.push(Some(Box::pin(future)));
        let task = self.tasks.len() - 1;
        self.queue.lock().unwrap().push_back(task);
        task
    }

    /// Runs until nothing is woken; the number of polls.
    pub(crate) fn run(&mut self) -> usize {
        let mut polls = 0;
        loop {
            let next = self.queue.lock().unwrap().pop_front();
            let Some(task) = next else {
                return polls;
            };
            if let Some(future) = &mut self.tasks[task] {
                polls += 1;
                let waker = Waker::from(Arc::new(Wakeup {
                    task,
                    queue: Arc::clone(&self.queue),
                }));
                if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    self.tasks[task] = None;
                }
            }
        }
    }

    /// Drops a task: what cancelling it comes to.
    pub(crate) fn cancel(&mut self, task: usize) {
        self.tasks[task] = None;
    }

    /// Whether a task has ended.
    pub(crate) fn is_done(&self, task: usize) -> bool {
        self.tasks[task].is_none()
    }
}

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

#[allow(dead_code, reason = "each test file uses some of it")]
impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Ordering::Relaxed)
    }
}
