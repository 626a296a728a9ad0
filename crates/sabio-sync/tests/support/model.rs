//! Runs a small program of tasks in every way in which it can run, and checks what must always hold.
//!
//! A program is built anew for each run. What a run decides (which task starts when, who is cancelled at which point,
//! whom a needless wake-up polls, and on request which of the ready tasks goes next) is decided by a script; the
//! explorer goes through all scripts, depth first, so a test that passes has seen every one. Tasks run in the order in
//! which they were woken, as on asyncio's loop, unless [`Model::any_order`] is asked for.
//!
//! Cancelling a task drops its future, or throws into the [`This::catch`] that it is in, as the binding does. Whoever
//! still waits when nothing is left to run waits for ever: that is an error unless [`Program::at_rest`] says otherwise.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "a failed run shows its steps")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A run of a small program has far fewer steps.
const MOST_MOVES: usize = 500;

/// What an exploration may do to a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    cancels: usize,
    needless_polls: usize,
    any_order: bool,
    most_runs: usize,
}

/// The task was cancelled while it was in [`This::catch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cancelled;

impl Model {
    /// Tasks that start at any time and in any order; nobody is cancelled.
    pub(crate) fn new() -> Self {
        Self {
            cancels: 0,
            needless_polls: 0,
            any_order: false,
            most_runs: 3_000_000,
        }
    }

    /// Up to so many cancellations, each of any task that has not ended, between any two steps.
    pub(crate) fn cancels(self, cancels: usize) -> Self {
        Self { cancels, ..self }
    }

    /// Up to so many polls of a task that nobody woke.
    pub(crate) fn needless_polls(self, needless_polls: usize) -> Self {
        Self {
            needless_polls,
            ..self
        }
    }

    /// Any of the ready tasks may go next.
    pub(crate) fn any_order(self) -> Self {
        Self {
            any_order: true,
            ..self
        }
    }

    /// Runs the program in every way; how many there were. Panics with the steps of the first run that breaks a check.
    pub(crate) fn explore(&self, build: impl Fn(&mut Program)) -> usize {
        let choices = Rc::new(Choices::default());
        for runs in 1..=self.most_runs {
            choices.position.set(0);
            let mut program = Program::new(Rc::clone(&choices));
            build(&mut program);
            program.run(self);
            if !choices.next() {
                return runs;
            }
        }
        panic!("more than {} runs: make the program smaller", self.most_runs);
    }
}

/// The script of the current run: at each choice, which way it goes and how many ways there are.
#[derive(Default)]
struct Choices {
    script: RefCell<Vec<(usize, usize)>>,
    position: Cell<usize>,
}

impl Choices {
    fn choose(&self, ways: usize) -> usize {
        if ways < 2 {
            return 0;
        }
        let position = self.position.replace(self.position.get() + 1);
        let mut script = self.script.borrow_mut();
        if position == script.len() {
            script.push((0, ways));
        }
        let (way, before) = script[position];
        assert_eq!(
            before, ways,
            "the program does not repeat itself: it can not be explored"
        );
        way
    }

    /// Moves on to the next script; false when all have been run.
    fn next(&self) -> bool {
        let mut script = self.script.borrow_mut();
        while let Some((way, ways)) = script.pop() {
            if way + 1 < ways {
                script.push((way + 1, ways));
                return true;
            }
        }
        false
    }
}

/// What a task can ask of the run that it is part of.
#[derive(Clone)]
pub(crate) struct This {
    choices: Rc<Choices>,
    catching: Rc<Cell<bool>>,
    thrown: Rc<Cell<bool>>,
}

impl This {
    /// One of `ways` numbers from zero: the exploration tries each.
    pub(crate) fn choose(&self, ways: usize) -> usize {
        self.choices.choose(ways)
    }

    /// Awaits `future`; a cancellation meanwhile drops it and comes back as an error, so that the task may go on.
    pub(crate) async fn catch<F: Future>(&self, future: F) -> Result<F::Output, Cancelled> {
        let mut future = Some(Box::pin(future));
        poll_fn(|cx| {
            let polled = match future.as_mut() {
                Some(_) if self.thrown.take() => Poll::Ready(Err(Cancelled)),
                Some(future) => future.as_mut().poll(cx).map(Ok),
                None => Poll::Ready(Err(Cancelled)),
            };
            self.catching.set(polled.is_pending());
            if polled.is_ready() {
                drop(future.take());
            }
            polled
        })
        .await
    }
}

/// The ready queue. A task is in it at most once, as in the binding.
#[derive(Default)]
struct Ready {
    queue: VecDeque<usize>,
    queued: Vec<bool>,
}

impl Ready {
    fn push(&mut self, task: usize) {
        if !std::mem::replace(&mut self.queued[task], true) {
            self.queue.push_back(task);
        }
    }

    fn take(&mut self, place: usize) -> Option<usize> {
        let task = self.queue.remove(place)?;
        self.queued[task] = false;
        Some(task)
    }
}

struct Wakeup {
    task: usize,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push(self.task);
    }
}

struct Task {
    name: &'static str,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    started: bool,
    this: This,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Start(usize),
    Step(usize),
    Cancel(usize),
    Needless(usize),
}

