//! Exceptions that nobody waits for (asyncio: Error Handling API).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::Loop;
use crate::asyncio::asyncio;
use crate::ffi::{BaseKind, MethodTable, Obj, Ref, base_kind, call_method};
use crate::handle::Handle;
use crate::interpreter::interpreter;
use crate::names::names;
use crate::task;

/// A call of `callback` in asyncio's words. From 3.13 on they tell the arguments in debug mode only.
fn callback_source(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    callback: &Obj,
    args: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let kwargs = PyDict::new(py);
    if cfg!(Py_3_13) {
        kwargs.set_item("debug", event_loop.debug())?;
    }
    let described = asyncio(py)?.format_helpers.bind(py).call_method(
        "_format_callback_source",
        (callback.bind(py), args),
        Some(&kwargs),
    )?;
    Ok(described.str()?.to_string())
}

/// A callback raised: SystemExit and KeyboardInterrupt are given back, everything else goes to the exception handler.
#[cold]
pub(crate) fn callback_failed(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    handle: &Ref<Handle>,
    callback: &Obj,
    error: PyErr,
) -> PyResult<()> {
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    let args = handle.bind(py).getattr("_args")?;
    let text = match callback_source(py, event_loop, callback, &args) {
        Ok(text) => text,
        Err(_) => callback
            .bind(py)
            .repr()
            .map_or_else(|_| "<unprintable>".to_owned(), |text| text.to_string()),
    };
    let context = PyDict::new(py);
    context.set_item("message", format!("Exception in callback {text}"))?;
    context.set_item("exception", error.value(py))?;
    context.set_item("handle", handle.bind(py))?;
    if let Some(source) = handle.source_traceback() {
        context.set_item("source_traceback", source.bind(py))?;
    }
    report(py, event_loop, &context)
}

/// A call of ours into a user's object raised: as [`callback_failed`], where there is no handle.
#[cold]
pub(crate) fn call_failed(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    callback: &Obj,
    args: &[Obj],
    error: PyErr,
) -> PyResult<()> {
    let args = PyTuple::new(py, args.iter().map(|arg| arg.bind(py)))?;
    let text = callback_source(py, event_loop, callback, args.as_any())
        .unwrap_or_else(|_| "<unprintable>".to_owned());
    exit_or_report(
        py,
        event_loop,
        error,
        &format!("Exception in callback {text}"),
        &[],
    )
}

/// `loop.call_exception_handler(context)`, as a user may have replaced it.
pub(crate) fn report(py: Python<'_>, event_loop: &Ref<Loop>, context: &Bound<'_, PyDict>) -> PyResult<()> {
    let context = Obj::from(context);
    call_method(
        py,
        event_loop.as_obj(),
        &names(py)?.call_exception_handler,
        &[&context],
    )?;
    Ok(())
}

/// Reports an exception with a message and further keys of context, in asyncio's names.
pub(crate) fn report_error(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    message: &str,
    error: &PyErr,
    keys: &[(&str, &Obj)],
) -> PyResult<()> {
    let context = PyDict::new(py);
    context.set_item("message", message)?;
    context.set_item("exception", error.value(py))?;
    for (key, value) in keys {
        context.set_item(key, value.bind(py))?;
    }
    report(py, event_loop, &context)
}

/// SystemExit and KeyboardInterrupt leave the loop; any other exception is reported with this message and context.
pub(crate) fn exit_or_report(
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    error: PyErr,
    message: &str,
    keys: &[(&str, &Obj)],
) -> PyResult<()> {
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    report_error(py, event_loop, message, &error, keys)
}

fn log_error(py: Python<'_>, message: &str, exc_info: &Bound<'_, PyAny>) -> PyResult<()> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("exc_info", exc_info)?;
    asyncio(py)?
        .logger
        .bind(py)
        .call_method("error", (message,), Some(&kwargs))?;
    Ok(())
}

/// The line that stands for one key of the context.
fn context_line(py: Python<'_>, key: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let what = match key {
        "source_traceback" => "Object",
        "handle_traceback" => "Handle",
        _ => return Ok(format!("{key}: {}", value.repr()?)),
    };
    let lines = interpreter(py)?.format_list.bind(py).call1((value,))?;
    let text: String = PyString::new(py, "").call_method1("join", (lines,))?.extract()?;
    Ok(format!(
        "{key}: {what} created at (most recent call last):\n{}",
        text.trim_end()
    ))
}

