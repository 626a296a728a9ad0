//! `sabio.Task`: a subclass of `_asyncio.Task` whose coroutine is stepped natively (see `step`).
//!
//! Invariants: a task of one of our loops is on the ready queue at most once; its phase says whether it is there, runs,
//! waits for a future or is parked by a native coroutine. A task of another loop is left to its base entirely.

mod cancel;

use std::cell::{Cell, OnceCell};
use std::task::RawWakerVTable;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready};
use crate::ffi::Outcome;
use crate::ffi::{
    Base, Class, ClassBuilder, ClassCell, Current, LocalQueue, LocalWake, MethodTable, Obj, ObjCell, Stepping,
};
use crate::ffi::{Ref, Visit, call0, call1, waker_table};
use crate::future::{define_common, iterate};
use crate::future_core::{FutureCore, FutureLike, State};
use crate::future_iterator::Awaited;
use crate::spawn::{Spawn, adopt};
use crate::stand_in;
pub(crate) use cancel::{cancel_future, request_cancel};

/// Where a task of one of our loops is between two steps; a task of another loop is scheduled for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// On the ready queue.
    #[default]
    Scheduled,
    /// Being stepped.
    Running,
    /// Being stepped, and woken meanwhile: parking puts it straight back on the ready queue.
    Notified,
    /// Waits for a waker.
    Parked,
    /// On the ready queue because a waker woke it while it was parked.
    Woken,
    /// On the ready queue because it was cancelled while parked: the step throws.
    Interrupted,
    /// Waits for a future.
    Waiting,
}

/// The data of `sabio.Task`.
#[derive(Default)]
pub(crate) struct Task {
    core: FutureCore,
    coro: ObjCell,
    context: OnceCell<Obj>,
    fut_waiter: ObjCell,
    cancel_message: ObjCell,
    cancelled_error: ObjCell,
    cancels: Cell<usize>,
    must_cancel: Cell<bool>,
    phase: Cell<Phase>,
}

static TASK: ClassCell = ClassCell::new();

impl Class for Task {
    const NAME: &'static std::ffi::CStr = c"sabio.Task";
    const PLAIN: bool = false;
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &TASK
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.core.visit(visit);
        visit.slot(&self.coro);
        visit.option(self.context.get());
        visit.slot(&self.fut_waiter);
        visit.slot(&self.cancel_message);
        visit.slot(&self.cancelled_error);
    }

    fn clear(&self) {
        self.core.clear();
        self.coro.set(None);
        self.fut_waiter.set(None);
        self.cancel_message.set(None);
        self.cancelled_error.set(None);
    }
}

impl FutureLike for Task {
    #[inline]
    fn core(&self) -> &FutureCore {
        &self.core
    }

    #[inline]
    fn awaited(slf: &Ref<Task>) -> Awaited {
        Awaited::Task(slf.clone())
    }
}

impl Current for Task {
    #[cfg(Py_3_14)]
    #[inline(always)]
    fn is_stepped(&self) -> bool {
        matches!(self.phase.get(), Phase::Running | Phase::Notified)
    }
}

static WAKER: RawWakerVTable = waker_table::<Task>();

impl LocalWake for Task {
    #[inline]
    fn table() -> &'static RawWakerVTable {
        &WAKER
    }

    #[inline]
    fn wake(slf: Ref<Task>) {
        match slf.phase.get() {
            Phase::Parked => Task::wake_up(slf),
            Phase::Running => slf.phase.set(Phase::Notified),
            Phase::Notified | Phase::Scheduled | Phase::Woken | Phase::Interrupted | Phase::Waiting => {}
        }
    }
}

/// The task that this thread is stepping natively.
#[inline(always)]
pub(crate) fn current(py: Python<'_>) -> Option<Ref<Task>> {
    match crate::ffi::current(py) {
        Stepping::Certain(task) => Some(task),
        Stepping::Nobody => None,
        Stepping::Doubtful(task) => registered(py, task),
    }
}

