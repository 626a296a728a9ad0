//! Every interleaving of a task that waits for another thread: `RUSTFLAGS="--cfg loom" cargo test --release`.
#![cfg(loom)]

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
    let task = Arc::new(Task { ready: std::sync::atomic::AtomicBool::new(true) });
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
    loom::model(|| {
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
            if written.load(Ordering::Relaxed) == 2 { Poll::Ready(()) } else { Poll::Pending }
        });
        run_loop(&waker, &wakers, remote(wakers.clone(), both));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Two stand-ins, so that one may be woken while the other is being drained.
#[test]
fn a_task_that_waits_for_two_threads_hears_of_both() {
    loom::model(|| {
        let waker = Waker::new().unwrap();
        let wakers = RemoteWakers::new(waker.clone());
        let (first, first_answer) = oneshot::channel();
        let (second, second_answer) = oneshot::channel();
        let workers = [thread::spawn(move || first.send(1)), thread::spawn(move || second.send(2))];
        let both = async {
            let mut first = pin!(remote(wakers.clone(), first_answer));
            let mut second = pin!(remote(wakers.clone(), second_answer));
            let mut answers = [None, None];
            poll_fn(move |cx| {
                if answers[0].is_none()
                    && let Poll::Ready(answer) = first.as_mut().poll(cx)
                {
                    answers[0] = Some(answer);
                }
                if answers[1].is_none()
                    && let Poll::Ready(answer) = second.as_mut().poll(cx)
                {
                    answers[1] = Some(answer);
                }
                if answers.contains(&None) { Poll::Pending } else { Poll::Ready(answers) }
            })
            .await
        };
        assert_eq!(run_loop(&waker, &wakers, both), [Some(Ok(1)), Some(Ok(2))]);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}
