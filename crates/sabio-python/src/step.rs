//! Stepping a task: enter its context, resume its coroutine, look at what came out.
//!
//! Between the steps of one task nothing is left that need not be: the task stays the current one, in its context,
//! until another task is stepped or anything else runs ([`leave`]). Whoever runs Python code outside of a step calls
//! [`leave`] first.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

use crate::asyncio::asyncio;
use crate::event_loop::errors::exit_or_report;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{
    BaseKind, BoundFunction, Obj, Ref, Sent, Stage, base_kind, call_method, context_enter, context_exit,
    is_cancelled_error,
};
use crate::ffi::{Outcome, Raised};
use crate::ffi::{send_none, with_current};
use crate::future::{Future, add_callback};
use crate::future_core::{FutureLike, State, native_core};
use crate::image;
use crate::names::names;
use crate::parked::is_park_marker;
use crate::stand_in;
use crate::task::{Phase, Task, cancel_future};
use crate::wakeup::Wakeup;

/// What a step begins with.
pub(crate) enum Input {
    /// Resume with None.
    Resume,
    /// The future that the task waited for is done.
    Done(Obj),
    /// Throw this exception.
    Throw(Obj),
}

/// Where a loop takes its steps.
pub(crate) type Steps = Stage<Task>;

/// Takes one step of `task`. SystemExit and KeyboardInterrupt that leave the coroutine are returned.
pub(crate) fn run(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    steps: &mut Steps,
    task: Ref<Task>,
    input: Input,
) -> Outcome<()> {
    resume(py, event_loop, steps, task, input)
}

/// Takes the step of a task that was put on the ready queue to go on.
#[inline(always)]
pub(crate) fn run_on(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    steps: &mut Steps,
    task: Ref<Task>,
) -> Outcome<()> {
    resume(py, event_loop, steps, task, Input::Resume)
}

#[inline(always)]
fn resume(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    steps: &mut Steps,
    task: Ref<Task>,
    input: Input,
) -> Outcome<()> {
    if task.core().state() != State::Pending {
        return Ok(());
    }
    let (task, before) = steps.enter(task);
    let entered = match before {
        // Two references to one task: the other one may go back on the ready queue.
        Some(before) if before.same(task) => Ok(Some(before)),
        before => switch(py, event_loop, before.as_ref(), task).map(|()| None),
    };
    let result = match entered {
        Ok(spare) => advance(py, event_loop, task, spare, input),
        Err(raised) => {
            let task = Ref::clone(task);
            drop(steps.leave());
            return failed(py, event_loop, &task, raised.into());
        }
    };
    match result {
        Ok(()) => Ok(()),
        Err(raised) => {
            let task = Ref::clone(task);
            failed_inside(py, event_loop, steps, &task, raised.into())
        }
    }
}

/// As [`failed`], for a step that has been entered: the handler of exceptions runs in the task's context, which can be
/// entered once at a time.
#[cold]
fn failed_inside(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    steps: &mut Steps,
    task: &Ref<Task>,
    error: PyErr,
) -> Outcome<()> {
    leave(py, event_loop, steps)?;
    failed(py, event_loop, task, error)
}

/// A step raised what is not the coroutine's own exception: as in asyncio, that concerns the loop, not the task.
#[cold]
fn failed(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>, error: PyErr) -> Outcome<()> {
    let message = "Exception in a step of a task";
    Ok(exit_or_report(
        py,
        event_loop,
        error,
        message,
        &[("task", task.as_obj())],
    )?)
}

/// Takes the step of a task whose future is done.
#[inline]
pub(crate) fn run_woken(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    steps: &mut Steps,
    task: Ref<Task>,
) -> Outcome<()> {
    match task.fut_waiter().get() {
        Some(future) if task.phase().get() == Phase::Waiting => {
            run(py, event_loop, steps, task, Input::Done(future))
        }
        _ => Ok(()),
    }
}

/// A future calls back the task that waited for it.
pub(crate) fn wake(event_loop: &Ref<Loop>, task: &Ref<Task>, future: &Bound<'_, PyAny>) {
    let expected = std::ptr::eq(task.fut_waiter().as_ptr(), future.as_ptr());
    event_loop.push(if expected {
        Ready::Wakeup(task.clone())
    } else {
        Ready::StepWith(Box::new((task.clone(), Input::Done(Obj::from(future)))))
    });
}