/// The task, if asyncio knows it as the one that its loop runs now.
#[cold]
fn registered(py: Python<'_>, task: Ref<Task>) -> Option<Ref<Task>> {
    let event_loop = task.event_loop()?.as_obj();
    let current = asyncio(py).and_then(|asyncio| asyncio.registry.current(py, event_loop));
    let is_current = current.is_ok_and(|current| current.bind(py).is(task.bind(py)));
    is_current.then_some(task)
}

impl Task {
    /// The loop, if it is one of ours.
    #[inline]
    pub(crate) fn event_loop(&self) -> Option<&Ref<Loop>> {
        self.core.event_loop()
    }

    /// The context that the coroutine runs in.
    #[inline]
    pub(crate) fn context(&self) -> Option<&Obj> {
        self.context.get()
    }

    /// The coroutine, until the task is done.
    #[inline]
    pub(crate) fn coro(&self) -> &ObjCell {
        &self.coro
    }

    /// Where it is between two steps.
    #[inline]
    pub(crate) fn phase(&self) -> &Cell<Phase> {
        &self.phase
    }

    /// The future it waits for.
    #[inline]
    pub(crate) fn fut_waiter(&self) -> &ObjCell {
        &self.fut_waiter
    }

    /// Whether the next step throws CancelledError.
    #[inline]
    pub(crate) fn must_cancel(&self) -> &Cell<bool> {
        &self.must_cancel
    }

    /// Whether a cancellation interrupts the wait that the task is parked in.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.phase.get() == Phase::Interrupted
    }

    /// The message of the cancellation that has not been delivered yet.
    pub(crate) fn cancel_message(&self) -> Option<Obj> {
        self.cancel_message.get()
    }

    /// `cancelling()` of a task of one of our loops.
    #[inline]
    pub(crate) fn cancels(&self) -> usize {
        self.cancels.get()
    }

    /// `uncancel()` of a task of one of our loops.
    pub(crate) fn take_back_cancel(&self) -> usize {
        let left = self.cancels.get().saturating_sub(1);
        if self.cancels.replace(left) == 1 {
            self.must_cancel.set(false);
        }
        left
    }

    /// Puts the task on the ready queue.
    #[inline]
    pub(crate) fn schedule(slf: Ref<Task>) {
        Task::put_on_queue(slf, Phase::Scheduled);
    }

    /// Puts the task, which was parked or about to be, on the ready queue.
    #[inline]
    pub(crate) fn wake_up(slf: Ref<Task>) {
        Task::put_on_queue(slf, Phase::Woken);
    }

    #[inline(always)]
    fn put_on_queue(slf: Ref<Task>, phase: Phase) {
        slf.phase.set(phase);
        LocalQueue::push_to_own(slf, |task| Some(task.event_loop()?.ready()), Ready::Step);
    }

    /// Schedules a step that throws the cancellation, whatever is cancelled or uncancelled until then.
    pub(crate) fn interrupt(&self, slf: &Ref<Task>) {
        Task::put_on_queue(slf.clone(), Phase::Interrupted);
    }

    /// As [`Task::interrupt`], with this message.
    pub(crate) fn interrupt_with(&self, slf: &Ref<Task>, message: Option<Obj>) {
        self.cancel_message.set(message);
        self.interrupt(slf);
    }

    /// The exception that stands for the cancellation: the one that came out of the coroutine, once, or a new one.
    pub(crate) fn make_cancelled_error(&self, py: Python<'_>) -> PyResult<Obj> {
        if let Some(error) = self.cancelled_error.take() {
            return Ok(error);
        }
        let class = &asyncio(py)?.cancelled_error;
        match self.cancel_message.get() {
            Some(message) if !message.bind(py).is_none() => Ok(call1(py, class, &message)?),
            _ => Ok(call0(py, class)?),
        }
    }

    /// Gives a task whose base is initialised our data.
    #[inline]
    pub(crate) fn set_up(&self, event_loop: &Ref<Loop>, coro: Obj, context: Obj) {
        self.coro.set(Some(coro));
        let _ = self.context.set(context);
        self.core.set_event_loop(event_loop.clone());
    }

    /// Ends the task with a result.
    pub(crate) fn complete(slf: &Ref<Task>, py: Python<'_>, result: &Obj) -> Outcome<()> {
        let base = &asyncio(py)?.future.set_result;
        let kept = result.clone();
        slf.core.finish(slf.as_obj(), State::Finished, Some(kept), || {
            base.call(py, [slf.as_obj(), result])
        })?;
        Ok(())
    }

    /// Ends the task with an exception.
    pub(crate) fn fail(slf: &Ref<Task>, py: Python<'_>, exception: &Obj) -> Outcome<()> {
        let base = &asyncio(py)?.future.set_exception;
        slf.core.finish(slf.as_obj(), State::Finished, None, || {
            base.call(py, [slf.as_obj(), exception])
        })?;
        Ok(())
    }

    /// Ends the task as cancelled; `error` is the CancelledError that came out of the coroutine, if it was that.
    pub(crate) fn complete_cancelled(slf: &Ref<Task>, py: Python<'_>, error: Option<Obj>) -> Outcome<()> {
        if error.is_some() {
            // The message is the exception's from here on, as in asyncio.
            slf.cancel_message.set(None);
        }
        slf.cancelled_error.set(error);
        let base = &asyncio(py)?.future.cancel;
        let message = slf.cancel_message.get().unwrap_or_else(|| Obj::none(py));
        slf.core.finish(slf.as_obj(), State::Cancelled, None, || {
            base.call(py, [slf.as_obj(), &message])
        })?;
        Ok(())
    }
}

