//! `ensure_future`, and how the combinators make futures of what they are given (asyncio: Future Functions).

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::event_loop_of_caller;
use crate::asyncio::asyncio;
use crate::coroutine::Coroutine;
use crate::ffi::{Args, Global, Obj, Ref, Signature, add_function, call_method, is_exact_coroutine};
use crate::future_core::native_core;
use crate::names::names;

/// `asyncio.isfuture()`: asks the class first, so that no attribute of a coroutine or a mock stands in the way.
#[inline]
pub(crate) fn is_future(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if native_core(object).is_some() {
        return Ok(true);
    }
    if is_plain_coroutine(object) {
        return Ok(false);
    }
    let py = object.py();
    let blocking = names(py)?.blocking.text(py);
    Ok(object.get_type().hasattr(blocking)? && !object.getattr(blocking)?.is_none())
}

/// Whether it is a coroutine of the interpreter's or of ours.
#[inline]
pub(super) fn is_plain_coroutine(object: &Bound<'_, PyAny>) -> bool {
    is_exact_coroutine(object) || Ref::<Coroutine>::downcast_exact(object).is_some()
}

/// `asyncio.iscoroutine()`, as it is at this moment: old programs may have widened it.
#[inline]
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if is_plain_coroutine(object) {
        return Ok(true);
    }
    let py = object.py();
    asyncio(py)?
        .coroutines
        .bind(py)
        .call_method1("iscoroutine", (object,))?
        .is_truthy()
}

/// `future.get_loop()`, or `_loop` of older kinds of futures.
pub(super) fn loop_of(future: &Bound<'_, PyAny>) -> PyResult<Obj> {
    if let Some(event_loop) = native_core(future).and_then(|core| core.event_loop()) {
        return Ok(event_loop.as_obj().clone());
    }
    let py = future.py();
    match future.getattr_opt(names(py)?.get_loop.text(py))? {
        Some(get_loop) => Ok(get_loop.call0()?.into()),
        None => Ok(future.getattr("_loop")?.into()),
    }
}

/// `ensure_future(argument, loop=event_loop)`: the argument itself if it is a future, otherwise a task for it.
///
/// # Errors
/// ValueError if the future belongs to another loop, TypeError if the argument can not be awaited.
pub(super) fn ensure(argument: &Bound<'_, PyAny>, event_loop: Option<&Obj>) -> PyResult<Obj> {
    if is_future(argument)? {
        if let Some(event_loop) = event_loop
            && loop_of(argument)?.as_ptr() != event_loop.as_ptr()
        {
            return Err(PyValueError::new_err(
                "The future belongs to a different loop than the one specified as the loop argument",
            ));
        }
        return Ok(Obj::from(argument));
    }
    let py = argument.py();
    let (coroutine, is_given) = if is_coroutine(argument)? {
        (Obj::from(argument), true)
    } else if is_awaitable(argument)? {
        (wrap(argument)?, false)
    } else {
        return Err(PyTypeError::new_err(
            "An asyncio.Future, a coroutine or an awaitable is required",
        ));
    };
    let found;
    let event_loop = match event_loop {
        Some(event_loop) => event_loop,
        None => {
            found = event_loop_of_caller(py)?;
            &found
        }
    };
    match call_method(py, event_loop, &names(py)?.create_task, &[&coroutine]) {
        Ok(task) => Ok(task),
        Err(raised) => {
            let error = PyErr::from(raised);
            // The loop is closed: nobody else could still await what was given, or what was made of it.
            if error.is_instance_of::<PyRuntimeError>(py) && is_given {
                coroutine.bind(py).call_method0("close")?;
            }
            Err(error)
        }
    }
}

/// `inspect.isawaitable()`.
pub(super) fn is_awaitable(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if native_core(object).is_some() || is_plain_coroutine(object) {
        return Ok(true);
    }
    object
        .py()
        .import("inspect")?
        .call_method1("isawaitable", (object,))?
        .is_truthy()
}

/// A coroutine that awaits an object which is none itself. Of Python's own kind, so that the stack of its task leads on
/// to whatever the object awaits.
fn wrap(awaitable: &Bound<'_, PyAny>) -> PyResult<Obj> {
    let py = awaitable.py();
    Ok(WRAP_AWAITABLE.get(py)?.bind(py).call1((awaitable,))?.into())
}

static WRAP_AWAITABLE: Global<Obj> = Global::new();

/// `async def` has no counterpart in Rust that the interpreter would take for one.
fn make_wrapper(py: Python<'_>) -> PyResult<Obj> {
    let namespace = PyDict::new(py);
    namespace.set_item("__name__", "sabio")?;
    py.run(
        c"async def _wrap_awaitable(awaitable):\n    return await awaitable\n",
        Some(&namespace),
        None,
    )?;
    match namespace.get_item("_wrap_awaitable")? {
        Some(wrapper) => Ok(wrapper.into()),
        None => Err(PyRuntimeError::new_err("cannot define a coroutine function")),
    }
}

/// `ensure_future(coro_or_future, *, loop=None)`.
fn ensure_future(args: Args<'_, '_>) -> PyResult<Obj> {
    let [argument, event_loop] = args.parse(&Signature {
        function: "ensure_future",
        parameters: ["coro_or_future", "loop"],
        required: 1,
        positional: 1,
    })?;
    let Some(argument) = argument else {
        return Err(PyTypeError::new_err(
            "ensure_future() missing 1 required positional argument: 'coro_or_future'",
        ));
    };
    let event_loop = event_loop
        .filter(|event_loop| !event_loop.is_none())
        .map(Obj::from);
    ensure(argument, event_loop.as_ref())
}

/// Adds the function to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    WRAP_AWAITABLE.set(py, make_wrapper(py)?);
    add_function(
        module,
        c"ensure_future",
        c"ensure_future(coro_or_future, *, loop=None)\n--\n\nThe future itself, or a task for a coroutine or another awaitable.",
        ensure_future,
    )
}
