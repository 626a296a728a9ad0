//! Every interleaving of a task that waits for another thread: `RUSTFLAGS="--cfg loom" cargo test --release`.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker as TaskWaker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sabio_reactor::{RemoteWakers, Waker, remote};
use sabio_sync::oneshot;

/// The one task of a loop; only the loop's thread touches it, so it needs no modelling.
#[derive(Default)]
struct Task {
    ready: std::sync::atomic::AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// A loop with one task: polls it when it was woken, else waits for the reactor's waker.
fn run_loop<F: Future>(waker: &Waker, wakers: &RemoteWakers, future: F) -> F::Output {
    let task = Arc::new(Task {
        ready: std::sync::atomic::AtomicBool::new(true),
    });
    let task_waker = TaskWaker::from(Arc::clone(&task));
    let mut future = pin!(future);
    loop {
        while task.ready.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&task_waker)) {
                return output;
            }
        }
        waker.wait_readable();
        waker.reset();
        wakers.drain();
    }
}

/// Every interleaving of three threads would take minutes; a slip here needs two preemptions at most.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_task_always_hears_of_the_other_thread() {
    loom::model(|| {
        let waker = Waker::new().unwrap();
        let wakers = RemoteWakers::new(waker.clone());
        let (sender, receiver) = oneshot::channel();
        let worker = thread::spawn(move || sender.send(5));
        assert_eq!(run_loop(&waker, &wakers, remote(wakers.clone(), receiver)), Ok(5));
        worker.join().unwrap();
        assert!(wakers.is_empty());
    });
}

/// The two answers are relaxed atomics: all ordering has to come from the wake-ups.
#[test]
fn a_task_sees_what_was_written_before_each_wake_up() {
    check(|| {
        let waker = Waker::new().unwrap();
        let wakers = RemoteWakers::new(waker.clone());
        let written = loom::sync::Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        let both = poll_fn(|cx| {
            if threads.is_empty() {
                for _ in 0..2 {
                    let (written, waker) = (written.clone(), cx.waker().clone());
                    threads.push(thread::spawn(move || {
                        written.fetch_add(1, Ordering::Relaxed);
                        waker.wake();
                    }));
                }
            }
            if written.load(Ordering::Relaxed) == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        run_loop(&waker, &wakers, remote(wakers.clone(), both));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Two stand-ins, so that one may be woken while the other is being drained.
#[test]
fn two_tasks_both_hear_of_their_threads() {
    check(|| {
        let waker = Waker::new().unwrap();
        let wakers = RemoteWakers::new(waker.clone());
        let tasks = [Arc::<Task>::default(), Arc::<Task>::default()];
        let stand_ins = [0, 1].map(|index: usize| wakers.wrap(TaskWaker::from(Arc::clone(&tasks[index]))));
        let threads = [0, 1].map(|index: usize| {
            let stand_in = stand_ins[index].waker().clone();
            thread::spawn(move || stand_in.wake())
        });
        let is_ready = |task: &Arc<Task>| task.ready.load(Ordering::Relaxed);
        while !tasks.iter().all(is_ready) {
            waker.wait_readable();
            waker.reset();
            wakers.drain();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
