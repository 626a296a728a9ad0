//! `create_task` and `eager_task_factory` (asyncio: Creating Tasks, Eager Task Factory).
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

/// A task factory whose tasks begin to run at once: loop.set_task_factory(eager_task_factory).
#[pyfunction]
#[pyo3(signature = (r#loop, coro, *, eager_start=true, **kwargs))]
fn eager_task_factory(
    r#loop: &Bound<'_, PyAny>,
    coro: &Bound<'_, PyAny>,
    eager_start: bool,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let py = coro.py();
    let all = match kwargs {
        Some(kwargs) => kwargs.copy()?,
        None => PyDict::new(py),
    };
    all.set_item("loop", r#loop)?;
    all.set_item("eager_start", eager_start)?;
    let class = crate::task::class(py)?;
    Ok(class.call((coro,), Some(&all))?.unbind())
}

static EAGER_TASK_FACTORY: Global<Obj> = Global::new();

/// Whether `factory` is `sabio.eager_task_factory`, which loops of ours need not call.
pub(crate) fn is_eager_task_factory(py: Python<'_>, factory: &Obj) -> bool {
    EAGER_TASK_FACTORY
        .try_get(py)
        .is_some_and(|eager| eager.is(factory.bind(py)))
}

/// Adds the functions to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let eager = wrap_pyfunction!(eager_task_factory, module)?;
    EAGER_TASK_FACTORY.set(module.py(), Obj::from(&eager));
    module.add_function(eager)?;
    module.add_function(wrap_pyfunction!(create_task, module)?)
}
