//! `create_task`, task factories and `create_future` (asyncio: Creating Futures and Tasks).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::Loop;
use super::replaced::is_replaced;
use crate::asyncio::{Asyncio, asyncio};
use crate::ffi::{Args, IsClass, MethodTable, Obj, Ref, with_current};
use crate::future;
use crate::names::names;
use crate::spawn::{Spawn, spawn};
use crate::task::Task;
use crate::tasks::is_eager_task_factory;

pub(crate) fn create_task(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    slf.check_closed()?;
    let Some(coro) = args.get(0).cloned().or_else(|| keyword(&args, "coro")) else {
        return Err(PyTypeError::new_err(
            "create_task() missing 1 required positional argument: 'coro'",
        ));
    };
    if args.len() > 1 {
        return Err(PyTypeError::new_err(format!(
            "create_task() takes 1 positional argument but {} were given",
            args.len()
        )));
    }
    if let Some(factory) = slf.task_factory.get() {
        return from_factory(slf, py, &factory, &coro, &args);
    }
    if let Some(class) = replaced(py)? {
        let kwargs = keyword_dict(&args)?;
        kwargs.set_item(names(py)?.loop_.bind(py), slf.bind(py))?;
        return Ok(class.bind(py).call((coro,), Some(&kwargs))?.into());
    }
    let mut request = Spawn {
        coro: coro.into(),
        context: None,
        name: None,
        eager_start: false,
    };
    for (name, value) in args.keywords() {
        let given = || (!value.is_none()).then(|| Obj::from(value));
        match name.cast::<PyString>()?.to_str()? {
            "name" => request.name = given(),
            "context" => request.context = given(),
            "eager_start" => request.eager_start = value.is_truthy()?,
            "coro" => {}
            other => {
                return Err(PyTypeError::new_err(format!(
                    "create_task() got an unexpected keyword argument '{other}'"
                )));
            }
        }
    }
    Ok(spawn(py, slf, request)?.into_obj())
}

fn keyword<'py>(args: &Args<'_, 'py>, wanted: &str) -> Option<Bound<'py, PyAny>> {
    args.keywords()
        .find(|(name, _)| name.eq(wanted).unwrap_or(false))
        .map(|(_, value)| value.clone())
}

fn keyword_dict<'py>(args: &Args<'_, 'py>) -> PyResult<Bound<'py, PyDict>> {
    let kwargs = PyDict::new(args.py());
    for (name, value) in args
        .keywords()
        .filter(|(name, _)| !name.eq("coro").unwrap_or(false))
    {
        kwargs.set_item(name, value)?;
    }
    Ok(kwargs)
}

impl Ref<Loop> {
    /// Whether `create_task` would make a task of ours, with no factory between. RuntimeError if the loop is closed.
    pub(crate) fn makes_own_tasks(&self, py: Python<'_>) -> PyResult<bool> {
        if self.create_task_is_replaced() {
            return Ok(false);
        }
        self.check_closed()?;
        Ok(self.task_factory.is_none() && replaced(py)?.is_none())
    }

    /// Whether `loop.create_task()` is another than [`create_task`].
    #[inline]
    pub(crate) fn create_task_is_replaced(&self) -> bool {
        self.create_task_is_replaced.get()
    }
}

/// Finds out whose `create_task()` the loop has now. That of a subclass is called anyway.
pub(super) fn find(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    let replaced = slf.is_plain(py) && is_replaced(slf, py, &names(py)?.create_task)?;
    slf.create_task_is_replaced.set(replaced);
    Ok(())
}

/// The class that a user put in the place of `asyncio.tasks.Task`, if one did.
#[inline]
fn replaced(py: Python<'_>) -> PyResult<Option<Obj>> {
    let asyncio = asyncio(py)?;
    let current = asyncio
        .tasks_dict
        .bind(py)
        .cast::<PyDict>()?
        .get_item(names(py)?.task_class.bind(py))?;
    Ok(current
        .filter(|class| !asyncio.original_task.is(class) && !Task::is_class(py, class))
        .map(Obj::from))
}

