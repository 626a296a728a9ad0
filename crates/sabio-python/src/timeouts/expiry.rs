//! What happens when time is up: the task is cancelled, and the cancellation becomes a TimeoutError where it arrives.
//!
//! On a loop that is exactly ours the timer is a waker on the loop's own heap; there is no handle, no context and no
//! call. Invariant: a timer that was taken back never cancels the task. It is either off the heap, or its entry of the
//! ready queue is counted as stale; entries come off the queue in the order in which they were put there.

use std::cell::Cell;
use std::rc::Rc;

use pyo3::exceptions::{PyAssertionError, PyBaseException, PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};
use sabio_reactor::{Nanos, TimerKey};

use super::alarm::{Alarm, OnTimeout};
use crate::any_task::{self, RunningLoop};
use crate::event_loop::{Loop, Ready};
use crate::ffi::{BoundFunction, IntoObj, Obj, ObjCell, Ref, Slot, Visit, call_method, double, local_waker};
use crate::names::names;
use crate::outcome;

/// Where a timeout is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Created,
    Entered,
    Expiring,
    Expired,
    Exited,
}

impl State {
    /// asyncio's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Entered => "active",
            State::Expiring => "expiring",
            State::Expired => "expired",
            State::Exited => "finished",
        }
    }
}

/// The time at which a timeout ends, in seconds of `loop.time()`.
#[derive(Clone, Copy)]
pub(super) enum When {
    Never,
    Seconds(f64),
    /// A number that is no float, as the user gave it: see [`Expiry::given`].
    Given,
}

/// A deadline for one task.
pub(crate) struct Expiry {
    state: Cell<State>,
    when: Cell<When>,
    given: ObjCell,
    task: ObjCell,
    /// How many cancellations the task had been asked for when the timeout was entered.
    cancelling: Cell<usize>,
    /// The loop of ours whose heap the timer is on.
    event_loop: Slot<Ref<Loop>>,
    key: Cell<Option<TimerKey>>,
    /// Whether the timer has left the heap and is on the ready queue.
    queued: Cell<bool>,
    /// How many entries of the ready queue were taken back.
    stale: Cell<u32>,
    /// The timer's handle on another loop.
    handle: ObjCell,
    /// The future that decides: once it is done, the time does not matter any more.
    awaited: ObjCell,
}

impl Expiry {
    /// A timeout at `when`: a number of seconds of the loop's clock, or None.
    pub(super) fn new(when: &Bound<'_, PyAny>) -> Expiry {
        let expiry = Expiry::at(When::Never);
        expiry.set_when(when);
        expiry
    }

    #[inline]
    fn at(when: When) -> Expiry {
        Expiry {
            state: Cell::new(State::Created),
            when: Cell::new(when),
            given: ObjCell::new(None),
            task: ObjCell::new(None),
            cancelling: Cell::new(0),
            event_loop: Slot::new(None),
            key: Cell::new(None),
            queued: Cell::new(false),
            stale: Cell::new(0),
            handle: ObjCell::new(None),
            awaited: ObjCell::new(None),
        }
    }

    /// A timeout `delay` seconds from now, by the clock of the running loop. RuntimeError if none runs.
    #[inline]
    pub(super) fn after(py: Python<'_>, delay: &Bound<'_, PyAny>) -> PyResult<Expiry> {
        let expiry = Expiry::at(When::Never);
        expiry.start(py, delay)?;
        Ok(expiry)
    }

    /// A timeout that [`Expiry::start`] gives its deadline.
    pub(crate) fn unset() -> Expiry {
        Expiry::at(When::Never)
    }

    /// Sets the deadline to `delay` seconds from now. RuntimeError if no loop runs.
    #[inline]
    pub(crate) fn start(&self, py: Python<'_>, delay: &Bound<'_, PyAny>) -> PyResult<()> {
        let event_loop = RunningLoop::find(py)?;
        if delay.is_none() {
            return Ok(());
        }
        match event_loop {
            RunningLoop::Ours(event_loop) if is_plain_number(delay) => {
                let now = Loop::time(&event_loop, py)?;
                self.when.set(When::Seconds(now + double(delay)?));
            }
            RunningLoop::Ours(event_loop) => {
                self.set_when(&PyFloat::new(py, Loop::time(&event_loop, py)?).add(delay)?);
            }
            RunningLoop::Other(event_loop) => {
                self.set_when(&event_loop.bind(py).call_method0("time")?.add(delay)?);
            }
        }
        Ok(())
    }

    /// Where it is in its life.
    #[inline]
    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// The deadline as Python sees it.
    pub(super) fn when(&self, py: Python<'_>) -> PyResult<Obj> {
        match self.when.get() {
            When::Never => Ok(Obj::none(py)),
            When::Seconds(seconds) => seconds.into_obj(py),
            When::Given => Ok(self.given.get().unwrap_or_else(|| Obj::none(py))),
        }
    }

