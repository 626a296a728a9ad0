//! Writing: what one callback or task step writes is encrypted together and leaves in one system call.
//!
//! As with plain connections `write()` queues, and the loop calls [`flush`] after the callback; here it is what is not
//! encrypted yet that waits. Small pieces become one record. While the transport below holds too much, data stays as it
//! is, and the application's protocol is paused by the limits of this transport.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::engine::{Engine, Write};
use super::shutdown;
use super::transport::{State, Tls};
use crate::event_loop::{CorkedTransport, Loop, errors};
use crate::ffi::{Args, MethodTable, Obj, ReadBuffer, Ref, call_method};
use crate::names::{Name, names};
use crate::transport::flow::parse_limits;
use crate::transport::in_vain;
use crate::transport::write::{CORKED_AT_MOST, as_bytes};

/// Where writing is paused when nothing else was set, in bytes (asyncio's constant).
pub(super) const HIGH_WATER: usize = 512 * 1024;

/// The most that one record holds, in bytes (RFC 8446, section 5.1): pieces are put together up to this size.
const RECORD: usize = 16 * 1024;

/// So many bytes are encrypted before they are sent.
const ENCRYPTED_AT_ONCE: usize = 128 * 1024;

/// What is logged of writes to a connection that has ended.
const ENDED: &str = "SSL connection is closed";

/// Sends what was written in the callback that has just returned. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn flush(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.corked.replace(false) {
        push_out_or_end(slf, py)
    } else {
        Ok(())
    }
}

/// Sends what is corked now, if anything is.
pub(super) fn flush_now(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.corked.get() {
        push_out_or_end(slf, py)
    } else {
        Ok(())
    }
}

fn push_out_or_end(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    push_out(slf, py, false).or_else(|error| shutdown::protocol_failed(slf, py, error))
}

/// Encrypts what is queued and passes it on, together with whatever else the engine has for the peer. While the
/// transport below holds too much, only if it is `forced`.
///
/// # Errors
/// Those of the engine and of the transport below.
pub(super) fn push_out(slf: &Ref<Tls>, py: Python<'_>, forced: bool) -> PyResult<()> {
    let Some(engine) = slf.engine() else {
        return Ok(());
    };
    let mut passed_on = false;
    while may_encrypt(slf, forced) {
        match encrypt(slf, py, &engine)? {
            Write::Wrote(count) => slf.queue.advance(py, count),
            Write::Blocked => break,
        }
        slf.lower.send(py, &engine)?;
        passed_on = true;
    }
    if !passed_on && (forced || !slf.lower_blocked.get()) {
        slf.lower.send(py, &engine)?;
    }
    control_protocol(slf, py)
}

/// Encrypts what is queued and leaves it with the engine until the loop flushes this transport: answers are encrypted
/// while their connection is in the caches, and sent one after the other.
///
/// # Errors
/// Those of the engine.
pub(super) fn encrypt_queued(slf: &Tls, py: Python<'_>, engine: &Engine) -> PyResult<()> {
    while may_encrypt(slf, false) {
        match encrypt(slf, py, engine)? {
            Write::Wrote(count) => slf.queue.advance(py, count),
            Write::Blocked => break,
        }
    }
    Ok(())
}

/// Whether something is queued that may be encrypted now.
fn may_encrypt(slf: &Tls, forced: bool) -> bool {
    !slf.queue.is_empty()
        && matches!(slf.state.get(), State::Wrapped | State::Flushing)
        && (forced || !slf.lower_blocked.get())
}

/// Passes on what the engine has for the peer, unless the transport below holds too much.
pub(super) fn pass_on(slf: &Ref<Tls>, py: Python<'_>, engine: &Engine) -> PyResult<()> {
    if !slf.lower_blocked.get() {
        slf.lower.send(py, engine)?;
    }
    control_protocol(slf, py)
}

/// Encrypts from the front of the queue: one large piece, or as many small ones as fill a record.
fn encrypt(slf: &Tls, py: Python<'_>, engine: &Engine) -> PyResult<Write> {
    let Some((piece, offset, only)) = slf.queue.front() else {
        return Ok(Write::Blocked);
    };
    let left = &piece.bind(py).cast::<PyBytes>()?.as_bytes()[offset..];
    if only || left.len() >= RECORD {
        return engine.write(py, &left[..left.len().min(ENCRYPTED_AT_ONCE)]);
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(Write::Blocked);
    };
    let mut record = event_loop.tls().plain();
    let size = slf.queue.copy_front(py, &mut record[..RECORD]);
    engine.write(py, &record[..size])
}

/// The transport below takes data again.
pub(super) fn lower_resumed(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    slf.lower_blocked.set(false);
    push_out_or_end(slf, py)
}

/// How many bytes the limits count.
fn queued(slf: &Tls) -> usize {
    slf.queue.size()
}

/// Calls `pause_writing` if too much waits, `resume_writing` if little enough is left.
fn control_protocol(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    let size = queued(slf);
    let paused = &slf.write_limits.paused;
    // Where both limits are the same, 0 above all, a pause at that size would last until something else happens.
    if !paused.get() && size >= slf.write_limits.high.get() && size > slf.write_limits.low.get() {
        paused.set(true);
        tell(
            slf,
            py,
            &names(py)?.pause_writing,
            "protocol.pause_writing() failed",
        )
    } else if paused.get() && size <= slf.write_limits.low.get() {
        paused.set(false);
        tell(
            slf,
            py,
            &names(py)?.resume_writing,
            "protocol.resume_writing() failed",
        )
    } else {
        Ok(())
    }
}

