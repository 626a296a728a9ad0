//! Cancelling tasks (asyncio docs, "Task Cancellation").

use pyo3::exceptions::PyRecursionError;
use pyo3::prelude::*;

use super::{Phase, Task};
use crate::asyncio::asyncio;
use crate::ffi::{Args, Obj, Ref, call_method};
use crate::future_core::State;
use crate::names::names;

impl Task {
    /// Takes a cancellation that nothing takes which the task waits for.
    fn be_cancelled(&self, slf: &Ref<Task>, message: Option<Obj>) {
        match self.phase.get() {
            Phase::Parked => self.interrupt_with(slf, message),
            // As with a future that is cancelled already: the first message is the one that arrives.
            Phase::Interrupted => self.must_cancel.set(true),
            _ => {
                self.must_cancel.set(true);
                self.cancel_message.set(message);
            }
        }
    }
}

/// `cancel(msg=None)`.
pub(super) fn cancel(slf: &Ref<Task>, args: Args<'_, '_>) -> PyResult<bool> {
    let py = args.py();
    let message = args
        .only_keyword("cancel", &names(py)?.msg_keyword)?
        .or_else(|| args.get(0));
    let message = message.filter(|message| !message.is_none()).map(Obj::from);
    if !slf.core.is_native() {
        let message = message.unwrap_or_else(|| Obj::none(py));
        return asyncio(py)?
            .task
            .cancel
            .call(py, [slf.as_obj(), &message])?
            .bind(py)
            .is_truthy();
    }
    request_cancel(slf, py, message)
}

/// `cancel(msg)` of a task of one of our loops.
///
/// A task that waits for a task has that one cancelled, and so on: such a chain may be longer than the stack is deep, so
/// it is gone along. What its end does not take, the last one before that does, and so all that wait for it are answered.
pub(crate) fn request_cancel(slf: &Ref<Task>, py: Python<'_>, message: Option<Obj>) -> PyResult<bool> {
    let mut last = None;
    let mut length = 0_usize;
    let mut task = slf.clone();
    // Tasks may wait for each other in a circle: one task is remembered, a later one each time the way has doubled.
    let mut remembered = slf.clone();
    let taken = loop {
        if task.core.state() != State::Pending {
            break false;
        }
        task.cancels.set(task.cancels.get() + 1);
        let Some(future) = task
            .fut_waiter
            .get()
            .filter(|_| task.phase.get() == Phase::Waiting)
        else {
            task.be_cancelled(&task, message);
            return Ok(true);
        };
        let next = Ref::<Task>::downcast_exact(future.bind(py)).filter(|next| next.core.is_native());
        let Some(next) = next.cloned() else {
            last = Some(task);
            break cancel_future(py, &future, message.as_ref())?;
        };
        if next.as_obj().is(remembered.bind(py)) {
            return Err(PyRecursionError::new_err(
                "cannot cancel tasks that wait for each other in a circle",
            ));
        }
        length += 1;
        if length.is_power_of_two() {
            remembered = next.clone();
        }
        last = Some(std::mem::replace(&mut task, next));
    };
    // The future wakes the task, which then sees the cancellation; one that was done already does not.
    if let Some(task) = last.filter(|_| !taken) {
        task.be_cancelled(&task, message);
        return Ok(true);
    }
    Ok(taken)
}

/// `future.cancel(msg)`, as a task calls it on the future it waits for.
pub(crate) fn cancel_future(py: Python<'_>, future: &Obj, message: Option<&Obj>) -> PyResult<bool> {
    let cancel = &names(py)?.cancel;
    let cancelled = match message {
        Some(message) => call_method(py, future, cancel, &[message])?,
        None => call_method(py, future, cancel, &[])?,
    };
    cancelled.bind(py).is_truthy()
}
