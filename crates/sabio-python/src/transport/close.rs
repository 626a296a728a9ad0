//! The one way in which a transport ends: `closing` first, then what is queued is sent (or dropped), then
//! `connection_lost`, then the descriptor is closed and the server told.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::shared::{Transport, is_inherited};
use crate::asyncio::asyncio;
use crate::event_loop::{Loop, Ready, errors};
use crate::ffi::{BaseKind, MethodTable, Obj, Ref, base_kind};
use crate::handle::call_in_context;
use crate::names::names;

/// Stops reading, sends what is queued and then loses the connection (asyncio: `BaseTransport.close`).
///
/// # Errors
/// RuntimeError when the loop is closed.
pub(crate) fn close<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if is_inherited(&slf.shared().event_loop) {
        return force_close(slf, py, None);
    }
    if slf.shared().closing.replace(true) {
        return Ok(());
    }
    let flushed = T::flush_now(slf, py);
    T::update_interest(slf, py)?;
    if slf.queued() == 0 && !slf.shared().is_lost() {
        lose(slf, None)?;
    }
    flushed
}

/// Drops what is queued and loses the connection, because of `exception` or because somebody wants it so.
///
/// # Errors
/// RuntimeError when the loop is closed.
pub(super) fn force_close<T: Transport>(
    slf: &Ref<T>,
    py: Python<'_>,
    exception: Option<Obj>,
) -> PyResult<()> {
    if slf.shared().is_lost() {
        return Ok(());
    }
    slf.drop_queue();
    slf.shared().closing.set(true);
    T::update_interest(slf, py)?;
    lose(slf, exception)
}

/// `BaseTransport.abort`: what could not be sent yet is dropped.
pub(crate) fn abort<T: Transport>(slf: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    if !is_inherited(&slf.shared().event_loop) {
        // What this very callback wrote before had been sent by now if it were not corked.
        T::flush_now(slf, py)?;
    }
    force_close(slf, py, None)
}

/// Calls `connection_lost` in the loop's next turn.
fn lose<T: Transport>(slf: &Ref<T>, exception: Option<Obj>) -> PyResult<()> {
    slf.shared().conn_lost.set(1);
    let Some(event_loop) = slf.shared().event_loop.get() else {
        return Ok(());
    };
    if event_loop.is_closed() {
        return Err(PyRuntimeError::new_err("Event loop is closed"));
    }
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, event_loop| {
        connection_lost(&transport, py, event_loop, exception)
    }));
    Ok(())
}

/// The connection cannot go on. SystemExit and KeyboardInterrupt are given back at once, errors of the connection are
/// only logged in debug mode, and everything else goes to the exception handler; then the connection is lost.
#[cold]
pub(super) fn fatal_error<T: Transport>(
    slf: &Ref<T>,
    py: Python<'_>,
    error: PyErr,
    message: &str,
) -> PyResult<()> {
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    let Some(event_loop) = slf.shared().event_loop.get() else {
        return Ok(());
    };
    let told = if T::is_expected(py, &error) {
        if event_loop.debug() {
            log(slf, py, &error, message)
        } else {
            Ok(())
        }
    } else {
        let protocol = slf.shared().protocol.get().unwrap_or_else(|| Obj::none(py));
        let keys = [("transport", slf.as_obj()), ("protocol", &protocol)];
        errors::report_error(py, &event_loop, message, &error, &keys)
    };
    // What was written before the error had been sent by now if it were not corked.
    let flushed = T::flush_now(slf, py);
    let exception = Obj::from(error.into_value(py).into_bound(py));
    told.and(flushed).and(force_close(slf, py, Some(exception)))
}

fn log<T: Transport>(slf: &Ref<T>, py: Python<'_>, error: &PyErr, message: &str) -> PyResult<()> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("exc_info", error.value(py))?;
    asyncio(py)?
        .logger
        .bind(py)
        .call_method("debug", ("%r: %s", slf.bind(py), message), Some(&kwargs))?;
    Ok(())
}

/// Tells the protocol, closes the descriptor and lets go of everything. SystemExit and KeyboardInterrupt of the protocol
/// come back as errors.
pub(super) fn connection_lost<T: Transport>(
    slf: &Ref<T>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    exception: Option<Obj>,
) -> PyResult<()> {
    let told = match slf.shared().protocol.get() {
        Some(protocol) => {
            let args = [exception.unwrap_or_else(|| Obj::none(py))];
            match protocol.bind(py).getattr(names(py)?.connection_lost.text(py)) {
                Ok(method) => {
                    let method = Obj::from(method);
                    call_in_context(py, &slf.shared().context, &method, &args)
                        .map(|_| ())
                        .or_else(|error| errors::call_failed(py, event_loop, &method, &args, error))
                }
                Err(error) => errors::call_failed(py, event_loop, &protocol, &args, error),
            }
        }
        None => Ok(()),
    };
    event_loop.expect_events();
    let closed = slf.shared().descriptor.close(py, Some(event_loop));
    slf.shared().protocol.set(None);
    let ended = slf.ended(py);
    slf.shared().event_loop.set(None);
    told.and(closed).and(ended)
}

pub(super) fn define<T: Transport>(table: &mut MethodTable<T>) {
    table
        .fast_noargs(
            c"close",
            c"close($self, /)\n--\n\nClose the connection once everything is sent.",
            close,
        )
        .fast_noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nWhether the transport is closing or closed.",
            |slf, _py| Ok(slf.shared().closing.get()),
        )
        .fast_onearg(
            c"_force_close",
            c"_force_close($self, exc, /)\n--\n\nLose the connection because of an exception (or None).",
            |slf, exception| {
                force_close(
                    slf,
                    exception.py(),
                    (!exception.is_none()).then(|| Obj::from(exception)),
                )
            },
        )
        .getter(
            c"_closing",
            c"Whether the transport is closing or closed.",
            |slf, _py| Ok(slf.shared().closing.get()),
        )
        .getter(
            c"_conn_lost",
            c"Not 0 once connection_lost() is certain to come; counts the writes since.",
            |slf, _py| Ok(slf.shared().conn_lost.get() as usize),
        );
}

/// What only those have that send.
pub(super) fn define_abort<T: Transport>(table: &mut MethodTable<T>) {
    table.fast_noargs(
        c"abort",
        c"abort($self, /)\n--\n\nClose the connection without sending what could not be sent yet.",
        abort,
    );
}
