//! Making tasks: by the image of what the base's initialiser leaves behind (see `image`), or by the initialiser itself,
//! whose first step is dropped in favour of a native one.
//!
//! Called by `loop.create_task()`, task factories and the constructor of `sabio.Task`. Invariant: the two ways cannot be
//! told apart afterwards.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::asyncio::asyncio;
use crate::coroutine::Coroutine;
use crate::event_loop::{FirstStep, Loop};
use crate::ffi::{Obj, Ref, context_copy_current, is_context, is_coroutine_exact};
use crate::future_core::{FutureLike, State};
use crate::image::{self, TaskImage};
use crate::names::names;
use crate::step;
use crate::task::Task;

/// What a task of one of our loops is made with.
pub(crate) struct Spawn {
    pub(crate) coro: Obj,
    pub(crate) context: Option<Obj>,
    pub(crate) name: Option<Obj>,
    pub(crate) eager_start: bool,
}

impl Spawn {
    /// TypeError if the context is none: it would be noticed by each step of the task, and by nobody who could help.
    #[inline]
    fn check_context(&self, py: Python<'_>) -> PyResult<()> {
        match &self.context {
            Some(context) if !is_context(context.bind(py)) => Err(no_context(context.bind(py))),
            _ => Ok(()),
        }
    }

    /// Whether the initialiser of the base would take all this as it is: no conversion, no test of an unknown class.
    #[inline]
    fn is_plain(&self, py: Python<'_>) -> bool {
        let coro = self.coro.bind(py);
        (is_coroutine_exact(coro) || Ref::<Coroutine>::downcast_exact(coro).is_some())
            && self
                .name
                .as_ref()
                .is_none_or(|name| name.bind(py).cast_exact::<PyString>().is_ok())
    }
}

#[cold]
fn no_context(object: &Bound<'_, PyAny>) -> PyErr {
    match object.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("a contextvars.Context was expected, got {name}")),
        Err(error) => error,
    }
}

/// A new task of this loop. TypeError if `coro` is no coroutine, or the context no context.
pub(crate) fn spawn(py: Python<'_>, event_loop: &Ref<Loop>, spawn: Spawn) -> PyResult<Ref<Task>> {
    // Before there is a task: one that cannot be scheduled would never end.
    event_loop.make_room()?;
    if let Some(image) = image::tasks(py)
        && spawn.is_plain(py)
        && event_loop.is_plain(py)
        && !event_loop.debug()
    {
        return spawn_from_image(py, event_loop, image, spawn);
    }
    let task = Ref::<Task>::create_uninitialised(py, event_loop.no_args(py))?;
    adopt(py, &task, event_loop, spawn)?;
    Ok(task)
}

/// As the initialiser of the base would make it, without the run of it.
#[inline]
fn spawn_from_image(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    image: &TaskImage,
    spawn: Spawn,
) -> PyResult<Ref<Task>> {
    spawn.check_context(py)?;
    let context = match spawn.context {
        Some(context) => context,
        None => context_copy_current(py)?,
    };
    let owner = event_loop.as_obj().clone();
    let task = image.create(py, owner, spawn.coro.clone(), context.clone(), spawn.name)?;
    start(py, &task, event_loop, spawn.coro, context, spawn.eager_start)?;
    Ok(task)
}

/// Runs the base's initialiser, without the step that it schedules, and puts the first native step on the ready
/// queue, or takes it at once.
pub(crate) fn adopt(py: Python<'_>, task: &Ref<Task>, event_loop: &Ref<Loop>, spawn: Spawn) -> PyResult<()> {
    spawn.check_context(py)?;
    let Spawn {
        coro,
        context,
        name,
        eager_start,
    } = spawn;
    let kwargs = match (&context, &name) {
        (None, None) => event_loop.loop_kwargs(py)?,
        _ => {
            let names = names(py)?;
            let kwargs = event_loop.loop_kwargs(py)?.copy()?;
            if let Some(context) = &context {
                kwargs.set_item(names.context.bind(py), context.bind(py))?;
            }
            if let Some(name) = &name {
                kwargs.set_item(names.name.bind(py), name.bind(py))?;
            }
            kwargs
        }
    };
    let args = PyTuple::new(py, [coro.bind(py)])?;
    let outer = event_loop.expect_first_step(FirstStep::Expected);
    let initialised = asyncio(py)?
        .task
        .class
        .init(py, task.as_obj(), &args, Some(&kwargs));
    let first_step = event_loop.expect_first_step(outer);
    initialised?;
    let context = match (first_step, context) {
        (FirstStep::Dropped(context), _) | (_, Some(context)) => context,
        // A `call_soon` that somebody put in the place of ours kept the step to itself.
        (_, None) => context_copy_current(py)?,
    };
    start(py, task, event_loop, coro, context, eager_start)
}

/// Makes a task whose base is initialised ours, and puts its first step on the ready queue or takes it at once.
#[inline]
fn start(
    py: Python<'_>,
    task: &Ref<Task>,
    event_loop: &Ref<Loop>,
    coro: Obj,
    context: Obj,
    eager_start: bool,
) -> PyResult<()> {
    task.set_up(event_loop, coro, context);
    if eager_start && event_loop.is_running_here() {
        step::run_eagerly(py, event_loop, task)?;
        if task.core().state() != State::Pending {
            image::drop_coroutine(py, task);
        }
        Ok(())
    } else {
        Task::schedule(task.clone());
        Ok(())
    }
}
