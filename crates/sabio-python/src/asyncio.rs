//! What this package takes from the interpreter's `asyncio`: its exceptions, abstract classes, registry of tasks and
//! the `_asyncio` types under ours. Looked up once, when the module is initialised.

use std::cell::Cell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

#[cfg(Py_3_14)]
use crate::ffi::running::{self, Exchanged};
use crate::ffi::{BaseClass, Global, NativeFunction, Obj, Outcome};

/// The interpreter's asyncio.
pub(crate) struct Asyncio {
    pub(crate) cancelled_error: Obj,
    pub(crate) sendfile_not_available_error: Obj,
    /// `asyncio.events.Handle`, `TimerHandle` and what `call_soon_threadsafe` gives on this version.
    pub(crate) handle: Obj,
    pub(crate) timer_handle: Obj,
    pub(crate) thread_safe_handle: Obj,
    /// The `__dict__` of `asyncio.tasks`, to see whether `Task` was replaced, and its `Task` at import.
    pub(crate) tasks_dict: Obj,
    pub(crate) original_task: Obj,
    pub(crate) futures_dict: Obj,
    pub(crate) original_future: Obj,
    /// `asyncio.events`, `asyncio.futures` and `asyncio.tasks`.
    pub(crate) events: Obj,
    pub(crate) futures: Obj,
    pub(crate) tasks: Obj,
    /// `concurrent.futures.Future`.
    pub(crate) concurrent_future: Obj,
    pub(crate) coroutines: Obj,
    pub(crate) format_helpers: Obj,
    pub(crate) logger: Obj,
    pub(crate) get_running_loop: Obj,
    /// `_get_running_loop`, which gives None where none runs.
    pub(crate) get_running_loop_or_none: Obj,
    pub(crate) eager_task_factory: Option<Obj>,
    /// Whether task factories get the task's name, or whoever asked them names the task afterwards: the older patch
    /// releases of 3.13 and all of 3.11 and 3.12 do the latter.
    pub(crate) factories_name_tasks: bool,
    pub(crate) future: FutureBase,
    pub(crate) task: TaskBase,
    pub(crate) registry: TaskRegistry,
    /// The type of the callbacks that `_asyncio.Task` schedules for its steps, once one was seen.
    step_of_base: Cell<*const ()>,
}

/// `_asyncio.Future`: the initialiser and the methods that ours call.
pub(crate) struct FutureBase {
    pub(crate) class: BaseClass,
    pub(crate) set_result: NativeFunction,
    pub(crate) set_exception: NativeFunction,
    pub(crate) cancel: NativeFunction,
    pub(crate) cancelled: NativeFunction,
    pub(crate) result: NativeFunction,
    pub(crate) exception: NativeFunction,
    pub(crate) add_done_callback: NativeFunction,
    pub(crate) iter: NativeFunction,
    pub(crate) get_loop: NativeFunction,
    pub(crate) callbacks: NativeFunction,
    pub(crate) blocking: Obj,
    pub(crate) make_cancelled_error: NativeFunction,
    pub(crate) cancel_message: Obj,
}

/// `_asyncio.Task`: the initialiser and the methods that ours call when the task belongs to another loop.
pub(crate) struct TaskBase {
    pub(crate) class: BaseClass,
    pub(crate) cancel: NativeFunction,
    pub(crate) cancelling: NativeFunction,
    pub(crate) uncancel: NativeFunction,
    pub(crate) fut_waiter: NativeFunction,
    pub(crate) must_cancel: NativeFunction,
}

/// The interpreter's record of which task runs and who awaits whom.
pub(crate) struct TaskRegistry {
    current: NativeFunction,
    #[cfg(Py_3_12)]
    swap: NativeFunction,
    #[cfg(not(Py_3_12))]
    enter_task: NativeFunction,
    #[cfg(not(Py_3_12))]
    leave_task: NativeFunction,
    #[cfg(Py_3_14)]
    add_awaiter: NativeFunction,
    #[cfg(Py_3_14)]
    discard_awaiter: NativeFunction,
}

impl TaskRegistry {
    fn new(module: &Bound<'_, PyModule>) -> PyResult<TaskRegistry> {
        let tasks = module.py().import("asyncio.tasks")?;
        #[cfg(Py_3_14)]
        running::find(module)?;
        Ok(TaskRegistry {
            current: NativeFunction::new(&tasks.getattr("current_task")?),
            #[cfg(Py_3_12)]
            swap: NativeFunction::new(&module.getattr("_swap_current_task")?),
            #[cfg(not(Py_3_12))]
            enter_task: NativeFunction::new(&module.getattr("_enter_task")?),
            #[cfg(not(Py_3_12))]
            leave_task: NativeFunction::new(&module.getattr("_leave_task")?),
            #[cfg(Py_3_14)]
            add_awaiter: NativeFunction::new(&module.getattr("future_add_to_awaited_by")?),
            #[cfg(Py_3_14)]
            discard_awaiter: NativeFunction::new(&module.getattr("future_discard_from_awaited_by")?),
        })
    }

