//! What this package takes from the interpreter's `asyncio`: its exceptions, abstract classes, registry of tasks and
//! the `_asyncio` types under ours. Looked up once, when the module is initialised.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::ffi::{BaseClass, BaseMethod, Global, Obj, call_refs};

/// The interpreter's asyncio.
pub(crate) struct Asyncio {
    pub(crate) cancelled_error: Obj,
    pub(crate) invalid_state_error: Obj,
    pub(crate) timeout_error: Obj,
    /// `asyncio.events.Handle`, `TimerHandle` and what `call_soon_threadsafe` gives on this version.
    pub(crate) handle: Obj,
    pub(crate) timer_handle: Obj,
    pub(crate) thread_safe_handle: Obj,
    /// The `__dict__` of `asyncio.tasks`, to see whether `Task` was replaced, and its `Task` at import.
    pub(crate) tasks_dict: Obj,
    pub(crate) original_task: Obj,
    pub(crate) futures_dict: Obj,
    pub(crate) original_future: Obj,
    pub(crate) events: Obj,
    pub(crate) coroutines: Obj,
    pub(crate) format_helpers: Obj,
    pub(crate) logger: Obj,
    pub(crate) eager_task_factory: Option<Obj>,
    pub(crate) future: FutureBase,
    pub(crate) task: TaskBase,
    pub(crate) registry: TaskRegistry,
}

/// `_asyncio.Future`: the initialiser and the methods that ours call.
pub(crate) struct FutureBase {
    pub(crate) class: BaseClass,
    pub(crate) set_result: BaseMethod,
    pub(crate) set_exception: BaseMethod,
    pub(crate) cancel: BaseMethod,
    pub(crate) result: BaseMethod,
    pub(crate) exception: BaseMethod,
    pub(crate) add_done_callback: BaseMethod,
    pub(crate) iter: BaseMethod,
    pub(crate) get_loop: BaseMethod,
    pub(crate) callbacks: BaseMethod,
    pub(crate) blocking: Obj,
    pub(crate) make_cancelled_error: BaseMethod,
    pub(crate) cancel_message: Obj,
}

/// `_asyncio.Task`: the initialiser and the methods that ours call when the task belongs to another loop.
pub(crate) struct TaskBase {
    pub(crate) class: BaseClass,
    pub(crate) cancel: BaseMethod,
    pub(crate) cancelling: BaseMethod,
    pub(crate) uncancel: BaseMethod,
    pub(crate) fut_waiter: BaseMethod,
    pub(crate) must_cancel: BaseMethod,
}

/// The interpreter's record of which task runs and who awaits whom.
pub(crate) struct TaskRegistry {
    #[cfg(Py_3_12)]
    swap: Obj,
    #[cfg(not(Py_3_12))]
    enter: Obj,
    #[cfg(not(Py_3_12))]
    leave: Obj,
    #[cfg(Py_3_14)]
    add_awaiter: Obj,
    #[cfg(Py_3_14)]
    discard_awaiter: Obj,
}

impl TaskRegistry {
    fn new(module: &Bound<'_, PyModule>) -> PyResult<TaskRegistry> {
        Ok(TaskRegistry {
            #[cfg(Py_3_12)]
            swap: module.getattr("_swap_current_task")?.into(),
            #[cfg(not(Py_3_12))]
            enter: module.getattr("_enter_task")?.into(),
            #[cfg(not(Py_3_12))]
            leave: module.getattr("_leave_task")?.into(),
            #[cfg(Py_3_14)]
            add_awaiter: module.getattr("future_add_to_awaited_by")?.into(),
            #[cfg(Py_3_14)]
            discard_awaiter: module.getattr("future_discard_from_awaited_by")?.into(),
        })
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
            let previous = call_refs(py, &self.swap, &[event_loop, new])?;
            Ok((!previous.bind(py).is_none()).then_some(previous))
        }
        #[cfg(not(Py_3_12))]
        {
            if let Some(old) = old {
                call_refs(py, &self.leave, &[event_loop, old])?;
            }
            if let Some(new) = new {
                call_refs(py, &self.enter, &[event_loop, new])?;
            }
            Ok(old.cloned())
        }
    }

    /// Records that `waiter` awaits `future` (3.14: the call graph); nothing on older versions.
    #[inline]
    pub(crate) fn add_awaiter(&self, py: Python<'_>, future: &Obj, waiter: &Obj) -> PyResult<()> {
        #[cfg(Py_3_14)]
        call_refs(py, &self.add_awaiter, &[future, waiter])?;
        let _ = (py, future, waiter);
        Ok(())
    }

    /// Takes back what [`TaskRegistry::add_awaiter`] recorded.
    #[inline]
    pub(crate) fn discard_awaiter(&self, py: Python<'_>, future: &Obj, waiter: &Obj) -> PyResult<()> {
        #[cfg(Py_3_14)]
        call_refs(py, &self.discard_awaiter, &[future, waiter])?;
        let _ = (py, future, waiter);
        Ok(())
    }
}

fn getter(class: &Bound<'_, PyType>, name: &str) -> PyResult<BaseMethod> {
    // The descriptor's own `__get__`, so that an attribute of the base can be read past the override of a subclass.
    BaseMethod::from_object(Obj::from(class.getattr(name)?.getattr("__get__")?))
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
            invalid_state_error: asyncio.getattr("InvalidStateError")?.into(),
            timeout_error: asyncio.getattr("TimeoutError")?.into(),
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
            eager_task_factory: asyncio.getattr("eager_task_factory").ok().map(Obj::from),
            events: events.into(),
            future: FutureBase {
                class: BaseClass::new(&future),
                set_result: BaseMethod::new(&future, "set_result")?,
                set_exception: BaseMethod::new(&future, "set_exception")?,
                cancel: BaseMethod::new(&future, "cancel")?,
                result: BaseMethod::new(&future, "result")?,
                exception: BaseMethod::new(&future, "exception")?,
                add_done_callback: BaseMethod::new(&future, "add_done_callback")?,
                iter: BaseMethod::new(&future, "__iter__")?,
                get_loop: BaseMethod::new(&future, "get_loop")?,
                callbacks: getter(&future, "_callbacks")?,
                blocking: future.getattr("_asyncio_future_blocking")?.into(),
                make_cancelled_error: BaseMethod::new(&future, "_make_cancelled_error")?,
                cancel_message: future.getattr("_cancel_message")?.into(),
            },
            task: TaskBase {
                class: BaseClass::new(&task),
                cancel: BaseMethod::new(&task, "cancel")?,
                cancelling: BaseMethod::new(&task, "cancelling")?,
                uncancel: BaseMethod::new(&task, "uncancel")?,
                fut_waiter: getter(&task, "_fut_waiter")?,
                must_cancel: getter(&task, "_must_cancel")?,
            },
            registry: TaskRegistry::new(&native)?,
        })
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
