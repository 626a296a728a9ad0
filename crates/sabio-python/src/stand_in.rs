//! What `_fut_waiter` shows of a task that waits in a native coroutine: a future that stands for the wait.
//!
//! Nobody resolves such a wait, so there is no future until somebody asks for one (anyio does, to tell tasks that wait
//! from those that will run, and `repr`). The stand-in is pending while the task is parked, done from the moment at
//! which somebody looks after the task was woken, and at the latest when the task goes on; cancelling it interrupts
//! the wait, as cancelling the future that a task awaits does in asyncio. It lies where the task keeps the future that
//! it waits for, and the task's phase says which of the two it is.

use pyo3::prelude::*;

use crate::ffi::{Obj, Ref, Slot, Visit};
use crate::future::{self, Future};
use crate::future_core::{FutureLike, State};
use crate::observer::{Observe, Observer};
use crate::task::{Phase, Task};

/// The future that a task waits for, or what stands for its wait; None for a task that runs, or will without having
/// waited.
pub(crate) fn fut_waiter(py: Python<'_>, task: &Ref<Task>) -> PyResult<Option<Obj>> {
    let phase = task.phase().get();
    match phase {
        Phase::Waiting => return Ok(task.fut_waiter().get()),
        Phase::Scheduled | Phase::Running | Phase::Notified => return Ok(None),
        Phase::Parked | Phase::Woken | Phase::Interrupted => {}
    }
    let future = match task.fut_waiter().get() {
        Some(future) => future,
        None => {
            let Some(future) = create(py, task)? else {
                return Ok(None);
            };
            task.fut_waiter().set(Some(future.clone()));
            future
        }
    };
    if phase != Phase::Parked {
        end(py, &future, phase == Phase::Interrupted)?;
    }
    Ok(Some(future))
}

fn create(py: Python<'_>, task: &Ref<Task>) -> PyResult<Option<Obj>> {
    let Some(event_loop) = task.event_loop() else {
        return Ok(None);
    };
    let future = future::create(py, event_loop)?;
    let task = Slot::new(Some(task.clone()));
    future.tell_of_cancellation(&Observer::create(py, Interrupt { task })?);
    Ok(Some(future.into_obj()))
}

/// The wait is over: ends the future that stands for it, unless somebody has done so.
///
/// # Errors
/// Whatever callbacks that a user has added to it make of a closed loop.
#[cold]
pub(crate) fn end(py: Python<'_>, future: &Obj, interrupted: bool) -> PyResult<()> {
    let Some(future) = Ref::<Future>::downcast_exact(future.bind(py)) else {
        return Ok(());
    };
    if future.core().state() != State::Pending {
        return Ok(());
    }
    drop(future.take_work());
    if interrupted {
        future.bind(py).call_method0("cancel").map(drop)
    } else {
        future::set_result(future, py.None().bind(py))
    }
}

/// Told of the cancellation of a stand-in.
struct Interrupt {
    task: Slot<Ref<Task>>,
}

impl Observe for Interrupt {
    fn done(&self, py: Python<'_>, _slf: &Ref<Observer>, future: &Obj) -> PyResult<()> {
        let Some(task) = self.task.take() else {
            return Ok(());
        };
        let stands = std::ptr::eq(task.fut_waiter().as_ptr(), future.as_ptr());
        if stands && task.phase().get() == Phase::Parked {
            let message = future.bind(py).getattr("_cancel_message")?;
            task.interrupt_with(&task, (!message.is_none()).then(|| message.into()));
        }
        Ok(())
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.task);
    }

    fn clear(&self) {
        self.task.set(None);
    }
}
