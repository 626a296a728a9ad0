//! `create_task`, and how loops recognise `eager_task_factory` (asyncio: Creating Tasks, Eager Task Factory).
//!
//! `current_task` and `all_tasks` are asyncio's own: our tasks are in its registry.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::any_task::RunningLoop;
use crate::ffi::{Global, Obj};
use crate::spawn::{Spawn, spawn};

/// Run a coroutine as a task of the running loop; the keywords are those of loop.create_task().
#[pyfunction]
#[pyo3(signature = (coro, **kwargs))]
fn create_task(
    py: Python<'_>,
    coro: &Bound<'_, PyAny>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let running = RunningLoop::find(py)?;
    if kwargs.is_none()
        && let RunningLoop::Ours(event_loop) = &running
        && event_loop.makes_own_tasks(py)?
    {
        let request = Spawn {
            coro: Obj::from(coro),
            context: None,
            name: None,
            eager_start: false,
        };
        return Ok(spawn(py, event_loop, request)?.into_obj().into_bound(py).unbind());
    }
    let create_task = running.as_obj().bind(py).getattr("create_task")?;
    Ok(create_task.call((coro,), kwargs)?.unbind())
}

static EAGER_TASK_FACTORY: Global<Obj> = Global::new();

/// Whether `factory` is `sabio.eager_task_factory`, which loops of ours need not call.
pub(crate) fn is_eager_task_factory(py: Python<'_>, factory: &Obj) -> bool {
    EAGER_TASK_FACTORY
        .try_get(py)
        .is_some_and(|eager| eager.is(factory.bind(py)))
}

/// Names `sabio.eager_task_factory`, which is a Python function: libraries look at its `__code__`. Later calls change
/// nothing.
#[pyfunction]
#[pyo3(signature = (factory, /))]
fn _set_eager_task_factory(factory: &Bound<'_, PyAny>) {
    EAGER_TASK_FACTORY.set(factory.py(), Obj::from(factory));
}

/// Adds the functions to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Not for users: it is no part of the module's `__all__`.
    let set_factory = wrap_pyfunction!(_set_eager_task_factory, module)?;
    module.setattr("_set_eager_task_factory", set_factory)?;
    module.add_function(wrap_pyfunction!(create_task, module)?)
}