    /// What asyncio knows as the task that the loop runs now: None if there is none.
    pub(crate) fn current(&self, py: Python<'_>, event_loop: &Obj) -> PyResult<Obj> {
        Ok(self.current.call(py, [event_loop])?)
    }

    /// Makes `new` the loop's current task (None: no task) and returns the one before. `old` is what the caller
    /// believes to be current. RuntimeError if the loop is not the running one.
    #[inline]
    pub(crate) fn swap(
        &self,
        py: Python<'_>,
        event_loop: &Obj,
        old: Option<&Obj>,
        new: Option<&Obj>,
    ) -> PyResult<Option<Obj>> {
        #[cfg(Py_3_12)]
        {
            let _ = old;
            let none;
            let new = match new {
                Some(new) => new,
                None => {
                    none = Obj::none(py);
                    &none
                }
            };
            let previous = self.swap.call_at_once(py, [event_loop, new])?;
            Ok((!previous.bind(py).is_none()).then_some(previous))
        }
        #[cfg(not(Py_3_12))]
        {
            if let Some(old) = old {
                self.leave_task.call(py, [event_loop, old])?;
            }
            if let Some(new) = new {
                self.enter_task.call(py, [event_loop, new])?;
            }
            Ok(old.cloned())
        }
    }

    /// From the step of `old`, or from none, to the step of `new`. RuntimeError, and nothing is changed, if another task is
    /// current or the loop is not the running one.
    #[inline(always)]
    pub(crate) fn enter(
        &self,
        py: Python<'_>,
        event_loop: &Obj,
        old: Option<&Obj>,
        new: &Obj,
    ) -> Outcome<()> {
        #[cfg(Py_3_14)]
        match running::exchange(py, event_loop, old, Some(new)) {
            Exchanged::Done => return Ok(()),
            Exchanged::Occupied(other) => return Err(occupied(py, new, &other).into()),
            Exchanged::Unknown => {}
        }
        let previous = self.swap(py, event_loop, old, Some(new))?;
        match previous {
            Some(other) if old.is_none_or(|old| !old.bind(py).is(other.bind(py))) => {
                self.swap(py, event_loop, Some(new), Some(&other))?;
                Err(occupied(py, new, &other).into())
            }
            _ => Ok(()),
        }
    }

    /// No task is current any more, if `task` was. RuntimeError if the loop is not the running one.
    #[inline]
    pub(crate) fn leave(&self, py: Python<'_>, event_loop: &Obj, task: &Obj) -> PyResult<()> {
        #[cfg(Py_3_14)]
        match running::exchange(py, event_loop, Some(task), None) {
            Exchanged::Done | Exchanged::Occupied(_) => return Ok(()),
            Exchanged::Unknown => {}
        }
        let previous = self.swap(py, event_loop, Some(task), None)?;
        if let Some(other) = previous
            && !task.bind(py).is(other.bind(py))
        {
            self.swap(py, event_loop, None, Some(&other))?;
        }
        Ok(())
    }

    /// Records that `waiter` awaits `future` (3.14: the call graph); nothing on older versions.
    #[inline]
    pub(crate) fn add_awaiter(&self, py: Python<'_>, future: &Obj, waiter: &Obj) -> PyResult<()> {
        #[cfg(Py_3_14)]
        self.add_awaiter.call(py, [future, waiter])?;
        let _ = (py, future, waiter);
        Ok(())
    }

    /// Takes back what [`TaskRegistry::add_awaiter`] recorded.
    #[inline]
    pub(crate) fn discard_awaiter(&self, py: Python<'_>, future: &Obj, waiter: &Obj) -> PyResult<()> {
        #[cfg(Py_3_14)]
        self.discard_awaiter.call(py, [future, waiter])?;
        let _ = (py, future, waiter);
        Ok(())
    }
}

/// As asyncio says it.
#[cold]
fn occupied(py: Python<'_>, task: &Obj, other: &Obj) -> PyErr {
    let text = |task: &Obj| task.bind(py).repr().map(|text| text.to_string());
    match (text(task), text(other)) {
        (Ok(task), Ok(other)) => PyRuntimeError::new_err(format!(
            "Cannot enter into task {task} while another task {other} is being executed."
        )),
        (Err(error), _) | (_, Err(error)) => error,
    }
}