/// Takes the first step of a new task at once, inside whatever runs now (asyncio: Eager Task Factory).
pub(crate) fn run_eagerly(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>) -> PyResult<()> {
    let Some(context) = task.context() else {
        return Ok(());
    };
    let registry = &asyncio(py)?.registry;
    with_current(Some(task.clone()), |outer| {
        #[cfg(Py_3_12)]
        let registered: Option<Obj> = None;
        // The registry of 3.11 wants to be told who is current, and a task factory hides that from us.
        #[cfg(not(Py_3_12))]
        let registered = registered_task(py, event_loop)?;
        let old = outer.map(Ref::as_obj).or(registered.as_ref());
        // An exception of the step is held by hand while the rest is put back: nothing else is called with it set.
        let swapped = registry.swap(py, event_loop.as_obj(), old, Some(task.as_obj()));
        swapped.and_then(|previous| {
            let result = context_enter(py, context).map_err(PyErr::from).and_then(|()| {
                let result = advance(py, event_loop, task, None, Input::Resume).map_err(PyErr::from);
                context_exit(py, context)?;
                result
            });
            registry.swap(py, event_loop.as_obj(), Some(task.as_obj()), previous.as_ref())?;
            result
        })
    })
}

/// The current task of the loop, as asyncio knows it.
#[cfg(not(Py_3_12))]
fn registered_task(py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<Option<Obj>> {
    let task = asyncio(py)?.registry.current(py, event_loop.as_obj())?;
    Ok((!task.bind(py).is_none()).then_some(task))
}

/// From the step of the task `before` to that of `task`: leaves the one's context and enters the other's.
#[inline(always)]
fn switch(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    before: Option<&Ref<Task>>,
    task: &Ref<Task>,
) -> Outcome<()> {
    let old = before.map(Ref::as_obj);
    if let Some(context) = before.and_then(|before| before.context()) {
        context_exit(py, context)?;
    }
    asyncio(py)?
        .registry
        .enter(py, event_loop.as_obj(), old, task.as_obj())?;
    if let Some(context) = task.context()
        && let Err(raised) = context_enter(py, context)
    {
        return Err(not_entered(py, event_loop, task, raised.into()));
    }
    Ok(())
}

/// The task's context could not be entered: no task is current afterwards for asyncio, as for us.
#[cold]
fn not_entered(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>, error: PyErr) -> Raised {
    let left = asyncio(py).and_then(|asyncio| asyncio.registry.leave(py, event_loop.as_obj(), task.as_obj()));
    // What failed first is what is told.
    drop(left);
    error.into()
}

/// Leaves the task that was stepped last, if any is still current: no task is current afterwards. To be called before
/// Python code runs outside of a step.
#[inline(always)]
pub(crate) fn leave(py: Python<'_>, event_loop: &Ref<Loop>, steps: &mut Steps) -> Outcome<()> {
    match steps.leave() {
        None => Ok(()),
        Some(task) => leave_task(py, event_loop, &task),
    }
}

#[inline(never)]
fn leave_task(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>) -> Outcome<()> {
    if let Some(context) = task.context() {
        context_exit(py, context)?;
    }
    asyncio(py)?
        .registry
        .leave(py, event_loop.as_obj(), task.as_obj())?;
    Ok(())
}

/// Resumes the coroutine of a task that has been entered, and acts on what comes out. `spare` is another reference to
/// the task.
#[inline(always)]
fn advance(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    task: &Ref<Task>,
    spare: Option<Ref<Task>>,
    input: Input,
) -> Outcome<()> {
    let Some(mut coro) = task.coro().get() else {
        return Ok(());
    };
    if let Some(replaced) = image::replaced_coroutine(task, &coro) {
        task.coro().set(Some(replaced.clone()));
        coro = replaced;
    }
    let before = task.phase().replace(Phase::Running);
    let interrupted = before == Phase::Interrupted;
    if let Some(future) = task.fut_waiter().take() {
        if before == Phase::Waiting {
            asyncio(py)?
                .registry
                .discard_awaiter(py, &future, task.as_obj())?;
        } else {
            stand_in::end(py, &future, interrupted)?;
        }
    }
    let mut exception = match input {
        Input::Resume if interrupted => Some(task.make_cancelled_error(py)?),
        Input::Resume => None,
        Input::Done(future) => failure(py, &future)?,
        Input::Throw(exception) => Some(exception),
    };
    if task.must_cancel().replace(false) {
        let cancelled_error = asyncio(py)?.cancelled_error.bind(py);
        let is_cancellation = match &exception {
            Some(exception) => exception.bind(py).is_instance(cancelled_error)?,
            None => false,
        };
        if !is_cancellation {
            exception = Some(task.make_cancelled_error(py)?);
        }
    }
    let sent = match exception {
        None => send_none(py, &coro),
        Some(exception) => throw(py, &coro, &exception),
    };
    match sent {
        Ok(Sent::Next(yielded)) => yielded_value(py, event_loop, task, spare, &yielded),
        Ok(Sent::Return(result)) => {
            drop(task.coro().take());
            if task.must_cancel().replace(false) {
                // cancel() was called in this very step: the result comes too late.
                Task::complete_cancelled(task, py, None)
            } else {
                Task::complete(task, py, &result)
            }
        }
        Err(error) => {
            let error = PyErr::from(error);
            drop(task.coro().take());
            finish_with(py, task, error)
        }
    }
}

/// The exception of a finished future, which counts as retrieved then.
#[inline(never)]
fn failure(py: Python<'_>, future: &Obj) -> Outcome<Option<Obj>> {
    let bound = future.bind(py);
    if native_core(bound)
        .is_some_and(|core| core.is_native() && core.state() == State::Finished && core.result().is_some())
    {
        return Ok(None);
    }
    match call_method(py, future, &names(py)?.result, &[]) {
        Ok(_) => Ok(None),
        Err(raised) => Ok(Some(Obj::from(PyErr::from(raised).into_value(py).into_bound(py)))),
    }
}

/// `coro.throw(exception)`.
fn throw(py: Python<'_>, coro: &Obj, exception: &Obj) -> Outcome<Sent> {
    match call_method(py, coro, &names(py)?.throw, &[exception]) {
        Ok(yielded) => Ok(Sent::Next(yielded)),
        Err(raised) => {
            let error = PyErr::from(raised);
            if error.is_instance_of::<PyStopIteration>(py) {
                return Ok(Sent::Return(error.value(py).getattr("value")?.into()));
            }
            Err(error.into())
        }
    }
}

/// Ends the task with what its coroutine raised.
fn finish_with(py: Python<'_>, task: &Ref<Task>, error: PyErr) -> Outcome<()> {
    if is_cancelled_error(py, &error, &asyncio(py)?.cancelled_error) {
        return Task::complete_cancelled(task, py, Some(Obj::from(error.into_value(py).into_bound(py))));
    }
    let exit = base_kind(py, &error) == BaseKind::Exit;
    let exception = Obj::from(error.into_value(py).into_bound(py));
    let failed = Task::fail(task, py, &exception);
    if exit {
        return Err(PyErr::from_value(exception.into_bound(py)).into());
    }
    failed
}

/// Acts on what the coroutine yielded: a bare yield, the park marker, a future, or something it should not have.
#[inline(always)]
fn yielded_value(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    task: &Ref<Task>,
    spare: Option<Ref<Task>>,
    yielded: &Obj,
) -> Outcome<()> {
    let bound = yielded.bind(py);
    if bound.is_none() {
        task.phase().set(Phase::Scheduled);
        event_loop.push(Ready::Step(spare.unwrap_or_else(|| task.clone())));
        return Ok(());
    }
    if is_park_marker(bound) {
        if task.must_cancel().replace(false) {
            task.interrupt(task);
        } else if task.phase().get() == Phase::Notified {
            Task::wake_up(task.clone());
        } else {
            task.phase().set(Phase::Parked);
        }
        return Ok(());
    }
    if let Some(core) = native_core(bound).filter(|core| core.belongs_to(event_loop) && core.blocking().get())
        && !std::ptr::eq(yielded.as_ptr(), task.as_obj().as_ptr())
        && core.park(task)
    {
        core.blocking().set(false);
        return wait_for(py, task, yielded);
    }
    yielded_object(py, event_loop, task, yielded)
}

/// The general case: any object with `_asyncio_future_blocking`. What cannot be waited for, the task hears of.
fn yielded_object(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>, yielded: &Obj) -> Outcome<()> {
    match call_me_back(py, event_loop, task, yielded) {
        Ok(true) => wait_for(py, task, yielded),
        Ok(false) => Ok(()),
        Err(raised) => {
            let error = PyErr::from(raised);
            if base_kind(py, &error) == BaseKind::Exit {
                return Err(error.into());
            }
            throw_soon(event_loop, task, error.into_value(py).into_bound(py).into());
            Ok(())
        }
    }
}

/// Makes the yielded object wake the task. False if it cannot, which the task has been told then.
fn call_me_back(py: Python<'_>, event_loop: &Ref<Loop>, task: &Ref<Task>, yielded: &Obj) -> Outcome<bool> {
    let names = names(py)?;
    let refuse = |message: &str| {
        let error = PyRuntimeError::new_err(message.to_owned()).into_value(py);
        throw_soon(event_loop, task, error.into_bound(py).into());
        Ok(false)
    };
    let bound = yielded.bind(py);
    let shown = || -> PyResult<(String, String)> {
        Ok((task.bind(py).repr()?.to_string(), bound.repr()?.to_string()))
    };
    let blocking = match bound.getattr_opt(names.blocking.text(py))? {
        Some(blocking) if !blocking.is_none() => blocking.is_truthy()?,
        _ => {
            let (task_text, yielded_text) = shown()?;
            let message = if bound.get_type().name()? == "generator" {
                format!(
                    "yield was used instead of yield from for generator in task {task_text} with {yielded_text}"
                )
            } else {
                format!("Task got bad yield: {yielded_text}")
            };
            return refuse(&message);
        }
    };
    if !blocking {
        let (task_text, yielded_text) = shown()?;
        return refuse(&format!(
            "yield was used instead of yield from in task {task_text} with {yielded_text}"
        ));
    }
    if !belongs(py, event_loop, yielded)? {
        let (task_text, yielded_text) = shown()?;
        return refuse(&format!(
            "Task {task_text} got Future {yielded_text} attached to a different loop"
        ));
    }
    if std::ptr::eq(yielded.as_ptr(), task.as_obj().as_ptr()) {
        let (task_text, _) = shown()?;
        return refuse(&format!("Task cannot await on itself: {task_text}"));
    }
    bound.setattr(names.blocking.text(py), false)?;
    let wakeup = BoundFunction::<Wakeup>::create(py, task.as_obj())?;
    let context = task.context().cloned().unwrap_or_else(|| Obj::none(py));
    match (Ref::<Future>::downcast(bound), Ref::<Task>::downcast(bound)) {
        (Some(future), _) if future.is_exact(py) => add_callback(py, future, &wakeup, &context)?,
        (_, Some(other)) if other.is_exact(py) => add_callback(py, other, &wakeup, &context)?,
        _ => {
            let kwargs = pyo3::types::PyDict::new(py);
            kwargs.set_item(names.context.bind(py), context.bind(py))?;
            bound.call_method(
                names.add_done_callback.text(py),
                (wakeup.bind(py),),
                Some(&kwargs),
            )?;
        }
    }
    Ok(true)
}

/// The task waits for `future` from now on, which knows how to wake it.
#[inline]
fn wait_for(py: Python<'_>, task: &Ref<Task>, future: &Obj) -> Outcome<()> {
    task.phase().set(Phase::Waiting);
    task.fut_waiter().set(Some(future.clone()));
    asyncio(py)?.registry.add_awaiter(py, future, task.as_obj())?;
    if task.must_cancel().get() && cancel_future(py, future, task.cancel_message().as_ref())? {
        task.must_cancel().set(false);
    }
    Ok(())
}

/// Whether a future belongs to this loop (`get_loop()`, or `_loop` of older kinds of futures).
fn belongs(py: Python<'_>, event_loop: &Ref<Loop>, future: &Obj) -> PyResult<bool> {
    let bound = future.bind(py);
    let owner = match bound.getattr_opt(names(py)?.get_loop.text(py))? {
        Some(get_loop) => get_loop.call0()?,
        None => bound.getattr("_loop")?,
    };
    Ok(event_loop.as_obj().is(&owner))
}

/// Throws into the coroutine in the next turn.
fn throw_soon(event_loop: &Ref<Loop>, task: &Ref<Task>, exception: Obj) {
    task.phase().set(Phase::Scheduled);
    event_loop.push(Ready::StepWith(Box::new((task.clone(), Input::Throw(exception)))));
}
