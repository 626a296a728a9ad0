//! Running the loop: its turns, when it waits and for how long, starting, stopping and closing.

use std::cell::Cell;
use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyResourceWarning, PyRuntimeError};
use pyo3::prelude::*;
use sabio_reactor::{Due, Events, Fired, Nanos};

use super::{
    Loop, Ready, SourceEvent, asyncgens, clock, debug, errors, executor, readers, replaced, signals,
    until_complete,
};
use crate::asyncio::asyncio;
use crate::ffi::{MethodTable, Outcome, Ref, doubt_current, guard, guard_outcome, with_stage};
use crate::handle::Handle;
use crate::interpreter::interpreter;
use crate::names::names;
use crate::observer;
use crate::os_error::os_error;
use crate::step::{self, Steps};
use crate::task::Task;
use crate::timer_handle::TimerHandle;
use crate::transport::Source;

/// While callbacks are ready the poller is asked about this often.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// The clock is read at least once in so many turns.
const MAX_STRIDE: u32 = 32;

/// So many turns of each run look at the descriptors in any case.
const FIRST_TURNS: u32 = 2;

/// A turn with no more callbacks than these looks whether what the one before it sent has been answered.
const FEW_CALLBACKS: usize = 16;

/// Decides in which turns a busy loop looks at the descriptors and reads the clock, so that short turns do not pay for it
/// and long ones do not starve input, output and timers: the stride follows the length of the turns. What the loop does
/// itself to descriptors shortens it.
#[derive(Default)]
pub(super) struct Pace {
    turns_left: Cell<u32>,
    stride: Cell<u32>,
    last_look: Cell<u64>,
    last_poll: Cell<u64>,
    first_turns: Cell<u32>,
    /// How often the poller has been asked, and how often before this run of the loop; both wrap around.
    polls: Cell<u32>,
    polls_before: Cell<u32>,
    /// Whether the loop has done something since the last look that may have made a descriptor ready.
    expectant: Cell<bool>,
}

/// What a busy turn should look at.
enum Look {
    Nothing,
    Timers(Nanos),
    Poller,
}

impl Pace {
    #[inline]
    fn turn(&self, ready: usize) -> Look {
        let left = self.turns_left.get();
        if left > 0 {
            self.turns_left.set(left - 1);
            return Look::Nothing;
        }
        self.look(ready)
    }

    fn look(&self, ready: usize) -> Look {
        let first_turns = self.first_turns.get();
        if first_turns > 0 {
            self.first_turns.set(first_turns - 1);
            return Look::Poller;
        }
        if self.expectant.replace(false) && ready <= FEW_CALLBACKS {
            return Look::Poller;
        }
        let now = Nanos::now();
        let elapsed = now.0.saturating_sub(self.last_look.replace(now.0));
        let interval = POLL_INTERVAL.as_nanos() as u64;
        let stride = self.stride.get().max(1);
        let next = if elapsed.saturating_mul(2) < interval {
            (stride * 2).min(MAX_STRIDE)
        } else if elapsed > interval {
            (u64::from(stride) * interval / elapsed).max(1) as u32
        } else {
            stride
        };
        self.stride.set(next);
        self.turns_left.set(next - 1);
        if now.0.saturating_sub(self.last_poll.get()) >= interval {
            Look::Poller
        } else {
            Look::Timers(now)
        }
    }

    /// The loop begins to run, perhaps for a few turns only: each of the first ones looks at what came meanwhile, as
    /// every turn of asyncio's does.
    fn start(&self) {
        self.turns_left.set(0);
        self.first_turns.set(FIRST_TURNS);
        self.polls_before.set(self.polls.get());
    }

    /// Something was sent, received or closed in this turn, or a descriptor is newly watched. The peer may be on this very
    /// loop, or answer at once, or data may be waiting already, and a program may count turns until that is seen: the next
    /// turn looks, unless the loop is busy with many callbacks.
    #[inline]
    pub(super) fn expect(&self) {
        self.turns_left.set(0);
        self.expectant.set(true);
    }

    /// How often the poller has been asked, wrapping around.
    pub(super) fn polls(&self) -> u32 {
        self.polls.get()
    }

    /// Whether the loop has just begun to run, perhaps for a single turn, in which all that is there is to be seen.
    pub(super) fn has_just_started(&self) -> bool {
        self.polls.get().wrapping_sub(self.polls_before.get()) <= FIRST_TURNS
    }

    /// Something may have been left waiting on purpose: the next turn looks, however busy the loop is.
    pub(super) fn insist(&self) {
        self.turns_left.set(0);
        self.first_turns.set(self.first_turns.get().max(1));
    }