/// Asks the factory; the caller's keywords are passed on, and none besides. Where asyncio names the task that the
/// factory has made, factories know neither the keyword `name` nor a context that is not given.
fn from_factory(
    slf: &Ref<Loop>,
    py: Python<'_>,
    factory: &Obj,
    coro: &Bound<'_, PyAny>,
    args: &Args<'_, '_>,
) -> PyResult<Obj> {
    let kwargs = keyword_dict(args)?;
    let is_eager = is_eager_task_factory(py, factory)
        || asyncio(py)?
            .eager_task_factory
            .as_ref()
            .is_some_and(|eager| eager.is(factory.bind(py)));
    if is_eager && replaced(py)?.is_none() {
        let get = |name: &str| -> PyResult<Option<Obj>> {
            Ok(kwargs
                .get_item(name)?
                .filter(|value| !value.is_none())
                .map(Obj::from))
        };
        let eager_start = match get("eager_start")? {
            Some(eager) => eager.bind(py).is_truthy()?,
            None => true,
        };
        let request = Spawn {
            coro: Obj::from(coro),
            context: get("context")?,
            name: get("name")?,
            eager_start,
        };
        return Ok(spawn(py, slf, request)?.into_obj());
    }
    let mut name = None;
    if !asyncio(py)?.factories_name_tasks {
        name = kwargs.get_item("name")?.filter(|name| !name.is_none());
        for keyword in ["name", "context", "eager_start"] {
            if kwargs
                .get_item(keyword)?
                .is_some_and(|value| keyword == "name" || value.is_none())
            {
                kwargs.del_item(keyword)?;
            }
        }
    }
    // A factory may start a task of its own kind at once: that is not the task which we step.
    let task = with_current::<Task, _>(None, |_| {
        factory.bind(py).call((slf.bind(py), coro), Some(&kwargs))
    })?;
    if let Some(name) = name {
        // Before 3.13 asyncio forgives tasks that cannot be named.
        match py.import("asyncio.tasks")?.getattr_opt("_set_task_name")? {
            Some(set_task_name) => set_task_name.call1((&task, name))?,
            None => task.call_method1("set_name", (name,))?,
        };
    }
    Ok(task.into())
}

fn set_task_factory(slf: &Ref<Loop>, factory: &Bound<'_, PyAny>) -> PyResult<()> {
    if !factory.is_none() && !factory.is_callable() {
        return Err(PyTypeError::new_err("task factory must be a callable or None"));
    }
    slf.task_factory
        .set((!factory.is_none()).then(|| Obj::from(factory)));
    Ok(())
}

/// `create_future()`: ours, or one of the class that [`other_future_class`] names.
fn create_future(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Obj> {
    match other_future_class(py)? {
        Some(class) => {
            let kwargs = slf.loop_kwargs(py)?;
            Ok(class.call((), Some(&kwargs))?.into())
        }
        None => Ok(future::create(py, slf)?.into_obj()),
    }
}

/// The class that a user put in the place of `asyncio.futures.Future`, if one did; and asyncio's own while a task of
/// asyncio's own class runs, which awaits no others without a detour.
fn other_future_class(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let asyncio = asyncio(py)?;
    let class = asyncio
        .futures_dict
        .bind(py)
        .cast::<PyDict>()?
        .get_item(names(py)?.future_class.bind(py))?;
    Ok(class.filter(|class| {
        if asyncio.original_future.is(class) {
            is_in_asyncios_task(py, asyncio)
        } else {
            !future::Future::is_class(py, class)
        }
    }))
}

/// Whether a task of asyncio's own class runs. Before 3.14 asking would be dear, and the answer is no.
#[inline]
fn is_in_asyncios_task(py: Python<'_>, asyncio: &Asyncio) -> bool {
    #[cfg(Py_3_14)]
    if let Some(task) = crate::ffi::running::running_task(py) {
        return asyncio.original_task.is(&task.bind(py).get_type());
    }
    let _ = (py, asyncio);
    false
}

/// Whether a task of asyncio's own class runs, which awaits asyncio's own futures ([`asyncios_future`]) without a detour.
#[inline]
pub(crate) fn runs_asyncios_task(py: Python<'_>) -> PyResult<bool> {
    Ok(is_in_asyncios_task(py, asyncio(py)?))
}

/// A new future of asyncio's own class.
pub(crate) fn asyncios_future(py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<Obj> {
    let kwargs = event_loop.loop_kwargs(py)?;
    let class = asyncio(py)?.original_future.bind(py);
    Ok(class.call((), Some(&kwargs))?.into())
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .fast_method(
            c"create_task",
            c"create_task($self, coro, *, name=None, context=None, eager_start=None, **kwargs)\n--\n\nRun a coroutine as a task.",
            create_task,
        )
        .fast_noargs(c"create_future", c"create_future($self, /)\n--\n\nA new future of this loop.", create_future)
        .method(
            c"set_task_factory",
            c"set_task_factory($self, factory)\n--\n\nSet the callable (loop, coro, **kwargs) that makes tasks, or None for sabio's own.",
            |slf, args| set_task_factory(slf, args.single("set_task_factory", "factory")?),
        )
        .noargs(c"get_task_factory", c"get_task_factory($self, /)\n--\n\nThe task factory, or None.", |slf, _py| {
            Ok(slf.task_factory.get())
        });
}