fn method(class: &Bound<'_, PyType>, name: &str) -> PyResult<NativeFunction> {
    Ok(NativeFunction::new(&class.getattr(name)?))
}

fn getter(class: &Bound<'_, PyType>, name: &str) -> PyResult<NativeFunction> {
    // The descriptor's own `__get__`, so that an attribute of the base can be read past the override of a subclass.
    Ok(NativeFunction::new(&class.getattr(name)?.getattr("__get__")?))
}

impl Asyncio {
    fn new(py: Python<'_>) -> PyResult<Asyncio> {
        let asyncio = py.import("asyncio")?;
        let native = py.import("_asyncio")?;
        let events = py.import("asyncio.events")?;
        let tasks = py.import("asyncio.tasks")?;
        let futures = py.import("asyncio.futures")?;
        let future = native.getattr("Future")?.cast_into::<PyType>()?;
        let task = native.getattr("Task")?.cast_into::<PyType>()?;
        let handle = events.getattr("Handle")?;
        Ok(Asyncio {
            cancelled_error: asyncio.getattr("CancelledError")?.into(),
            sendfile_not_available_error: asyncio.getattr("SendfileNotAvailableError")?.into(),
            thread_safe_handle: events
                .getattr("_ThreadSafeHandle")
                .unwrap_or_else(|_| handle.clone())
                .into(),
            handle: handle.into(),
            timer_handle: events.getattr("TimerHandle")?.into(),
            tasks_dict: tasks.dict().into(),
            original_task: Obj::from(&task),
            futures_dict: futures.dict().into(),
            original_future: Obj::from(&future),
            coroutines: py.import("asyncio.coroutines")?.into(),
            format_helpers: py.import("asyncio.format_helpers")?.into(),
            logger: py.import("asyncio.log")?.getattr("logger")?.into(),
            get_running_loop: native.getattr("get_running_loop")?.into(),
            get_running_loop_or_none: native.getattr("_get_running_loop")?.into(),
            eager_task_factory: asyncio.getattr("eager_task_factory").ok().map(Obj::from),
            factories_name_tasks: asyncio
                .getattr("BaseEventLoop")?
                .getattr("create_task")?
                .getattr("__kwdefaults__")?
                .is_none(),
            events: events.into(),
            futures: futures.into(),
            tasks: tasks.into(),
            concurrent_future: py.import("concurrent.futures")?.getattr("Future")?.into(),
            future: FutureBase {
                class: BaseClass::new(&future),
                set_result: method(&future, "set_result")?,
                set_exception: method(&future, "set_exception")?,
                cancel: method(&future, "cancel")?,
                cancelled: method(&future, "cancelled")?,
                result: method(&future, "result")?,
                exception: method(&future, "exception")?,
                add_done_callback: method(&future, "add_done_callback")?,
                iter: method(&future, "__iter__")?,
                get_loop: method(&future, "get_loop")?,
                callbacks: getter(&future, "_callbacks")?,
                blocking: future.getattr("_asyncio_future_blocking")?.into(),
                make_cancelled_error: method(&future, "_make_cancelled_error")?,
                cancel_message: future.getattr("_cancel_message")?.into(),
            },
            task: TaskBase {
                class: BaseClass::new(&task),
                cancel: method(&task, "cancel")?,
                cancelling: method(&task, "cancelling")?,
                uncancel: method(&task, "uncancel")?,
                fut_waiter: getter(&task, "_fut_waiter")?,
                must_cancel: getter(&task, "_must_cancel")?,
            },
            registry: TaskRegistry::new(&native)?,
            step_of_base: Cell::new(std::ptr::null()),
        })
    }
}

impl Asyncio {
    /// Whether `callback` is a step of `_asyncio.Task`. Its type has no name of its own in the module.
    #[inline]
    pub(crate) fn is_step_of_base(&self, callback: &Bound<'_, PyAny>) -> bool {
        let class: *const () = callback.get_type_ptr().cast();
        if std::ptr::eq(class, self.step_of_base.get()) {
            return true;
        }
        let is_step = callback
            .get_type()
            .name()
            .is_ok_and(|name| name == "TaskStepMethWrapper");
        if is_step {
            self.step_of_base.set(class);
        }
        is_step
    }
}

static ASYNCIO: Global<Asyncio> = Global::new();

/// The interpreter's asyncio. SystemError before the module is initialised.
#[inline]
pub(crate) fn asyncio(py: Python<'_>) -> PyResult<&'static Asyncio> {
    ASYNCIO.get(py)
}

/// Looks everything up; called once by the module.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    ASYNCIO.set(py, Asyncio::new(py)?);
    Ok(())
}