    fn polled(&self, now: Nanos) {
        self.expectant.set(false);
        self.polls.set(self.polls.get().wrapping_add(1));
        self.last_poll.set(now.0);
        self.last_look.set(now.0);
    }
}

/// Runs one item of the ready queue. SystemExit and KeyboardInterrupt come back as errors.
#[inline(always)]
fn dispatch(py: Python<'_>, slf: &Ref<Loop>, steps: &mut Steps, item: Ready) -> Outcome<()> {
    match item {
        Ready::Step(task) => step::run_on(py, slf, steps, task),
        Ready::Wakeup(task) => step::run_woken(py, slf, steps, task),
        other => dispatch_other(py, slf, steps, other),
    }
}

/// As [`dispatch`], for what is no plain step.
#[inline(never)]
fn dispatch_other(py: Python<'_>, slf: &Ref<Loop>, steps: &mut Steps, item: Ready) -> Outcome<()> {
    if let Ready::StepWith(step) = item {
        let (task, input) = *step;
        return step::run(py, slf, steps, task, input);
    }
    step::leave(py, slf, steps)?;
    if let Ready::Readable(_) | Ready::Writable(_) | Ready::Event(_) = item {
        slf.expect_events();
    }
    let done = match item {
        Ready::Step(_) | Ready::Wakeup(_) | Ready::StepWith(_) => Ok(()),
        Ready::Call(handle) => return Handle::run(&handle, py),
        Ready::Expire(alarm) => alarm.ring(py, slf),
        Ready::Observed(future) => observer::tell(py, slf, future),
        Ready::Readable(stream) => Source::Stream(stream).ready(py, slf, true, false),
        Ready::Writable(stream) => Source::Stream(stream).ready(py, slf, false, true),
        Ready::Event(event) => event.source.ready(py, slf, event.readable, event.writable),
        Ready::Job(owned) => (owned.job)(py, slf),
    };
    match done {
        Ok(()) => Ok(()),
        Err(error) => Ok(failed(py, slf, error)?),
    }
}

/// What could not deal with an error itself, for want of memory most of the time: SystemExit and KeyboardInterrupt leave
/// the loop, the rest is reported, as what comes out of the callbacks in which asyncio does the same.
#[cold]
fn failed(py: Python<'_>, slf: &Ref<Loop>, error: PyErr) -> PyResult<()> {
    errors::exit_or_report(py, slf, error, "Exception in callback of the event loop", &[])
}

/// As [`dispatch`], apart from the loop of turns.
#[inline(never)]
pub(super) fn dispatch_apart(py: Python<'_>, slf: &Ref<Loop>, steps: &mut Steps, item: Ready) -> Outcome<()> {
    dispatch(py, slf, steps, item)
}

impl Loop {
    /// One turn: look for events and timers if nothing is ready or it is time to, then run what is ready now. What
    /// that makes ready waits for the next turn.
    #[inline(always)]
    fn run_once(slf: &Ref<Loop>, py: Python<'_>, steps: &mut Steps) -> Outcome<()> {
        if slf.ready.is_empty() || slf.stopping.get() {
            Loop::poll(slf, py, steps)?;
        } else {
            match slf.pace.turn(slf.ready.len()) {
                Look::Nothing => {}
                Look::Timers(_) if slf.has_own_clock() => Loop::poll(slf, py, steps)?,
                Look::Timers(now) => {
                    slf.expire_timers(py, now);
                    py.check_signals()?;
                }
                Look::Poller => Loop::poll(slf, py, steps)?,
            }
        }
        let debug = slf.debug.get();
        for _ in 0..slf.ready.len() {
            let Some(item) = slf.ready.pop() else { break };
            if debug {
                debug::dispatch_timed(py, slf, steps, item)?;
            } else {
                dispatch(py, slf, steps, item)?;
            }
            Loop::uncork_due(slf, py)?;
        }
        Loop::uncork(slf, py)
    }