/// `Task(coro, *, loop=None, name=None, context=None, eager_start=False)`.
fn initialize(
    slf: &Ref<Task>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let py = args.py();
    let asyncio = asyncio(py)?;
    let get = |name: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
        let value = kwargs.map(|kwargs| kwargs.get_item(name)).transpose()?.flatten();
        Ok(value.filter(|value| !value.is_none()))
    };
    let event_loop = match get("loop")? {
        Some(event_loop) => event_loop,
        None => asyncio.events.bind(py).call_method0("get_event_loop")?,
    };
    let Some(event_loop) = Ref::<Loop>::downcast(&event_loop) else {
        return asyncio.task.class.init(py, slf.as_obj(), args, kwargs);
    };
    let known = ["coro", "loop", "name", "context", "eager_start"];
    for key in kwargs.iter().flat_map(|kwargs| kwargs.keys()) {
        if !known.contains(&key.extract::<&str>()?) {
            return Err(PyTypeError::new_err(format!(
                "Task() got an unexpected keyword argument '{key}'"
            )));
        }
    }
    let coro = match (args.len(), get("coro")?) {
        (1, None) => args.get_item(0)?,
        (0, Some(coro)) => coro,
        (0, None) => {
            return Err(PyTypeError::new_err(
                "Task() missing required argument 'coro' (pos 1)",
            ));
        }
        (count, _) => {
            return Err(PyTypeError::new_err(format!(
                "Task() takes exactly 1 positional argument ({count} given)"
            )));
        }
    };
    if !slf.coro.is_none() {
        return Err(pyo3::exceptions::PyRuntimeError::new_err(
            "Task is already initialised",
        ));
    }
    event_loop.check_closed()?;
    let spawn = Spawn {
        coro: coro.into(),
        context: get("context")?.map(Obj::from),
        name: get("name")?.map(Obj::from),
        eager_start: get("eager_start")?.map_or(Ok(false), |eager| eager.is_truthy())?,
    };
    adopt(py, slf, event_loop, spawn)
}

fn cancelling(slf: &Ref<Task>, py: Python<'_>) -> PyResult<Obj> {
    if !slf.core.is_native() {
        return Ok(asyncio(py)?.task.cancelling.call(py, [slf.as_obj()])?);
    }
    crate::ffi::IntoObj::into_obj(slf.cancels.get(), py)
}

fn uncancel(slf: &Ref<Task>, py: Python<'_>) -> PyResult<Obj> {
    if !slf.core.is_native() {
        return Ok(asyncio(py)?.task.uncancel.call(py, [slf.as_obj()])?);
    }
    crate::ffi::IntoObj::into_obj(slf.take_back_cancel(), py)
}

/// Raises the cancellation of a cancelled native task; asks the base otherwise.
fn outcome(slf: &Ref<Task>, py: Python<'_>, base: &crate::ffi::NativeFunction) -> PyResult<Obj> {
    if slf.core.is_native() && slf.core.state() == State::Cancelled {
        return Err(PyErr::from_value(slf.make_cancelled_error(py)?.into_bound(py)));
    }
    Ok(base.call(py, [slf.as_obj()])?)
}