#[cold]
fn tell(slf: &Ref<Tls>, py: Python<'_>, name: &Name, message: &str) -> PyResult<()> {
    let (Some(protocol), Some(event_loop)) = (slf.protocol.get(), slf.event_loop.get()) else {
        return Ok(());
    };
    // As in asyncio within the caller's context.
    let Err(error) = call_method(py, &protocol, name, &[]) else {
        return Ok(());
    };
    let below = slf.lower_protocol(py);
    let keys = [("transport", slf.as_obj()), ("protocol", &below)];
    errors::exit_or_report(py, &event_loop, error.into(), message, &keys)
}

/// TypeError for anything that `write()` does not take; a copy of what can change.
fn piece<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    if data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>()
    {
        return Ok(PyBytes::new(data.py(), ReadBuffer::new(data)?.as_slice()));
    }
    Err(PyTypeError::new_err(format!(
        "data: expecting a bytes-like instance, got {}",
        data.get_type().name()?
    )))
}

/// `write(data)`: sends bytes without waiting.
///
/// # Errors
/// TypeError for what has no bytes.
pub(crate) fn write(slf: &Ref<Tls>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = data.py();
    let piece = piece(data)?;
    if piece.as_bytes().is_empty() {
        return Ok(());
    }
    if !takes_data(slf) {
        return in_vain::written(py, &slf.conn_lost, ENDED);
    }
    slf.queue.push(&piece, 0);
    settle(slf, py)
}

fn takes_data(slf: &Tls) -> bool {
    matches!(slf.state.get(), State::Handshake | State::Wrapped)
}

/// After something was queued: sends now or leaves it to the end of the callback.
fn settle(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.state.get() != State::Wrapped {
        // It leaves after the handshake.
        return Ok(());
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    if can_wait(slf, &event_loop) {
        if !slf.corked.replace(true) && !slf.connecting.get() {
            event_loop.cork(CorkedTransport::Tls(slf.clone()));
        }
        return Ok(());
    }
    event_loop.expect_events();
    push_out_or_end(slf, py)
}

fn can_wait(slf: &Tls, event_loop: &Loop) -> bool {
    let size = slf.queue.size();
    size < CORKED_AT_MOST
        && size < slf.write_limits.high.get()
        && !slf.lower_blocked.get()
        && event_loop.can_cork()
}

fn writelines(slf: &Ref<Tls>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let list_of_data = args.single("writelines", "list_of_data")?;
    // All of them are taken before anything is queued: an error leaves nothing half written.
    let pieces: Vec<_> = list_of_data
        .try_iter()?
        .map(|piece| as_bytes(&piece?))
        .collect::<PyResult<_>>()?;
    if !takes_data(slf) {
        return in_vain::written(py, &slf.conn_lost, ENDED);
    }
    let pieces: Vec<_> = pieces
        .iter()
        .filter(|piece| !piece.as_bytes().is_empty())
        .collect();
    if pieces.is_empty() {
        return Ok(());
    }
    for piece in pieces {
        slf.queue.push(piece, 0);
    }
    settle(slf, py)
}

fn set_write_buffer_limits(slf: &Ref<Tls>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let (low, high) = parse_limits("set_write_buffer_limits", args, HIGH_WATER)?;
    slf.write_limits.high.set(high);
    slf.write_limits.low.set(low);
    flush_now(slf, py)?;
    control_protocol(slf, py)
}

fn buffer_size(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<usize> {
    flush_now(slf, py)?;
    let encrypted = slf.engine().map_or(Ok(0), |engine| engine.outgoing_size(py))?;
    Ok(queued(slf) + encrypted)
}

pub(super) fn define(table: &mut MethodTable<Tls>) {
    table
        .fast_method(
            c"write",
            c"write($self, data)\n--\n\nSend data (bytes, bytearray or memoryview) without waiting.",
            |slf, args| write(slf, args.single("write", "data")?),
        )
        .fast_method(
            c"writelines",
            c"writelines($self, list_of_data)\n--\n\nSend several pieces of data without waiting.",
            writelines,
        )
        .method(
            c"set_write_buffer_limits",
            c"set_write_buffer_limits($self, high=None, low=None)\n--\n\nSet when the protocol is paused and resumed, in bytes.",
            set_write_buffer_limits,
        )
        .noargs(
            c"get_write_buffer_limits",
            c"get_write_buffer_limits($self, /)\n--\n\nThe limits (low, high), in bytes.",
            |slf, py| {
                let limits = (slf.write_limits.low.get(), slf.write_limits.high.get());
                Ok(Obj::from(limits.into_pyobject(py)?))
            },
        )
        .noargs(
            c"get_write_buffer_size",
            c"get_write_buffer_size($self, /)\n--\n\nHow many bytes were not passed on yet.",
            buffer_size,
        )
        .getter(c"_protocol_paused", c"Whether the protocol was told to pause writing.", |slf, _py| {
            Ok(slf.write_limits.paused.get())
        });
}