    /// Asks the poller, waiting if nothing is ready, and puts what it says and the timers that are due on the ready
    /// queue.
    #[inline(never)]
    fn poll(slf: &Ref<Loop>, py: Python<'_>, steps: &mut Steps) -> PyResult<()> {
        let shown = Loop::shown_by_own_clock(slf, py, steps)?;
        // Signal handlers, finalizers and clocks write outside of any callback.
        Loop::uncork(slf, py)?;
        let timeout = if !slf.ready.is_empty() || slf.stopping.get() {
            Some(Duration::ZERO)
        } else {
            slf.reactor
                .next_deadline()
                .map(|deadline| deadline.saturating_since(shown.unwrap_or_else(Nanos::now)))
        };
        let mut events = slf.events.take().unwrap_or_else(|| Box::new(Events::new()));
        events.clear();
        let waited = if timeout == Some(Duration::ZERO) {
            slf.reactor.poller().wait(&mut events, timeout)
        } else {
            step::leave(py, slf, steps)?;
            slf.contexts.clear();
            slf.waiting.set(true);
            let poller = slf.reactor.poller();
            let waited = py.detach(|| poller.wait(&mut events, timeout));
            slf.waiting.set(false);
            waited
        };
        let mut readable = 0;
        for event in events.iter() {
            readable += u32::from(event.readable);
            match slf.reactor.fire(event) {
                Fired::Nothing => {}
                Fired::Source(Source::Stream(stream), event) => {
                    if event.readable {
                        slf.push(Ready::Readable(stream.clone()));
                    }
                    if event.writable {
                        slf.push(Ready::Writable(stream));
                    }
                }
                Fired::Source(source, event) => slf.push(Ready::Event(Box::new(SourceEvent {
                    source,
                    readable: event.readable,
                    writable: event.writable,
                }))),
                Fired::Watch { reader, writer } => readers::ready(slf, event.token, reader, writer),
            }
        }
        slf.readable.set(readable);
        slf.events.set(Some(events));
        slf.remote.drain();
        let now = Nanos::now();
        slf.pace.polled(now);
        let shown = Loop::shown_by_own_clock(slf, py, steps)?;
        slf.expire_timers(py, shown.unwrap_or(now));
        waited.map_err(os_error)?;
        // Python code sees signals by itself; only a loop that waits, or runs none, has to ask.
        py.check_signals()
    }

    /// What the program's own clock shows, if timers go by one. It is Python code, and runs outside of any step.
    #[inline]
    fn shown_by_own_clock(slf: &Ref<Loop>, py: Python<'_>, steps: &mut Steps) -> PyResult<Option<Nanos>> {
        if !slf.has_own_clock() {
            return Ok(None);
        }
        step::leave(py, slf, steps)?;
        clock::own_now(slf, py).map(Some)
    }

    /// Puts the timers that are due on the ready queue.
    fn expire_timers(&self, py: Python<'_>, now: Nanos) {
        while let Some(due) = self.reactor.pop_due(now) {
            match due {
                Due::Handle(_, handle) => {
                    if let Some(timer) = Ref::<TimerHandle>::downcast(handle.bind(py)) {
                        timer.set_key(None);
                    }
                    self.push(Ready::Call(handle));
                }
                Due::Waker(waker) => waker.wake(),
            }
        }
    }

    /// RuntimeError if this loop runs, or another one on this thread.
    pub(crate) fn check_running(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_running() {
            return Err(PyRuntimeError::new_err("This event loop is already running"));
        }
        if !asyncio(py)?
            .events
            .bind(py)
            .call_method0("_get_running_loop")?
            .is_none()
        {
            return Err(PyRuntimeError::new_err(
                "Cannot run the event loop while another loop is running",
            ));
        }
        Ok(())
    }
}

/// Turns until the loop is to stop, or an exception leaves it.
#[inline(never)]
fn run_turns(slf: &Ref<Loop>, py: Python<'_>, steps: &mut Steps) -> Outcome<()> {
    loop {
        Loop::run_once(slf, py, steps)?;
        if slf.stopping.get() {
            return Ok(());
        }
    }
}

fn run_forever(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    slf.check_closed()?;
    slf.check_running(py)?;
    replaced::find(slf, py)?;
    let events = asyncio(py)?.events.bind(py);
    // Looked up at each run: whoever replaced the function wants to be told.
    let set_running_loop = names(py)?.set_running_loop.text(py);
    let interpreter = interpreter(py)?;
    interpreter.look_at_tracing(py)?;
    let ident = interpreter.get_ident.bind(py).call0()?.extract()?;
    debug::track_coroutine_origins(py, slf.debug())?;
    let hooks = match guard(|| asyncgens::install_hooks(py, slf)) {
        Ok(hooks) => hooks,
        Err(error) => {
            debug::track_coroutine_origins(py, false)?;
            return Err(error);
        }
    };
    // What is set from here on is taken back below, however the run ends.
    slf.thread.set(Some(std::thread::current().id()));
    slf.thread_ident.set(ident);
    slf.pace.start();
    let mut result = guard(|| {
        signals::start(slf, py)?;
        events.call_method1(set_running_loop, (slf.bind(py),)).map(drop)
    });
    // A task is current before only in a child that was forked in the middle of a step: the step of another loop,
    // which never goes on here.
    let left = with_stage::<Task, _>(|steps| {
        if result.is_ok() {
            result = guard_outcome(py, || run_turns(slf, py, steps)).map_err(PyErr::from);
        }
        guard_outcome(py, || {
            step::leave(py, slf, steps).and_then(|()| Loop::uncork(slf, py))
        })
        .map_err(PyErr::from)
    });
    slf.contexts.clear();
    slf.stopping.set(false);
    slf.thread.set(None);
    let unset = || guard(|| events.call_method1(set_running_loop, (py.None(),)).map(drop));
    // Before 3.14 the interpreter makes an object also to forget the loop. Without room for it no loop could run in this
    // thread any more, and what the failed attempt has let go of is room.
    let unset = match unset() {
        Err(error) if error.is_instance_of::<PyMemoryError>(py) => unset(),
        unset => unset,
    };
    let untracked = guard(|| debug::track_coroutine_origins(py, false));
    let restored = guard(|| asyncgens::restore_hooks(py, hooks));
    let finished = guard(|| {
        signals::finish(slf, py);
        Ok(())
    });
    [result, left, unset, untracked, restored, finished]
        .into_iter()
        .collect()
}

