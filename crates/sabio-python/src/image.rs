//! What the initialisers of `_asyncio.Task` and `_asyncio.Future` leave in an instance, so that our own tasks and futures
//! need not run them: they parse keywords, ask the loop whether it is in debug mode and make a callback that we
//! would drop.
//!
//! Learned when the module is initialised, from a few instances. Invariant: an instance that is made here cannot be told
//! from one that the initialiser made; where that is not certain ([`tasks`] and [`futures`] give None, debug mode,
//! a loop that is a subclass of ours), the caller runs the initialiser.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::ffi::{Counter, Field, Global, Image, NativeFunction, Obj, Outcome, Ref};
use crate::future::Future;
use crate::task::Task;

/// How many instances are looked at.
const SAMPLES: usize = 3;

/// The place of a task's coroutine among the objects of its image.
const CORO: usize = 1;

/// The place of a task's name among the objects of its image.
const NAME: usize = 3;

/// Makes tasks.
pub(crate) struct TaskImage {
    /// The loop, the coroutine, the context and the name.
    image: Image<4>,
    /// The number in the name of the last task without a name of its own.
    names: Counter,
    register: NativeFunction,
}

/// Makes futures.
pub(crate) struct FutureImage {
    /// The loop.
    image: Image<1>,
}

/// Where asyncio's part of a task holds its coroutine.
static CORO_OF_TASK: Field<Task> = Field::new();

static TASKS: Global<Option<TaskImage>> = Global::new();
static FUTURES: Global<Option<FutureImage>> = Global::new();

/// How to make tasks without the initialiser, if that is known on this interpreter.
#[inline]
pub(crate) fn tasks(py: Python<'_>) -> Option<&'static TaskImage> {
    TASKS.try_get(py)?.as_ref()
}

/// How to make futures without the initialiser, if that is known on this interpreter.
#[inline]
pub(crate) fn futures(py: Python<'_>) -> Option<&'static FutureImage> {
    FUTURES.try_get(py)?.as_ref()
}

/// The coroutine that asyncio's part of the task holds, if it is another one than `known`: greenback puts its own in the
/// place of a task's.
#[inline(always)]
pub(crate) fn replaced_coroutine(task: &Ref<Task>, known: &Obj) -> Option<Obj> {
    CORO_OF_TASK.unless(task, known)
}

/// Makes a task that has ended in its first, eager step let go of its coroutine, as asyncio's does.
pub(crate) fn drop_coroutine(py: Python<'_>, task: &Ref<Task>) {
    drop(CORO_OF_TASK.take(py, task));
}

impl TaskImage {
    /// A new, registered task that nobody steps yet. `name` is exactly a string; without one the task gets the next
    /// number, as from the initialiser.
    #[inline]
    pub(crate) fn create(
        &self,
        py: Python<'_>,
        event_loop: Obj,
        coro: Obj,
        context: Obj,
        name: Option<Obj>,
    ) -> PyResult<Ref<Task>> {
        let name = match name {
            Some(name) => name,
            None => self.names.count(py)?,
        };
        let task = self.image.create::<Task>(py, [event_loop, coro, context, name])?;
        self.register.call(py, [task.as_obj()])?;
        Ok(task)
    }
}

impl FutureImage {
    /// A new pending future.
    #[inline]
    pub(crate) fn create(&self, py: Python<'_>, event_loop: Obj) -> Outcome<Ref<Future>> {
        self.image.create::<Future>(py, [event_loop])
    }
}

/// Learns both images.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    TASKS.set(py, learn_tasks(py)?);
    FUTURES.set(py, learn_futures(py)?);
    Ok(())
}

/// What the initialisers ask of a loop: not in debug mode, and a `call_soon` that takes the first step and
/// forgets it.
fn stand_in_loop(py: Python<'_>) -> PyResult<Obj> {
    let members = PyDict::new(py);
    members.set_item("get_debug", py.get_type::<pyo3::types::PyBool>())?;
    members.set_item("call_soon", py.import("functools")?.getattr("partial")?)?;
    Ok(py
        .import("types")?
        .getattr("SimpleNamespace")?
        .call((), Some(&members))?
        .into())
}

/// A task of the interpreter's own class that will never run, with what it was made of.
struct Sample<'py> {
    task: Bound<'py, PyAny>,
    objects: [Obj; 4],
}

