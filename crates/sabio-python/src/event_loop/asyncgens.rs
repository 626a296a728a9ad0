//! Asynchronous generators that are not run to their end (PEP 525): found by the interpreter's hooks, closed by the loop.

use pyo3::exceptions::{PyBaseException, PyResourceWarning};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{Loop, errors};
use crate::coroutine::create_with_held;
use crate::ffi::{BoundFunction, FunctionDef, FunctionDefinition, MethodTable, Obj, Ref};
use crate::interpreter::interpreter;

/// The hook for a generator that is iterated for the first time.
struct FirstIteration;

static FIRST_ITERATION: FunctionDefinition = FunctionDefinition::new::<FirstIteration>();

impl FunctionDef for FirstIteration {
    const NAME: &'static std::ffi::CStr = c"_asyncgen_firstiter_hook";

    fn definition() -> &'static FunctionDefinition {
        &FIRST_ITERATION
    }

    fn call(py: Python<'_>, slf: &Obj, generator: &Obj) -> PyResult<Obj> {
        let Some(event_loop) = Ref::<Loop>::downcast(slf.bind(py)) else {
            return Ok(Obj::none(py));
        };
        if event_loop.asyncgens_shutdown.get() {
            let message = format!(
                "asynchronous generator {} was scheduled after loop.shutdown_asyncgens() call",
                generator.bind(py).repr()?
            );
            interpreter(py)?.warn(&message, &py.get_type::<PyResourceWarning>(), slf.bind(py))?;
        }
        if let Some(generators) = event_loop.asyncgens.get() {
            generators.bind(py).call_method1("add", (generator.bind(py),))?;
        }
        Ok(Obj::none(py))
    }
}

/// The hook for a generator that is about to be collected before its end.
struct Finalisation;

static FINALISATION: FunctionDefinition = FunctionDefinition::new::<Finalisation>();

impl FunctionDef for Finalisation {
    const NAME: &'static std::ffi::CStr = c"_asyncgen_finalizer_hook";

    fn definition() -> &'static FunctionDefinition {
        &FINALISATION
    }

    fn call(py: Python<'_>, slf: &Obj, generator: &Obj) -> PyResult<Obj> {
        let Some(event_loop) = Ref::<Loop>::downcast(slf.bind(py)) else {
            return Ok(Obj::none(py));
        };
        if let Some(generators) = event_loop.asyncgens.get() {
            generators
                .bind(py)
                .call_method1("discard", (generator.bind(py),))?;
        }
        if !event_loop.is_closed() {
            // The collector may run on any thread.
            let create_task = slf.bind(py).getattr("create_task")?;
            let closing = generator.bind(py).call_method0("aclose")?;
            slf.bind(py)
                .call_method1("call_soon_threadsafe", (create_task, closing))?;
        }
        Ok(Obj::none(py))
    }
}

/// Sets this loop's hooks and gives back those before.
pub(super) fn install_hooks(py: Python<'_>, slf: &Ref<Loop>) -> PyResult<Obj> {
    let interpreter = interpreter(py)?;
    let before = interpreter.get_asyncgen_hooks.bind(py).call0()?;
    let kwargs = PyDict::new(py);
    kwargs.set_item(
        "firstiter",
        BoundFunction::<FirstIteration>::create(py, slf.as_obj())?.bind(py),
    )?;
    kwargs.set_item(
        "finalizer",
        BoundFunction::<Finalisation>::create(py, slf.as_obj())?.bind(py),
    )?;
    interpreter.set_asyncgen_hooks.bind(py).call((), Some(&kwargs))?;
    Ok(before.into())
}

/// Sets the hooks that were there before.
pub(super) fn restore_hooks(py: Python<'_>, before: Obj) -> PyResult<()> {
    let before = before.into_bound(py).cast_into::<PyTuple>()?;
    interpreter(py)?.set_asyncgen_hooks.bind(py).call1(before)?;
    Ok(())
}

fn shutdown_asyncgens(slf: &Ref<Loop>, py: Python<'_>) -> PyResult<Obj> {
    create_with_held(
        py,
        "Loop.shutdown_asyncgens",
        slf,
        move |slf, awaiter| async move {
            slf.asyncgens_shutdown.set(true);
            let Some((generators, closing)) = Python::attach(|py| close_all(py, &slf))? else {
                return Ok(Python::attach(Obj::none));
            };
            let results = awaiter.wait(closing).await?;
            Python::attach(|py| {
                for (result, generator) in results.bind(py).try_iter()?.zip(generators.bind(py).try_iter()?) {
                    let (result, generator) = (result?, generator?);
                    if result.is_instance_of::<PyBaseException>() {
                        let message = format!(
                            "an error occurred during closing of asynchronous generator {}",
                            generator.repr()?
                        );
                        let error = PyErr::from_value(result);
                        errors::report_error(
                            py,
                            &slf,
                            &message,
                            &error,
                            &[("asyncgen", &Obj::from(generator))],
                        )?;
                    }
                }
                Ok(Obj::none(py))
            })
        },
    )
}

/// The generators that are alive, and an awaitable that closes them all.
fn close_all(py: Python<'_>, slf: &Ref<Loop>) -> PyResult<Option<(Obj, Obj)>> {
    let Some(set) = slf.asyncgens.get() else {
        return Ok(None);
    };
    let generators = py.import("builtins")?.getattr("list")?.call1((set.bind(py),))?;
    if generators.is_empty()? {
        return Ok(None);
    }
    set.bind(py).call_method0("clear")?;
    let mut closing = Vec::new();
    for generator in generators.try_iter()? {
        closing.push(generator?.call_method0("aclose")?);
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("return_exceptions", true)?;
    let gathered = py
        .import("asyncio.tasks")?
        .getattr("gather")?
        .call(PyTuple::new(py, closing)?, Some(&kwargs))?;
    Ok(Some((generators.into(), gathered.into())))
}

pub(super) fn define(table: &mut MethodTable<Loop>) {
    table
        .noargs(
            c"shutdown_asyncgens",
            c"shutdown_asyncgens($self, /)\n--\n\nClose all asynchronous generators that are still alive. A coroutine.",
            shutdown_asyncgens,
        )
        .getter(c"_asyncgens", c"The asynchronous generators that are alive.", |slf, _py| Ok(slf.asyncgens.get()));
}