/// Looks at the names of the tasks that wait for ever.
type RestCheck = Box<dyn Fn(&[&'static str])>;

/// A program in the making, and then in one of its runs.
pub(crate) struct Program {
    choices: Rc<Choices>,
    tasks: Vec<Task>,
    ready: Arc<Mutex<Ready>>,
    always: Vec<Box<dyn Fn()>>,
    at_rest: Option<RestCheck>,
    moves: Vec<Move>,
}

impl Program {
    fn new(choices: Rc<Choices>) -> Self {
        Self {
            choices,
            tasks: Vec::new(),
            ready: Arc::default(),
            always: Vec::new(),
            at_rest: None,
            moves: Vec::new(),
        }
    }

    /// Adds a task. It starts whenever the exploration has it start.
    pub(crate) fn task<F>(&mut self, name: &'static str, body: impl FnOnce(This) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let this = This {
            choices: Rc::clone(&self.choices),
            catching: Rc::default(),
            thrown: Rc::default(),
        };
        self.tasks.push(Task {
            name,
            future: Some(Box::pin(body(this.clone()))),
            started: false,
            this,
        });
        self.ready.lock().unwrap().queued.push(false);
    }

    /// Checks something after each step.
    pub(crate) fn always(&mut self, check: impl Fn() + 'static) {
        self.always.push(Box::new(check));
    }

    /// Checks something when nothing is left to run; gets the names of the tasks that wait for ever. Without it, that
    /// there are any is an error.
    pub(crate) fn at_rest(&mut self, check: impl Fn(&[&'static str]) + 'static) {
        self.at_rest = Some(Box::new(check));
    }

    fn run(&mut self, model: &Model) {
        let mut cancels = model.cancels;
        let mut needless = model.needless_polls;
        loop {
            let moves = self.possible(model, cancels > 0, needless > 0);
            let must_go_on = moves
                .iter()
                .any(|step| matches!(step, Move::Start(_) | Move::Step(_)));
            // At rest, a last cancellation may still come; not doing anything more is one of the ways.
            let ways = moves.len() + usize::from(!must_go_on);
            let way = self.choices.choose(ways);
            let Some(step) = moves.get(way).copied() else {
                break;
            };
            self.moves.push(step);
            assert!(self.moves.len() < MOST_MOVES, "a run that never ends");
            match step {
                Move::Start(task) => {
                    self.tasks[task].started = true;
                    self.ready.lock().unwrap().push(task);
                }
                Move::Step(place) => self.step(place),
                Move::Cancel(task) => {
                    cancels -= 1;
                    self.cancel(task);
                }
                Move::Needless(task) => {
                    needless -= 1;
                    self.poll(task);
                }
            }
            for check in &self.always {
                check();
            }
        }
        self.rest();
    }

    fn rest(&self) {
        let waiting: Vec<_> = self
            .tasks
            .iter()
            .filter(|task| task.future.is_some())
            .map(|task| task.name)
            .collect();
        match &self.at_rest {
            Some(check) => check(&waiting),
            None => assert!(waiting.is_empty(), "{waiting:?} wait for ever"),
        }
    }

    /// Everything that could happen next.
    fn possible(&self, model: &Model, may_cancel: bool, may_poll: bool) -> Vec<Move> {
        let mut moves = Vec::new();
        let ready = self.ready.lock().unwrap().queue.len();
        moves.extend((0..if model.any_order { ready } else { ready.min(1) }).map(Move::Step));
        for (index, task) in self.tasks.iter().enumerate() {
            if !task.started {
                moves.push(Move::Start(index));
            } else if task.future.is_some() {
                if may_cancel {
                    moves.push(Move::Cancel(index));
                }
                if may_poll {
                    moves.push(Move::Needless(index));
                }
            }
        }
        moves
    }

    fn step(&mut self, place: usize) {
        let task = self.ready.lock().unwrap().take(place);
        if let Some(task) = task {
            if let Some(step) = self.moves.last_mut() {
                *step = Move::Step(task);
            }
            self.poll(task);
        }
    }

    fn poll(&mut self, index: usize) {
        let waker = Waker::from(Arc::new(Wakeup {
            task: index,
            ready: Arc::clone(&self.ready),
        }));
        // Taken out, so that a task that panics can still be dropped with the program.
        let Some(mut future) = self.tasks[index].future.take() else {
            return;
        };
        if pin!(future.as_mut())
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            self.tasks[index].future = Some(future);
        }
    }

    fn cancel(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        if task.this.catching.get() {
            task.this.thrown.set(true);
            self.poll(index);
        } else {
            drop(task.future.take());
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::from("the run that failed:");
            for step in &self.moves {
                let (what, task) = match *step {
                    Move::Start(task) => ("start", task),
                    Move::Step(task) => ("step", task),
                    Move::Cancel(task) => ("cancel", task),
                    Move::Needless(task) => ("poll needlessly", task),
                };
                let name = self.tasks.get(task).map_or("?", |task| task.name);
                let _ = write!(text, "\n  {what} {name} ({task})");
            }
            eprintln!("{text}");
        }
    }
}