    /// Sets the deadline, not the timer: [`Expiry::enter`] and [`Expiry::reschedule`] do that.
    pub(super) fn set_when(&self, when: &Bound<'_, PyAny>) {
        if when.is_none() {
            self.when.set(When::Never);
        } else if let Ok(seconds) = when.cast_exact::<PyFloat>() {
            self.when.set(When::Seconds(seconds.value()));
        } else {
            self.given.set(Some(Obj::from(when)));
            self.when.set(When::Given);
        }
    }

    /// Keeps what is to be waited for, and how long, until the wait begins.
    pub(crate) fn set_subject(&self, awaitable: Obj, delay: Obj) {
        self.awaited.set(Some(awaitable));
        self.given.set(Some(delay));
    }

    /// Takes what [`Expiry::set_subject`] has kept.
    pub(crate) fn take_subject(&self) -> Option<(Obj, Obj)> {
        self.awaited.take().zip(self.given.take())
    }

    /// Names the future whose result counts even when the time is up, as long as it is there.
    pub(crate) fn set_awaited(&self, future: Obj) {
        self.awaited.set(Some(future));
    }

    /// `async with` begins: from now on the current task has to hurry. RuntimeError if the timeout was entered before,
    /// or outside of a task.
    pub(crate) fn enter(self: &Rc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.state.get() != State::Created {
            return Err(PyRuntimeError::new_err("Timeout has already been entered"));
        }
        let Some(task) = any_task::current(py)? else {
            return Err(PyRuntimeError::new_err("Timeout should be used inside a task"));
        };
        self.state.set(State::Entered);
        self.cancelling.set(any_task::cancelling(py, &task)?);
        self.task.set(Some(task));
        self.arm(py)
    }

    /// `reschedule(when)`. RuntimeError unless the timeout is active.
    pub(super) fn reschedule(self: &Rc<Self>, when: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.state.get() {
            State::Entered => {}
            State::Created => return Err(PyRuntimeError::new_err("Timeout has not been entered")),
            state => {
                return Err(PyRuntimeError::new_err(format!(
                    "Cannot change state of {} Timeout",
                    state.word()
                )));
            }
        }
        let py = when.py();
        self.set_when(when);
        self.disarm(py)?;
        self.arm(py)
    }

    /// Sets the timer.
    fn arm(self: &Rc<Self>, py: Python<'_>) -> PyResult<()> {
        if matches!(self.when.get(), When::Never) {
            return Ok(());
        }
        match RunningLoop::find(py)? {
            RunningLoop::Ours(event_loop) => {
                let (seconds, is_due) = match self.when.get() {
                    When::Seconds(seconds) => (seconds, is_past(py, &event_loop, seconds)?),
                    _ => {
                        let now = Loop::time(&event_loop, py)?;
                        let when = self.when(py)?;
                        let is_due = when.bind(py).le(now)?;
                        (if is_due { now } else { when.bind(py).extract()? }, is_due)
                    }
                };
                event_loop.make_room_for_timer()?;
                let alarm = Alarm::create(py, self)?;
                if is_due {
                    self.queued.set(true);
                    event_loop.push(Ready::Expire(alarm));
                } else {
                    let waker = local_waker(&alarm, Clone::clone);
                    let deadline = Nanos::at_or_after(seconds);
                    self.key.set(Some(event_loop.reactor().wake_at(deadline, waker)));
                }
                self.event_loop.set(Some(event_loop));
                Ok(())
            }
            RunningLoop::Other(event_loop) => self.arm_elsewhere(py, &event_loop),
        }
    }

    /// Sets the timer on a loop that is not ours.
    fn arm_elsewhere(self: &Rc<Self>, py: Python<'_>, event_loop: &Obj) -> PyResult<()> {
        let event_loop = event_loop.bind(py);
        let when = self.when(py)?;
        let callback = BoundFunction::<OnTimeout>::create(py, Alarm::create(py, self)?.as_obj())?;
        let is_due = when.bind(py).le(event_loop.call_method0("time")?)?;
        let handle = if is_due {
            event_loop.call_method1("call_soon", (callback.bind(py), py.None()))?
        } else {
            event_loop.call_method1("call_at", (when.bind(py), callback.bind(py), py.None()))?
        };
        self.handle.set(Some(handle.into()));
        Ok(())
    }

    /// Whether there is a timer to take back.
    pub(crate) fn is_armed(&self) -> bool {
        self.key.get().is_some() || self.queued.get() || !self.handle.is_none()
    }

    /// Takes the timer back, wherever it is.
    #[inline]
    pub(crate) fn disarm(&self, py: Python<'_>) -> PyResult<()> {
        if let (Some(key), Some(event_loop)) = (self.key.take(), self.event_loop.get()) {
            drop(event_loop.reactor().cancel(key));
        }
        if self.queued.replace(false) {
            self.stale.set(self.stale.get() + 1);
        }
        if let Some(handle) = self.handle.take() {
            call_method(py, &handle, &names(py)?.cancel, &[])?;
        }
        Ok(())
    }

