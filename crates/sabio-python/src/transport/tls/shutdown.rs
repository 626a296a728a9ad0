//! How a TLS connection ends: both sides say that they send no more (`close_notify`), or an error ends it, or the
//! transport below is gone.
//!
//! After `close()` the protocol gets no more data: what the peer still sends is read and dropped until it has said that
//! it is done, and the shutdown timeout limits how long that may take.

use pyo3::exceptions::{PyConnectionAbortedError, PyException, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::engine::{Engine, Progress, Stop};
use super::module::ssl_module;
use super::transport::{State, Tls, Told};
use super::{handshake, read, write};
use crate::asyncio::asyncio;
use crate::event_loop::{Ready, errors};
use crate::ffi::{BaseKind, MethodTable, Obj, Ref, Room, base_kind, is_cancelled_error};
use crate::handle::call_in_context;
use crate::names::names;
use crate::transport::shared::is_inherited;

const FATAL: &str = "Fatal error on SSL protocol";

/// `close()`: sends what is queued, then ends the connection.
///
/// # Errors
/// RuntimeError when the loop is closed.
pub(crate) fn close(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.closed.replace(true) {
        slf.released.set(true);
        if slf.below.is_none() {
            slf.release();
        }
        return Ok(());
    }
    if is_inherited(&slf.event_loop) {
        return force_close(slf, py, None);
    }
    if slf.state.get() == State::Flushing {
        // The peer is gone, and the paused protocol does not want any more of what it had sent.
        return flush(slf, py);
    }
    start(slf, py)
}

/// Begins to end the connection, unless that has begun.
pub(super) fn start(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    match slf.state.get() {
        State::Flushing | State::Shutdown | State::Unwrapped => Ok(()),
        State::Handshake => {
            slf.closed.set(true);
            force_close(slf, py, None)
        }
        State::Wrapped => {
            slf.closed.set(true);
            slf.state.set(State::Flushing);
            slf.start_timer(py, &slf.shutdown_timeout)?;
            flush(slf, py)
        }
    }
}

/// Passes on what is left in both directions, then says that we are done.
pub(super) fn flush(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if !slf.closed.get() {
        read::read(slf, py, &[])?;
    }
    // The protocol may have closed or lost the connection meanwhile, or paused it again.
    if slf.state.get() != State::Flushing || (slf.is_paused() && !slf.closed.get()) {
        return Ok(());
    }
    slf.corked.set(false);
    if let Err(error) = write::push_out(slf, py, true) {
        return protocol_failed(slf, py, error);
    }
    if slf.state.get() != State::Flushing {
        return Ok(());
    }
    slf.state.set(State::Shutdown);
    go_on(slf, py)
}

/// Goes on as far as what has come from the peer allows.
pub(super) fn go_on(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    let Some(engine) = slf.engine() else {
        return Ok(());
    };
    if !slf.at_eof.get() {
        let progress = drop_data(slf, py, &engine).and_then(|()| engine.shutdown(py));
        let sent = slf.lower.send(py, &engine);
        match progress {
            Ok(Progress::Done) => {}
            Ok(Progress::Blocked) => {
                read::control_lower(slf, py, &engine)?;
                return sent;
            }
            Err(error) => {
                slf.stop_timer(py)?;
                return fatal_error(slf, py, error, "Fatal error on transport");
            }
        }
        sent?;
    }
    read::eof_received(slf, py)?;
    slf.stop_timer(py)?;
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, _| {
        transport.lower.close(py)
    }));
    Ok(())
}

/// Reads what the peer still sends, for nobody.
fn drop_data(slf: &Tls, py: Python<'_>, engine: &Engine) -> PyResult<()> {
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    let mut plain = event_loop.tls().plain();
    loop {
        match engine.decrypt(py, &[], Room::of(&mut plain)).1 {
            Stop::Full => {}
            Stop::Blocked | Stop::CloseNotify => return Ok(()),
            Stop::Failed(error) => return Err(error),
        }
    }
}

