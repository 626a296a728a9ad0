//! Work on other threads (asyncio: Executing code in thread or process pools): `run_in_executor`, the default executor
//! and its end. How results come back is `wrap_future`'s part.

use std::sync::Mutex;

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};
use sabio_reactor::{Nanos, remote};
use sabio_sync::{Either, oneshot, race};

use super::wrap_future::wrap_future;
use super::{Loop, debug};
use crate::coroutine::create_with_held;
use crate::ffi::{Args, MethodTable, Obj, Ref, Signature};
use crate::held::Held;
use crate::names::names;

fn run_in_executor(slf: &Ref<Loop>, args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    slf.check_closed()?;
    let (executor, function) = args.leading_pair("run_in_executor", ["executor", "func"])?;
    if slf.debug() {
        debug::check_callback(py, function, "run_in_executor")?;
    }
    let executor = if executor.is_none() {
        default_executor(slf, py)?
    } else {
        Obj::from(executor)
    };
    let mut call = vec![Obj::from(function)];
    call.extend(args.positional_from(2).map(Obj::from));
    let call = pyo3::types::PyTuple::new(py, call.iter().map(|arg| arg.bind(py)))?;
    let submitted = executor.bind(py).call_method1(names(py)?.submit.text(py), call)?;
    wrap_future(py, slf, &submitted)
}

/// The default executor; made when it is first asked for. RuntimeError once it was shut down.
fn default_executor(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Obj> {
    if slf.executor_shutdown.get() {
        return Err(PyRuntimeError::new_err("Executor shutdown has been called"));
    }
    if let Some(executor) = slf.default_executor.get() {
        return Ok(executor);
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("thread_name_prefix", "asyncio")?;
    let executor = thread_pool_class(py)?.call((), Some(&kwargs))?;
    slf.default_executor.set(Some(Obj::from(&executor)));
    Ok(executor.into())
}

fn thread_pool_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("concurrent.futures")?.getattr("ThreadPoolExecutor")
}

fn set_default_executor(slf: &Ref<Loop>, executor: &Bound<'_, PyAny>) -> PyResult<()> {
    if !executor.is_instance(&thread_pool_class(executor.py())?)? {
        return Err(PyTypeError::new_err(
            "executor must be ThreadPoolExecutor instance",
        ));
    }
    slf.default_executor.set(Some(Obj::from(executor)));
    Ok(())
}

fn shut_down(py: Python<'_>, executor: &Bound<'_, PyAny>, wait: bool) -> PyResult<()> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("wait", wait)?;
    executor.call_method("shutdown", (), Some(&kwargs)).map(|_| ())
}

/// Starts a thread that waits for the executor's threads to end: the thread, and how it went.
fn start_shutdown(py: Python<'_>, executor: &Obj) -> PyResult<(Obj, oneshot::Receiver<PyResult<()>>)> {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let waited_for = executor.bind(py).clone().unbind();
    let body = PyCFunction::new_closure(py, None, None, move |args, _kwargs| {
        let result = shut_down(args.py(), waited_for.bind(args.py()), true);
        let sender = sender.lock().map(|mut sender| sender.take());
        if let Ok(Some(sender)) = sender {
            sender.send(result);
        }
    })?;
    let kwargs = PyDict::new(py);
    kwargs.set_item("target", body)?;
    let thread = py
        .import("threading")?
        .getattr("Thread")?
        .call((), Some(&kwargs))?;
    thread.call_method0("start")?;
    Ok((thread.into(), receiver))
}

async fn shutdown_default_executor(slf: Held<Ref<Loop>>, timeout: Option<Obj>) -> PyResult<Obj> {
    slf.executor_shutdown.set(true);
    let Some(executor) = slf.default_executor.get() else {
        return Ok(Python::attach(Obj::none));
    };
    slf.check_awaited_here()?;
    let (thread, seconds, receiver) = Python::attach(|py| {
        let seconds: Option<f64> = timeout
            .as_ref()
            .map(|timeout| timeout.bind(py).extract())
            .transpose()?;
        let (thread, receiver) = start_shutdown(py, &executor)?;
        PyResult::Ok((thread, seconds, receiver))
    })?;
    let ended = remote(slf.remote().clone(), receiver);
    let ended = match seconds {
        None => Either::First(ended.await),
        Some(seconds) => {
            let now = Python::attach(|py| Loop::time(&slf, py))?;
            let deadline = Nanos::at_or_after(now + seconds);
            race(ended, slf.reactor().sleep_until(deadline)).await
        }
    };
    Python::attach(|py| {
        match ended {
            Either::First(Ok(result)) => {
                result?;
                thread.bind(py).call_method0("join")?;
            }
            // The thread can not end without a word.
            Either::First(Err(oneshot::Closed)) => {}
            Either::Second(()) => {
                let warned = timeout.map_or(Ok(()), |timeout| warn_of_threads(py, &timeout));
                shut_down(py, executor.bind(py), false)?;
                warned?;
            }
        }
        Ok(Obj::none(py))
    })
}

fn warn_of_threads(py: Python<'_>, timeout: &Obj) -> PyResult<()> {
    let seconds = timeout.bind(py).str()?;
    let message = format!("The executor did not finishing joining its threads within {seconds} seconds.");
    let message = std::ffi::CString::new(message)?;
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 2)
}

/// The loop is being closed: nobody waits for the default executor.
pub(super) fn close(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<()> {
    slf.executor_shutdown.set(true);
    match slf.default_executor.take() {
        Some(executor) => shut_down(py, executor.bind(py), false),
        None => Ok(()),
    }
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"run_in_executor",
            c"run_in_executor($self, executor, func, *args)\n--\n\nCall func(*args) in an executor (None: the default one); gives a future.",
            run_in_executor,
        )
        .method(
            c"set_default_executor",
            c"set_default_executor($self, executor)\n--\n\nSet the default executor. TypeError unless it is a ThreadPoolExecutor.",
            |slf, args| set_default_executor(slf, args.single("set_default_executor", "executor")?),
        )
        .method(
            c"shutdown_default_executor",
            c"shutdown_default_executor($self, timeout=None)\n--\n\nWait until the threads of the default executor have ended, for at most timeout seconds. A coroutine.",
            |slf, args| {
                let [timeout] = args.parse(&Signature {
                    function: "shutdown_default_executor",
                    parameters: ["timeout"],
                    required: 0,
                    positional: 1,
                })?;
                let timeout = timeout.filter(|timeout| !timeout.is_none()).map(Obj::from);
                create_with_held(args.py(), "Loop.shutdown_default_executor", slf, |slf, _| shutdown_default_executor(slf, timeout))
            },
        )
        .attribute(
            c"_default_executor",
            c"The default executor, or None.",
            |slf, _py| Ok(slf.default_executor.get()),
            |slf, value| {
                slf.default_executor.set((!value.is_none()).then(|| Obj::from(value)));
                Ok(())
            },
        )
        .getter(
            c"_executor_shutdown_called",
            c"Whether the default executor was shut down.",
            |slf, _py| Ok(slf.executor_shutdown.get()),
        );
}
