//! The handshake: from the connection below to the moment at which the application's protocol hears of it.

use pyo3::exceptions::PyConnectionResetError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::engine::Progress;
use super::module::ssl_module;
use super::transport::{State, Tls, Told};
use super::{read, shutdown, write};
use crate::asyncio::asyncio;
use crate::event_loop::{self, errors};
use crate::ffi::{Obj, Ref, call_method};
use crate::names::names;

/// The transport below has a connection.
///
/// # Errors
/// Whatever the engine raises that is no error of the connection: see [`go_on`].
pub(super) fn start(slf: &Ref<Tls>, lower: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = lower.py();
    if slf.closed.get() {
        // Nobody waits for it any more.
        return Ok(());
    }
    slf.lower.set(lower);
    if slf.debug() {
        slf.log_debug(py, "%r starts SSL handshake")?;
        slf.began.set(event_loop::time());
    }
    slf.state.set(State::Handshake);
    slf.start_timer(py, &slf.handshake_timeout)?;
    go_on(slf, py)
}

/// Goes on as far as what has come from the peer allows.
///
/// # Errors
/// What the engine raises that is no `ssl.SSLError`, and what the application's protocol raises.
pub(super) fn go_on(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    let Some(engine) = slf.engine() else {
        return Ok(());
    };
    match engine.handshake(py) {
        // A callback of the context may have ended the connection.
        _ if slf.state.get() != State::Handshake => Ok(()),
        Ok(Progress::Blocked) => write::pass_on(slf, py, &engine),
        Ok(Progress::Done) => done(slf, py),
        Err(error) if error.is_instance(py, ssl_module(py)?.ssl_error.bind(py)) => failed(slf, py, error),
        Err(error) => Err(error),
    }
}

/// The peer has ended the connection below.
pub(super) fn at_eof(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    failed(slf, py, PyConnectionResetError::new_err(()))
}

fn failed(slf: &Ref<Tls>, py: Python<'_>, error: PyErr) -> PyResult<()> {
    slf.stop_timer(py)?;
    slf.state.set(State::Unwrapped);
    let message = if error.is_instance(py, ssl_module(py)?.certificate_error.bind(py)) {
        "SSL handshake failed on verifying the certificate"
    } else {
        "SSL handshake failed"
    };
    let reason = Obj::from(error.value(py));
    let told = shutdown::fatal_error(slf, py, error, message);
    told.and(wake_waiter(slf, py, Some(&reason)))
}

fn done(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    slf.stop_timer(py)?;
    slf.state.set(State::Wrapped);
    slf.handshaken.set(true);
    if slf.debug() {
        let milliseconds = (event_loop::time() - slf.began.get()) * 1e3;
        asyncio(py)?.logger.bind(py).call_method1(
            "debug",
            (
                "%r: SSL handshake took %.1f ms",
                slf.lower_protocol(py).bind(py),
                milliseconds,
            ),
        )?;
    }
    let upgraded = slf.told.get() != Told::Nothing;
    if !upgraded {
        slf.told.set(Told::ConnectionMade);
        // What it writes leaves together with the end of the handshake.
        slf.connecting.set(true);
        let told = slf.notify(py, &names(py)?.connection_made, &[slf.as_obj()]);
        slf.connecting.set(false);
        slf.corked.set(false);
        told?;
    }
    wake_waiter(slf, py, None)?;
    if upgraded {
        read::hold(slf);
    }
    if slf.is_paused() {
        // The peer waits for the end of the handshake, whatever becomes of its data.
        write::push_out(slf, py, false).or_else(|error| shutdown::protocol_failed(slf, py, error))?;
    }
    read::read(slf, py, &[])
}

/// Tells who waits for the handshake how it has ended. Where that is a server, a failure is reported in debug mode.
pub(super) fn wake_waiter(slf: &Ref<Tls>, py: Python<'_>, error: Option<&Obj>) -> PyResult<()> {
    if slf.accepted.replace(false) {
        return match error {
            Some(error) if slf.debug() => report(slf, py, error),
            _ => Ok(()),
        };
    }
    let Some(waiter) = slf.waiter.take() else {
        return Ok(());
    };
    let names = names(py)?;
    if call_method(py, &waiter, &names.done, &[])?.bind(py).is_truthy()? {
        return Ok(());
    }
    match error {
        Some(error) => call_method(py, &waiter, &names.set_exception, &[error])?,
        None => call_method(py, &waiter, &names.set_result, &[&Obj::none(py)])?,
    };
    Ok(())
}

#[cold]
fn report(slf: &Ref<Tls>, py: Python<'_>, error: &Obj) -> PyResult<()> {
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    let context = PyDict::new(py);
    context.set_item("message", "Error on transport creation for incoming connection")?;
    context.set_item("exception", error.bind(py))?;
    if let Some(protocol) = slf.protocol.get() {
        context.set_item("protocol", protocol.bind(py))?;
    }
    context.set_item("transport", slf.bind(py))?;
    errors::report(py, &event_loop, &context)
}