/// The peer has ended its half of the connection below: whether that one stays open.
pub(super) fn lower_eof(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<bool> {
    slf.at_eof.set(true);
    slf.log_debug(py, "%r received EOF")?;
    let ended = match slf.state.get() {
        State::Handshake => handshake::at_eof(slf, py),
        State::Wrapped => {
            slf.state.set(State::Flushing);
            if slf.is_paused() {
                return Ok(true);
            }
            flush(slf, py)
        }
        State::Flushing => return Ok(true),
        State::Shutdown => go_on(slf, py),
        State::Unwrapped => Ok(()),
    };
    if let Err(error) = ended {
        slf.lower.close(py)?;
        return Err(error);
    }
    // The protocol has paused reading while it got what was left: it gets the rest later.
    Ok(slf.state.get() == State::Flushing)
}

/// The connection below is gone.
pub(super) fn lower_lost(slf: &Ref<Tls>, py: Python<'_>, reason: Option<&Obj>) -> PyResult<()> {
    slf.queue.clear();
    slf.conn_lost.set(slf.conn_lost.get().saturating_add(1));
    slf.closed.set(true);
    let protocol = slf.protocol.take();
    let tell = slf.state.get() != State::Handshake
        && matches!(slf.told.get(), Told::ConnectionMade | Told::EofReceived);
    slf.state.set(State::Unwrapped);
    let mut told = Ok(());
    if let (true, Some(protocol), Some(event_loop)) = (tell, &protocol, slf.event_loop.get()) {
        slf.told.set(Told::ConnectionLost);
        told = tell_soon(slf, py, &event_loop, protocol, reason.cloned());
    }
    let woken = if slf.accepted.get() {
        // The report names the protocol.
        slf.protocol.set(protocol);
        let reported = handshake::wake_waiter(slf, py, reason);
        slf.protocol.set(None);
        reported
    } else {
        handshake::wake_waiter(slf, py, reason)
    };
    let stopped = slf.stop_timer(py);
    slf.drop_engine();
    slf.memory.set(None);
    slf.below.set(None);
    if slf.released.get() {
        slf.release();
    }
    told.and(woken).and(stopped)
}

/// Calls `connection_lost` in the loop's next turn.
fn tell_soon(
    slf: &Ref<Tls>,
    py: Python<'_>,
    event_loop: &Ref<crate::event_loop::Loop>,
    protocol: &Obj,
    reason: Option<Obj>,
) -> PyResult<()> {
    let method = Obj::from(protocol.bind(py).getattr(names(py)?.connection_lost.text(py))?);
    let transport = slf.clone();
    event_loop.push(Ready::job(method.clone(), move |py, event_loop| {
        let args = [reason.unwrap_or_else(|| Obj::none(py))];
        call_in_context(py, transport.context(), &method, &args)
            .map(|_| ())
            .or_else(|error| errors::call_failed(py, event_loop, &method, &args, error))
    }));
    Ok(())
}

/// A timeout has run down.
pub(super) fn expired(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    match slf.state.get() {
        State::Handshake => {
            let message = format!(
                "SSL handshake is taking longer than {} seconds: aborting the connection",
                slf.handshake_timeout.bind(py).str()?
            );
            let error = PyConnectionAbortedError::new_err(message);
            fatal_error(slf, py, error, "Fatal error on transport")
        }
        State::Flushing | State::Shutdown => {
            let error = PyTimeoutError::new_err("SSL shutdown timed out");
            slf.lower.force_close(py, Some(Obj::from(error.value(py))))
        }
        State::Unwrapped | State::Wrapped => Ok(()),
    }
}

/// What came of reading or writing ends the connection.
///
/// # Errors
/// What is no `Exception`, such as SystemExit.
pub(super) fn protocol_failed(slf: &Ref<Tls>, py: Python<'_>, error: PyErr) -> PyResult<()> {
    if error.is_instance_of::<PyException>(py) {
        fatal_error(slf, py, error, FATAL)
    } else {
        Err(error)
    }
}

/// What a step of the loop's own raised: SystemExit and KeyboardInterrupt come back as errors.
pub(super) fn job_failed(slf: &Ref<Tls>, py: Python<'_>, error: PyErr) -> PyResult<()> {
    match slf.event_loop.get() {
        Some(event_loop) => {
            let keys = [("transport", slf.as_obj())];
            errors::exit_or_report(py, &event_loop, error, FATAL, &keys)
        }
        None => Err(error),
    }
}

/// The connection cannot go on: the peer is told by an alert where the engine has one, and the transport below is
/// closed. Errors of the connection are only logged in debug mode, everything else goes to the exception handler.
///
/// # Errors
/// SystemExit and KeyboardInterrupt.
#[cold]
pub(super) fn fatal_error(slf: &Ref<Tls>, py: Python<'_>, error: PyErr, message: &str) -> PyResult<()> {
    if base_kind(py, &error) == BaseKind::Exit {
        return Err(error);
    }
    if error.is_instance(py, ssl_module(py)?.ssl_error.bind(py))
        && let Some(engine) = slf.engine()
    {
        // A peer that is gone is noticed below.
        let _ = slf.lower.send(py, &engine);
    }
    let below = slf.lower_protocol(py);
    let closed = slf.lower.force_close(py, Some(Obj::from(error.value(py))));
    let Some(event_loop) = slf.event_loop.get() else {
        return closed;
    };
    let told = if error.is_instance_of::<PyOSError>(py) {
        log(slf, py, &below, &error, message)
    } else if is_cancelled_error(py, &error, &asyncio(py)?.cancelled_error) {
        Ok(())
    } else {
        let lower = slf.lower.get().unwrap_or_else(|| Obj::none(py));
        let keys = [("transport", &lower), ("protocol", &below)];
        errors::report_error(py, &event_loop, message, &error, &keys)
    };
    closed.and(told)
}

fn log(slf: &Tls, py: Python<'_>, below: &Obj, error: &PyErr, message: &str) -> PyResult<()> {
    if !slf.debug() {
        return Ok(());
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("exc_info", error.value(py))?;
    asyncio(py)?
        .logger
        .bind(py)
        .call_method("debug", ("%r: %s", below.bind(py), message), Some(&kwargs))?;
    Ok(())
}

/// `abort()`: what could not be sent yet is dropped.
fn abort(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if !is_inherited(&slf.event_loop) {
        // What this very callback wrote before had been sent by now if it were not corked.
        write::flush_now(slf, py)?;
    }
    force_close(slf, py, None)
}

/// Nobody waits for the handshake any more. As with one that takes too long, a protocol that had the connection before is
/// not told of its end.
pub(crate) fn give_up(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.state.get() != State::Handshake {
        return abort(slf, py);
    }
    slf.closed.set(true);
    slf.lower.force_close(py, None)
}

/// Loses the connection at once, because of `reason` or because somebody wants it so.
fn force_close(slf: &Ref<Tls>, py: Python<'_>, reason: Option<Obj>) -> PyResult<()> {
    slf.closed.set(true);
    slf.state.set(State::Unwrapped);
    slf.lower.force_close(py, reason)
}

pub(super) fn define(table: &mut MethodTable<Tls>) {
    table
        .fast_noargs(
            c"close",
            c"close($self, /)\n--\n\nClose the connection once everything is sent.",
            close,
        )
        .fast_noargs(
            c"abort",
            c"abort($self, /)\n--\n\nClose the connection without sending what could not be sent yet.",
            abort,
        )
        .fast_noargs(
            c"is_closing",
            c"is_closing($self, /)\n--\n\nWhether the transport is closing or closed.",
            |slf, py| slf.is_closing(py),
        )
        .fast_onearg(
            c"_force_close",
            c"_force_close($self, exc, /)\n--\n\nLose the connection because of an exception (or None).",
            |slf, exception| {
                let reason = (!exception.is_none()).then(|| Obj::from(exception));
                force_close(slf, exception.py(), reason)
            },
        );
}