    /// The timer has left the heap.
    pub(super) fn queue(&self, alarm: &Ref<Alarm>) {
        self.key.set(None);
        if let Some(event_loop) = self.event_loop.get() {
            self.queued.set(true);
            event_loop.push(Ready::Expire(alarm.clone()));
        }
    }

    /// The entry of the ready queue has its turn.
    pub(super) fn run(&self, py: Python<'_>) -> PyResult<()> {
        let stale = self.stale.get();
        if stale > 0 {
            self.stale.set(stale - 1);
            return Ok(());
        }
        if self.queued.replace(false) {
            self.expire(py)?;
        }
        Ok(())
    }

    /// Time is up: cancels the task, unless what it waits for has come in time.
    pub(super) fn expire(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.set(None);
        if let Some(future) = self.awaited.get()
            && outcome::is_done(py, &future)?
        {
            return Ok(());
        }
        if let Some(task) = self.task.get() {
            any_task::cancel(py, &task)?;
            self.state.set(State::Expiring);
        }
        Ok(())
    }

    /// `async with` ends, with an exception of this class or with None. Raises TimeoutError in the place of the
    /// cancellation that the timeout has asked for. AssertionError if the timeout is not active.
    #[inline]
    pub(crate) fn exit(
        &self,
        py: Python<'_>,
        class: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if !matches!(self.state.get(), State::Entered | State::Expiring) {
            return Err(PyAssertionError::new_err(()));
        }
        self.disarm(py)?;
        let task = self.task.take();
        if self.state.get() == State::Entered {
            self.state.set(State::Exited);
            return Ok(());
        }
        // Not the usual way out: exceptions are made and dropped, of which PyO3 must know that it may.
        Python::attach(|py| self.exit_expired(py, task, class, exception))
    }

    #[cold]
    fn exit_expired(
        &self,
        py: Python<'_>,
        task: Option<Obj>,
        class: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.state.set(State::Expired);
        // Whoever else has cancelled the task meanwhile wants the cancellation to go on.
        let Some(task) = task else { return Ok(()) };
        if any_task::uncancel(py, &task)? > self.cancelling.get() || class.is_none() {
            return Ok(());
        }
        if any_task::is_cancellation(class)? {
            return Err(timeout_error(exception)?);
        }
        blame(exception)
    }

    /// Shows what it owns.
    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.given);
        visit.slot(&self.task);
        visit.slot(&self.event_loop);
        visit.slot(&self.handle);
        visit.slot(&self.awaited);
    }

    /// Lets go of what can be part of a cycle.
    pub(super) fn clear(&self) {
        self.given.set(None);
        self.task.set(None);
        self.handle.set(None);
        self.awaited.set(None);
    }
}

/// How far away a time is for which the kernel's last tick is as good as the clock. A tick lasts 10 milliseconds at most.
const FAR: f64 = 0.1;

/// Whether the loop's clock has reached this time.
#[inline]
fn is_past(py: Python<'_>, event_loop: &Ref<Loop>, seconds: f64) -> PyResult<bool> {
    if !event_loop.has_own_clock() && seconds > Nanos::at_last_tick().as_secs_f64() + FAR {
        return Ok(false);
    }
    Ok(seconds <= Loop::time(event_loop, py)?)
}

/// Whether what Python adds to a float is known without asking.
#[inline]
fn is_plain_number(delay: &Bound<'_, PyAny>) -> bool {
    delay.is_exact_instance_of::<PyFloat>() || delay.is_exact_instance_of::<PyInt>()
}

/// `TimeoutError` from and in the context of the cancellation that it replaces.
pub(crate) fn timeout_error(cancellation: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let py = cancellation.py();
    let error = PyTimeoutError::new_err(());
    if !cancellation.is_none() {
        error.value(py).setattr("__context__", cancellation)?;
        error.set_cause(py, Some(PyErr::from_value(cancellation.clone())));
    }
    Ok(error)
}

/// Another exception came out: the cancellation in its context, and in those of a group, was the timeout's.
#[cold]
fn blame(exception: &Bound<'_, PyAny>) -> PyResult<()> {
    if exception.is_none() {
        return Ok(());
    }
    insert_timeout_error(exception)?;
    let group = exception.py().import("builtins")?.getattr("ExceptionGroup")?;
    if exception.is_instance(&group)? {
        for inner in exception.getattr("exceptions")?.try_iter()? {
            insert_timeout_error(&inner?)?;
        }
    }
    Ok(())
}

/// Puts a TimeoutError before the first cancellation in the chain of contexts.
fn insert_timeout_error(exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut exception = exception.clone();
    loop {
        let context = exception.getattr("__context__")?;
        if context.is_none() {
            return Ok(());
        }
        if any_task::is_cancellation(context.get_type().as_any())? {
            let error = timeout_error(&context)?;
            let value = error.value(exception.py()).cast::<PyBaseException>()?;
            return exception.setattr("__context__", value);
        }
        exception = context;
    }
}