fn default_exception_handler(slf: &Ref<Loop>, context: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = context.py();
    let context = context.cast::<PyDict>()?;
    let message = match context.get_item("message")? {
        Some(message) if message.is_truthy()? => message.str()?.to_string(),
        _ => "Unhandled exception in event loop".to_owned(),
    };
    let exc_info = match context.get_item("exception")? {
        Some(exception) if !exception.is_none() => {
            let traceback = exception.getattr("__traceback__")?;
            (exception.get_type(), &exception, traceback)
                .into_pyobject(py)?
                .into_any()
        }
        _ => false.into_pyobject(py)?.to_owned().into_any(),
    };
    // A step of a task has no handle: where the task was made is what there is to tell.
    let task = || {
        task::current(py)
            .filter(|_| slf.debug())
            .map(|task| task.into_obj())
    };
    let current = || slf.current_handle.get().or_else(task);
    if !context.contains("source_traceback")?
        && let Some(current) = current()
    {
        let traceback = current.bind(py).getattr("_source_traceback")?;
        if traceback.is_truthy()? {
            context.set_item("handle_traceback", traceback)?;
        }
    }
    let mut keys: Vec<String> = context
        .keys()
        .iter()
        .map(|key| key.extract())
        .collect::<PyResult<_>>()?;
    keys.sort_unstable();
    let mut lines = vec![message];
    for key in keys.iter().filter(|key| *key != "message" && *key != "exception") {
        if let Some(value) = context.get_item(key)? {
            lines.push(context_line(py, key, &value)?);
        }
    }
    log_error(py, &lines.join("\n"), &exc_info)
}

/// Runs `body`; exceptions other than SystemExit and KeyboardInterrupt are logged with this message.
fn or_log(py: Python<'_>, message: &str, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    let Err(error) = body() else { return Ok(()) };
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    let info = (error.get_type(py), error.value(py), error.traceback(py))
        .into_pyobject(py)?
        .into_any();
    log_error(py, message, &info)
}

/// The context in which the custom handler runs: that of the task, future or handle that failed.
fn context_to_run_in<'py>(context: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    for key in ["task", "future", "handle"] {
        let thing = context.call_method1("get", (key,))?;
        if thing.is_none() {
            continue;
        }
        return match thing.getattr_opt("get_context")? {
            // What is no context the handler hears of as the error that it is, not as one of its own.
            Some(get_context) => {
                let found = get_context.call0()?;
                Ok(found.hasattr("run")?.then_some(found))
            }
            None => Ok(None),
        };
    }
    Ok(None)
}

fn call_exception_handler(slf: &Ref<Loop>, context: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = context.py();
    let default = |context: &Bound<'_, PyAny>| {
        slf.bind(py)
            .call_method1("default_exception_handler", (context,))
            .map(|_| ())
    };
    let Some(handler) = slf.exception_handler.get() else {
        return or_log(py, "Exception in default exception handler", || default(context));
    };
    let called = context_to_run_in(context).and_then(|run_in| match run_in {
        Some(run_in) => run_in.call_method1("run", (handler.bind(py), slf.bind(py), context)),
        None => handler.bind(py).call1((slf.bind(py), context)),
    });
    let Err(error) = called else { return Ok(()) };
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    let message = "Exception in default exception handler while handling an unexpected error in custom exception handler";
    or_log(py, message, || {
        let nested = PyDict::new(py);
        nested.set_item("message", "Unhandled error in exception handler")?;
        nested.set_item("exception", error.value(py))?;
        nested.set_item("context", context)?;
        default(&nested)
    })
}

fn set_exception_handler(slf: &Ref<Loop>, handler: &Bound<'_, PyAny>) -> PyResult<()> {
    if !handler.is_none() && !handler.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "A callable object or None is expected, got {}",
            handler.repr()?
        )));
    }
    slf.exception_handler
        .set((!handler.is_none()).then(|| Obj::from(handler)));
    Ok(())
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .method(
            c"call_exception_handler",
            c"call_exception_handler($self, context)\n--\n\nCall the exception handler with a dict that says what happened.",
            |slf, args| call_exception_handler(slf, args.single("call_exception_handler", "context")?),
        )
        .method(
            c"default_exception_handler",
            c"default_exception_handler($self, context)\n--\n\nLog what happened as an error on the logger 'asyncio'.",
            |slf, args| default_exception_handler(slf, args.single("default_exception_handler", "context")?),
        )
        .method(
            c"set_exception_handler",
            c"set_exception_handler($self, handler)\n--\n\nSet the callable (loop, context) for exceptions that nobody waits for, or None.",
            |slf, args| set_exception_handler(slf, args.single("set_exception_handler", "handler")?),
        )
        .noargs(c"get_exception_handler", c"get_exception_handler($self, /)\n--\n\nThe exception handler, or None.", |slf, _py| {
            Ok(slf.exception_handler.get())
        })
        .getter(c"_current_handle", c"The handle that runs (debug mode), or None.", |slf, _py| Ok(slf.current_handle.get()));
}