/// `get_context()`, which the base has from 3.12.
#[cfg(not(Py_3_12))]
fn get_context(slf: &Ref<Task>, _py: Python<'_>) -> PyResult<Obj> {
    slf.context().cloned().ok_or_else(|| {
        pyo3::exceptions::PyAttributeError::new_err(
            "the context of a task of another loop is known from 3.12 only",
        )
    })
}

fn define(table: &mut MethodTable<Task>) {
    #[cfg(not(Py_3_12))]
    table.noargs(
        c"get_context",
        c"get_context($self, /)\n--\n\nThe contextvars.Context that the task runs in.",
        get_context,
    );
    define_common(table);
    table
        .method(
            c"cancel",
            c"cancel($self, /, msg=None)\n--\n\nRequest cancellation: CancelledError is thrown into the coroutine. False if the task is done.",
            cancel::cancel,
        )
        .noargs(
            c"cancelling",
            c"cancelling($self, /)\n--\n\nThe number of cancellation requests: calls of cancel() less those of uncancel().",
            cancelling,
        )
        .noargs(c"uncancel", c"uncancel($self, /)\n--\n\nTake one cancellation request back; gives the remaining number.", uncancel)
        .noargs(
            c"result",
            c"result($self, /)\n--\n\nThe result. Raises the task's exception, CancelledError, or InvalidStateError if it is not done.",
            |slf, py| outcome(slf, py, &asyncio(py)?.future.result),
        )
        .noargs(
            c"exception",
            c"exception($self, /)\n--\n\nThe exception or None. Raises CancelledError, or InvalidStateError if the task is not done.",
            |slf, py| outcome(slf, py, &asyncio(py)?.future.exception),
        )
        .noargs(c"_make_cancelled_error", c"_make_cancelled_error($self, /)\n--\n\nThe CancelledError of a cancelled task.", |slf, py| {
            if slf.core.is_native() {
                slf.make_cancelled_error(py)
            } else {
                Ok(asyncio(py)?.future.make_cancelled_error.call(py, [slf.as_obj()])?)
            }
        })
        .getter(c"_fut_waiter", c"The future that the task waits for, or None.", |slf, py| {
            if slf.core.is_native() {
                return stand_in::fut_waiter(py, slf);
            }
            Ok(Some(asyncio(py)?.task.fut_waiter.call(py, [slf.as_obj()])?))
        })
        .getter(c"_must_cancel", c"Whether the next step throws CancelledError.", |slf, py| {
            if slf.core.is_native() {
                return crate::ffi::IntoObj::into_obj(slf.must_cancel.get(), py);
            }
            Ok(asyncio(py)?.task.must_cancel.call(py, [slf.as_obj()])?)
        })
        .attribute(
            c"_cancel_message",
            c"The message of the last cancellation.",
            |slf, py| {
                if slf.core.is_native() {
                    return Ok(slf.cancel_message.get());
                }
                let descriptor = asyncio(py)?.future.cancel_message.bind(py);
                Ok(Some(descriptor.call_method1("__get__", (slf.bind(py),))?.into()))
            },
            |slf, value| {
                if slf.core.is_native() {
                    slf.cancel_message.set((!value.is_none()).then(|| Obj::from(value)));
                    return Ok(());
                }
                let descriptor = asyncio(value.py())?.future.cancel_message.bind(value.py());
                descriptor.call_method1("__set__", (slf.bind(value.py()), value))?;
                Ok(())
            },
        );
}

/// Builds the class and adds it to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let base = asyncio(py)?.task.class.class().bind(py).cast::<PyType>()?.clone();
    let class = ClassBuilder::<Task>::new(
        c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)\n--\n\nA coroutine that runs on a loop (asyncio: Task Object); subclass of asyncio.Task.",
    )
    .members(define)
    .derived_constructor()
    .initializer(initialize)
    .awaitable(iterate::<Task>)
    .build(py, &Base::Native(base))?;
    module.add("Task", class)?;
    Ok(())
}