impl<'py> Sample<'py> {
    fn new(module: &Bound<'py, PyModule>, name: Option<&str>) -> PyResult<Sample<'py>> {
        let py = module.py();
        let event_loop = stand_in_loop(py)?;
        let coro = py.import("asyncio")?.call_method1("sleep", (0,))?;
        let context = py.import("contextvars")?.getattr("Context")?.call0()?;
        let name = match name {
            Some(name) => PyString::new(py, name).into_any(),
            None => py.None().into_bound(py),
        };
        let kwargs = PyDict::new(py);
        kwargs.set_item("loop", event_loop.bind(py))?;
        kwargs.set_item("context", &context)?;
        kwargs.set_item("name", &name)?;
        let task = module.getattr("Task")?.call((&coro,), Some(&kwargs))?;
        // Registering is a step of its own: the registry may thread its tasks on a list through them.
        module.call_method1("_unregister_task", (&task,))?;
        Ok(Sample {
            task,
            objects: [event_loop, coro.into(), context.into(), name.into()],
        })
    }

    /// Nobody is to hear that it never ran.
    fn discard(self) -> PyResult<()> {
        let py = self.task.py();
        self.task.setattr("_log_destroy_pending", false)?;
        self.objects[1].bind(py).call_method0("close")?;
        Ok(())
    }
}

fn learn_tasks(py: Python<'_>) -> PyResult<Option<TaskImage>> {
    let module = py.import("_asyncio")?;
    let samples = (0..SAMPLES)
        .map(|number| Sample::new(&module, Some(&format!("sample {number}"))))
        .collect::<PyResult<Vec<_>>>()?;
    let explained = samples.iter().try_fold(true, |so_far, sample| {
        Ok::<_, PyErr>(so_far && refers_to_its_objects(py, &sample.task, &sample.objects)?)
    })?;
    let known: Vec<_> = samples
        .iter()
        .map(|sample| (Obj::from(&sample.task), sample.objects.clone()))
        .collect();
    let image = if explained { Image::learn(&known) } else { None };
    drop(known);
    samples.into_iter().try_for_each(Sample::discard)?;
    let Some(image) = image else { return Ok(None) };
    CORO_OF_TASK.learn(&image, CORO);
    // A task without a name holds the number of the one that it will be given when it is asked for.
    let names = Counter::find(&module, || {
        let sample = Sample::new(&module, None)?;
        let name = image.field(&Obj::from(&sample.task), NAME);
        sample.discard()?;
        Ok(name.and_then(|name| name.bind(py).extract().ok()).unwrap_or(0))
    })?;
    Ok(match names {
        Some(names) => Some(TaskImage {
            image,
            names,
            register: NativeFunction::new(&module.getattr("_register_task")?),
        }),
        None => None,
    })
}

fn learn_futures(py: Python<'_>) -> PyResult<Option<FutureImage>> {
    let class = py.import("_asyncio")?.getattr("Future")?;
    let mut known = Vec::new();
    for _ in 0..SAMPLES {
        let event_loop = stand_in_loop(py)?;
        let kwargs = PyDict::new(py);
        kwargs.set_item("loop", event_loop.bind(py))?;
        let future = class.call((), Some(&kwargs))?;
        if !refers_to_its_objects(py, &future, std::slice::from_ref(&event_loop))? {
            return Ok(None);
        }
        known.push((Obj::from(&future), [event_loop]));
    }
    Ok(Image::learn(&known).map(|image| FutureImage { image }))
}

/// Whether the collector sees no objects in the instance but these and its class: then no other word owns one.
fn refers_to_its_objects(py: Python<'_>, instance: &Bound<'_, PyAny>, objects: &[Obj]) -> PyResult<bool> {
    let referents = py.import("gc")?.call_method1("get_referents", (instance,))?;
    let class = instance.get_type();
    Ok(referents
        .cast::<PyList>()?
        .iter()
        .all(|referent| referent.is(&class) || objects.iter().any(|object| object.is(&referent))))
}
