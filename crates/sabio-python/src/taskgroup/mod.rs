//! `TaskGroup` (asyncio: Task Groups), with 3.15's behaviour on every version.
//!
//! Each child is watched by one observer of the group, which needs no callback, handle or context of its own. The
//! group's state is shared by the object and by the coroutine that waits for the children in `__aexit__`; the object
//! shows all of it to the garbage collector. Split by what happens: `group` (the state, children that end, cancelling),
//! `exit` (the end of the block).

mod exit;
mod group;

use std::rc::Rc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::any_task::{self, RunningLoop};
use crate::event_loop::tasks::create_task as create_native_task;
use crate::ffi::{Args, Base, Class, ClassBuilder, ClassCell, MethodTable, Obj, Ref, Visit, public_class};
use crate::names::names;
use crate::prompt;

use group::Group;

/// The data of a `TaskGroup`.
pub(crate) struct TaskGroup {
    group: Rc<Group>,
}

static TASK_GROUP: ClassCell = ClassCell::new();

impl Class for TaskGroup {
    const NAME: &'static std::ffi::CStr = c"sabio._TaskGroupCore";
    const SUBCLASSABLE: bool = true;

    fn cell() -> &'static ClassCell {
        &TASK_GROUP
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        self.group.visit(visit);
    }

    fn clear(&self) {
        self.group.clear();
    }
}

impl TaskGroup {
    fn group(&self) -> &Rc<Group> {
        &self.group
    }
}

fn enter(py: Python<'_>, owner: &Obj) -> PyResult<Obj> {
    let Some(slf) = Ref::<TaskGroup>::downcast(owner.bind(py)) else {
        return Ok(owner.clone());
    };
    let group = &slf.group;
    if group.entered.get() {
        return Err(PyRuntimeError::new_err(format!(
            "TaskGroup {} has already been entered",
            owner.bind(py).repr()?
        )));
    }
    let event_loop = RunningLoop::find(py)?;
    let Some(parent) = any_task::current(py)? else {
        return Err(PyRuntimeError::new_err(format!(
            "TaskGroup {} cannot determine the parent task",
            owner.bind(py).repr()?
        )));
    };
    group.enter(event_loop, parent);
    if group.cancel_on_enter.get() {
        group.cancel(py)?;
    }
    Ok(owner.clone())
}

/// RuntimeError for a coroutine that cannot become a task of the group. From 3.13 the coroutine is closed, so that
/// nobody is warned that it was never awaited; before, it may still be used.
fn refuse(args: &Args<'_, '_>, slf: &Ref<TaskGroup>, reason: &str) -> PyErr {
    Python::attach(|py| {
        let message = || -> PyResult<String> {
            if cfg!(Py_3_13)
                && let Some(coro) = coroutine_of(args)
            {
                coro.call_method0(names(py)?.close.text(py))?;
            }
            Ok(format!("TaskGroup {} {reason}", slf.bind(py).repr()?))
        };
        match message() {
            Ok(message) => PyRuntimeError::new_err(message),
            Err(error) => error,
        }
    })
}

fn coroutine_of<'py>(args: &Args<'_, 'py>) -> Option<Bound<'py, PyAny>> {
    args.get(0).cloned().or_else(|| {
        args.keywords()
            .find(|(name, _)| name.eq("coro").unwrap_or(false))
            .map(|(_, value)| value.clone())
    })
}

fn create_task(slf: &Ref<TaskGroup>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let group = &slf.group;
    if !group.entered.get() {
        return Err(refuse(&args, slf, "has not been entered"));
    }
    if group.exiting.get() && group.is_empty(py) {
        return Err(refuse(&args, slf, "is finished"));
    }
    if group.aborting.get() {
        return Err(refuse(&args, slf, "is shutting down"));
    }
    let task = match group.event_loop()? {
        RunningLoop::Ours(event_loop) if !event_loop.create_task_is_replaced() => {
            create_native_task(&event_loop, args)?
        }
        event_loop => create_task_elsewhere(event_loop.as_obj(), &args)?,
    };
    group.add(py, slf, &task)?;
    Ok(task)
}

