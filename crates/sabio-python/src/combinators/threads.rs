//! `to_thread` and `run_coroutine_threadsafe` (asyncio: Running in Threads, Scheduling From Other Threads).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::chain::chain;
use super::ensure::{ensure, is_coroutine};
use crate::asyncio::asyncio;
use crate::coroutine::create_with;
use crate::ffi::{
    Args, BaseKind, BoundFunction, FunctionDef, FunctionDefinition, Obj, Signature, add_function, base_kind,
    context_copy_current,
};
use crate::running_loop::running_loop;

/// `to_thread(func, /, *args, **kwargs)`: nothing is done before it is awaited.
fn to_thread(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    if args.len() == 0 {
        return Err(PyTypeError::new_err(
            "to_thread() missing 1 required positional argument: 'func'",
        ));
    }
    let positional = PyTuple::new(py, args.positional_from(0))?;
    let keywords = PyDict::new(py);
    for (name, value) in args.keywords() {
        keywords.set_item(name, value)?;
    }
    let call = (Obj::from(&positional), Obj::from(&keywords));
    create_with(py, "to_thread", |awaiter| {
        let call = awaiter.hold(call);
        async move {
            let submitted = Python::attach(|py| submit(py, &call.0, &call.1))?;
            // The work has them from here on.
            drop(call);
            awaiter.wait(submitted).await
        }
    })
}

/// Hands the call to the default executor of the running loop, to be made in a copy of the current context.
fn submit(py: Python<'_>, positional: &Obj, keywords: &Obj) -> PyResult<Obj> {
    let event_loop = running_loop(py)?;
    let context = context_copy_current(py)?;
    let run = context.bind(py).getattr("run")?;
    let positional = positional.bind(py).cast::<PyTuple>()?;
    let keywords = keywords.bind(py).cast::<PyDict>()?;
    let call = if keywords.is_empty() {
        // The executor passes arguments on by itself.
        let mut all = vec![py.None().into_bound(py), run];
        all.extend(positional.iter());
        PyTuple::new(py, all)?
    } else {
        let mut all = vec![run];
        all.extend(positional.iter());
        let partial = py
            .import("functools")?
            .getattr("partial")?
            .call(PyTuple::new(py, all)?, Some(keywords))?;
        PyTuple::new(py, [py.None().into_bound(py), partial])?
    };
    Ok(event_loop.bind(py).call_method1("run_in_executor", call)?.into())
}

/// What the loop's thread calls to make a task of a submitted coroutine; bound to the loop.
struct Start;

static START: FunctionDefinition = FunctionDefinition::new::<Start>();

impl FunctionDef for Start {
    const NAME: &'static std::ffi::CStr = c"run_coroutine_threadsafe_callback";

    fn definition() -> &'static FunctionDefinition {
        &START
    }

    fn call(py: Python<'_>, slf: &Obj, submitted: &Obj) -> PyResult<Obj> {
        let (coroutine, future): (Bound<'_, PyAny>, Bound<'_, PyAny>) = submitted.bind(py).extract()?;
        let started = ensure(&coroutine, Some(slf)).and_then(|task| chain(task.bind(py), &future));
        let Err(error) = started else {
            return Ok(Obj::none(py));
        };
        if base_kind(py, &error) == BaseKind::Other
            && future.call_method0("set_running_or_notify_cancel")?.is_truthy()?
        {
            future.call_method1("set_exception", (error.value(py),))?;
        }
        Err(error)
    }
}

/// `run_coroutine_threadsafe(coro, loop)`.
fn run_coroutine_threadsafe(args: Args<'_, '_>) -> PyResult<Obj> {
    let py = args.py();
    let [coroutine, event_loop] = args.parse(&Signature {
        function: "run_coroutine_threadsafe",
        parameters: ["coro", "loop"],
        required: 2,
        positional: 2,
    })?;
    let (Some(coroutine), Some(event_loop)) = (coroutine, event_loop) else {
        return Err(PyTypeError::new_err(
            "run_coroutine_threadsafe() missing required arguments",
        ));
    };
    if !is_coroutine(coroutine)? {
        return Err(PyTypeError::new_err("A coroutine object is required"));
    }
    let future = asyncio(py)?.concurrent_future.bind(py).call0()?;
    let start = BoundFunction::<Start>::create(py, &Obj::from(event_loop))?;
    let submitted = PyTuple::new(py, [coroutine, &future])?;
    event_loop.call_method1("call_soon_threadsafe", (start.bind(py), submitted))?;
    Ok(future.into())
}

/// Adds the functions to the module.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_function(
        module,
        c"to_thread",
        c"to_thread(func, /, *args, **kwargs)\n--\n\nCall func(*args, **kwargs) in a thread, in a copy of the current context. A coroutine.",
        to_thread,
    )?;
    add_function(
        module,
        c"run_coroutine_threadsafe",
        c"run_coroutine_threadsafe(coro, loop)\n--\n\nRun a coroutine on a loop of another thread; gives a concurrent.futures.Future.",
        run_coroutine_threadsafe,
    )
}
