//! A server has got a connection: `client_connected_cb(reader, writer)` is called, and watched if it is a coroutine
//! (asyncio: `start_server`).

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::combinators::is_coroutine;
use crate::ffi::{Obj, ObjCell, Ref, Visit, call_args, call_method};
use crate::names::names;
use crate::observer::{Observe, Observer, watch};
use crate::outcome;

const UNHANDLED: &str = "Unhandled exception in client_connected_cb";

/// Calls the callback. What it returns, if that is a coroutine, runs as a task, which is given back.
///
/// # Errors
/// What is no `Exception`; every other exception goes to the loop's exception handler and closes the connection.
pub(super) fn call(
    py: Python<'_>,
    event_loop: &Obj,
    callback: &Obj,
    transport: &Obj,
    streams: [Obj; 2],
) -> PyResult<Option<Obj>> {
    let result = match call_args(py, callback, &streams) {
        Ok(result) => result,
        Err(raised) => {
            let error = PyErr::from(raised);
            if !error.is_instance_of::<PyException>(py) {
                return Err(error);
            }
            report(py, event_loop, transport, error.value(py))?;
            return Ok(None);
        }
    };
    // The streams are the callback's alone from here on.
    drop(streams);
    if !is_coroutine(result.bind(py))? {
        return Ok(None);
    }
    let task = Obj::from(
        event_loop
            .bind(py)
            .call_method1("create_task", (result.bind(py),))?,
    );
    let observer = Observer::create(
        py,
        Handler {
            event_loop: ObjCell::new(Some(event_loop.clone())),
            transport: ObjCell::new(Some(transport.clone())),
        },
    )?;
    watch(py, &task, &observer)?;
    Ok(Some(task))
}

/// Tells of an exception that nobody waits for, and closes the connection.
fn report(py: Python<'_>, event_loop: &Obj, transport: &Obj, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let context = PyDict::new(py);
    context.set_item("message", UNHANDLED)?;
    context.set_item("exception", exception)?;
    context.set_item("transport", transport.bind(py))?;
    let context = Obj::from(&context);
    let names = names(py)?;
    call_method(py, event_loop, &names.call_exception_handler, &[&context])?;
    call_method(py, transport, &names.close, &[])?;
    Ok(())
}

/// Watches the task of a connection: one that fails or is cancelled closes it.
struct Handler {
    event_loop: ObjCell,
    transport: ObjCell,
}

impl Observe for Handler {
    fn done(&self, py: Python<'_>, _slf: &Ref<Observer>, task: &Obj) -> PyResult<()> {
        let (Some(event_loop), Some(transport)) = (self.event_loop.take(), self.transport.take()) else {
            return Ok(());
        };
        if outcome::is_cancelled(py, task)? {
            call_method(py, &transport, &names(py)?.close, &[])?;
            return Ok(());
        }
        match outcome::exception(py, task)? {
            Some(exception) => report(py, &event_loop, &transport, exception.bind(py)),
            None => Ok(()),
        }
    }

    fn visit(&self, visit: &mut Visit<'_>) {
        visit.slot(&self.event_loop);
        visit.slot(&self.transport);
    }

    fn clear(&self) {
        self.event_loop.set(None);
        self.transport.set(None);
    }
}