/// `event_loop.create_task(*args)` of a loop that is not exactly ours.
fn create_task_elsewhere(event_loop: &Obj, args: &Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let kwargs = PyDict::new(py);
    for (name, value) in args.keywords() {
        kwargs.set_item(name, value)?;
    }
    let positional = PyTuple::new(py, args.positional_from(0))?;
    let create_task = event_loop.bind(py).getattr("create_task")?;
    Ok(create_task.call(positional, Some(&kwargs))?.into())
}

fn aexit(slf: &Ref<TaskGroup>, args: Args<'_, '_>) -> PyResult<Obj> {
    let (Some(class), Some(exception)) = (args.get(0), args.get(1)) else {
        return Err(PyTypeError::new_err(
            "__aexit__() missing 3 required positional arguments: 'et', 'exc', and 'tb'",
        ));
    };
    exit::exit(slf, class, exception)
}

fn repr(slf: &Ref<TaskGroup>, py: Python<'_>) -> PyResult<Obj> {
    let text = format!("<TaskGroup{}>", slf.group.describe(py));
    Ok(Obj::from(PyString::new(py, &text)))
}

fn define(table: &mut MethodTable<TaskGroup>) {
    table
        .fast_method(
            c"create_task",
            c"create_task($self, coro, **kwargs)\n--\n\nRun a coroutine as a task of the group; the keywords are those of loop.create_task(). RuntimeError before the group was entered, while it is being cancelled, and when it has ended.",
            create_task,
        )
        .method(
            c"cancel",
            c"cancel($self, /)\n--\n\nCancel the tasks of the group and its block, which then ends without CancelledError. Called before the group is entered, it cancels it then.",
            |slf, args| {
                if args.len() > 0 || args.keywords().next().is_some() {
                    return Err(PyTypeError::new_err("cancel() takes no arguments"));
                }
                slf.group.cancel(args.py())
            },
        )
        .noargs(c"__aenter__", c"__aenter__($self, /)\n--\n\nEnter the group. RuntimeError outside of a task, and the second time.", |slf, py| {
            Ok(prompt::create(py, "TaskGroup.__aenter__", slf.as_obj().clone(), enter)?)
        })
        .method(c"__aexit__", c"__aexit__($self, et, exc, tb)\n--\n\nWait for the tasks, and raise their exceptions as a group.", aexit)
        .noargs(c"_abort", c"_abort($self, /)\n--\n\nCancel the tasks that still run.", |slf, py| slf.group.abort(py))
        .getter(c"_tasks", c"The set of tasks that still run.", |slf, py| slf.group.tasks(py))
        .getter(c"_parent_task", c"The task that has entered the group, until it has left it.", |slf, _py| Ok(slf.group.parent()));
}

/// Builds the class, in front of asyncio's, and adds it to the module.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let core = ClassBuilder::<TaskGroup>::new(c"The native part of sabio.TaskGroup.")
        .members(define)
        .constructor(|_class, _args, _kwargs| {
            Ok(TaskGroup {
                group: Rc::new(Group::default()),
            })
        })
        .initializer(|_slf, args, kwargs| {
            if !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty()) {
                return Err(PyTypeError::new_err("TaskGroup() takes no arguments"));
            }
            Ok(())
        })
        .repr(repr)
        .build(py, &Base::Object)?;
    let base = py.import("asyncio.taskgroups")?.getattr("TaskGroup")?;
    let doc = "TaskGroup()\n--\n\nTasks that end before the block does (asyncio: Task Groups); subclass of asyncio.TaskGroup.";
    module.add("TaskGroup", public_class(py, "TaskGroup", &[&core, &base], doc)?)
}