fn close(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    if slf.is_running() {
        return Err(PyRuntimeError::new_err("Cannot close a running event loop"));
    }
    if slf.closed.get() {
        return Ok(());
    }
    if slf.debug() {
        asyncio(py)?
            .logger
            .bind(py)
            .call_method1("debug", ("Close %r", slf.bind(py)))?;
    }
    slf.closed.set(true);
    let ready = slf.ready.take_all();
    let corked = slf.corked.take_all();
    let result = signals::close(slf, py);
    let reactor = slf.reactor.close();
    let resolver = slf.resolver.take();
    let files = slf.files.take_all();
    // Refers to the loop: left there, a closed loop would keep its buffers until the collector comes.
    slf.loop_kwargs.set(None);
    for item in &ready {
        if let Ready::Call(handle) = item {
            handle.release();
        }
    }
    for handle in reactor.handles.iter().chain(reactor.timer_handles()) {
        handle.release();
    }
    drop((ready, corked, reactor, resolver, files));
    result.and(executor::close(slf, py))
}

/// ResourceWarning for a loop that nobody closed; then closes it.
pub(super) fn finalize(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    if slf.is_closed() || slf.is_inherited() {
        return Ok(());
    }
    let message = format!("unclosed event loop {}", slf.bind(py).repr()?);
    let category = py.get_type::<PyResourceWarning>();
    let warned = interpreter(py)?.warn(&message, &category, slf.bind(py));
    if !slf.is_running() {
        slf.bind(py).call_method0("close")?;
    }
    warned?;
    Ok(())
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .noargs(c"run_forever", c"run_forever($self, /)\n--\n\nRun until stop() is called.", run_forever)
        .method(
            c"run_until_complete",
            c"run_until_complete($self, future)\n--\n\nRun until the future is done; give its result or raise its exception.",
            |slf, args| until_complete::run_until_complete(slf, args.single("run_until_complete", "future")?),
        )
        .noargs(c"stop", c"stop($self, /)\n--\n\nStop at the end of this turn (or of the next one, if the loop does not run).", |slf, _py| {
            slf.stopping.set(true);
            if slf.waiting.get() {
                slf.reactor.waker().wake();
            }
            Ok(())
        })
        .noargs(c"close", c"close($self, /)\n--\n\nClose the loop: it can not be used any more. RuntimeError while it runs.", close)
        .fast_noargs(c"is_running", c"is_running($self, /)\n--\n\nWhether the loop runs.", |slf, _py| {
            // Tasks of asyncio's own that are started eagerly ask this first, and nothing else of the loop.
            if cfg!(Py_3_12) {
                doubt_current();
            }
            Ok(slf.is_running())
        })
        .fast_noargs(c"is_closed", c"is_closed($self, /)\n--\n\nWhether the loop was closed.", |slf, _py| Ok(slf.is_closed()))
        .noargs(c"_check_closed", c"_check_closed($self, /)\n--\n\nRuntimeError if the loop is closed.", |slf, _py| slf.check_closed())
        .noargs(c"_check_running", c"_check_running($self, /)\n--\n\nRuntimeError if a loop runs on this thread.", |slf, py| slf.check_running(py))
        .getter(c"_thread_id", c"threading.get_ident() of the thread that runs the loop, or None.", |slf, _py| {
            Ok(slf.is_running().then(|| slf.thread_ident.get() as usize))
        })
        .attribute(
            c"_stopping",
            c"Whether stop() was called.",
            |slf, _py| Ok(slf.stopping.get()),
            // Sanic takes a stop back before it runs the loop once more.
            |slf, value| {
                slf.stopping.set(value.is_truthy()?);
                Ok(())
            },
        )
        .getter(c"_closed", c"Whether the loop was closed.", |slf, _py| Ok(slf.closed.get()));
}
