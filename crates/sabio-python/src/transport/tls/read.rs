//! Reading: from the bytes of the transport below to what the application's protocol gets.
//!
//! A stream transport of ours calls [`receive`] when its descriptor is ready; any other transport fills the memory that
//! [`get_buffer`] gives. A paused protocol gets nothing: what comes meanwhile stays encrypted, and when that is more than
//! the limit the transport below is paused as well.

use std::cell::Cell;
use std::io;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use sabio_reactor::socket;

use super::TlsProtocol;
use super::buffer::Taken;
use super::engine::{Engine, Stop};
use super::transport::{State, Tls, Told};
use super::{handshake, shutdown, write};
use crate::event_loop::{Loop, Ready};
use crate::ffi::{
    Args, IntoObj, MethodTable, Obj, ReadBuffer, Ref, Room, WriteBuffer, bytes_from_slice,
    recv_into_new_bytes,
};
use crate::names::names;
use crate::os_error::os_error;
use crate::stream::StreamReaderProtocol;
use crate::transport::close;
use crate::transport::flow::parse_limits;
use crate::transport::read::{FATAL_BUFFER_UPDATED, FATAL_READ, at_eof};
use crate::transport::stream::{Delivery, Stream};
use crate::transport::turn::Turn;

/// How much may come for a paused protocol before the transport below is paused, in bytes (asyncio's constant).
const HIGH_WATER: usize = 256 * 1024;

/// So much at once is decrypted straight into the object that the protocol gets, in bytes; less goes through the loop's
/// memory, so that no object is made too large first.
const LARGE: usize = 32 * 1024;

/// The memory for a transport below that is not ours, in bytes.
const FOREIGN: usize = 64 * 1024;

/// Where the transport below is paused and resumed, in bytes.
pub(super) struct Limits {
    high: Cell<usize>,
    low: Cell<usize>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            high: Cell::new(HIGH_WATER),
            low: Cell::new(HIGH_WATER / 4),
        }
    }
}

/// The descriptor of the transport below has data, or its end. SystemExit and KeyboardInterrupt come back as errors.
pub(in crate::transport) fn receive(
    stream: &Ref<Stream>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    protocol: &Obj,
    turn: &mut Turn,
) -> PyResult<()> {
    let Some(tls) = TlsProtocol::above(protocol.bind(py)) else {
        return Ok(());
    };
    let mut wire = event_loop.tls().wire();
    let received = stream
        .descriptor
        .borrow()
        .and_then(|fd| socket::recv(fd, &mut wire));
    match received {
        Ok(0) => at_eof(stream, py, protocol),
        Ok(size) => {
            turn.read(size, wire.len());
            match received_from_peer(&tls, py, &wire[..size]) {
                Ok(()) => Ok(()),
                Err(error) => close::fatal_error(stream, py, error, FATAL_BUFFER_UPDATED),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => close::fatal_error(stream, py, os_error(error), FATAL_READ),
    }
}

/// Memory for a transport below that is not ours.
pub(super) fn get_buffer(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<Obj> {
    if let Some(memory) = slf.memory.get() {
        return Ok(memory);
    }
    let memory = Obj::from(PyByteArray::new_with(py, FOREIGN, |_| Ok(()))?);
    slf.memory.set(Some(memory.clone()));
    Ok(memory)
}

/// So many bytes are in that memory.
pub(super) fn buffer_updated(slf: &Ref<Tls>, count: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = count.py();
    let count: usize = count.extract()?;
    let Some(memory) = slf.memory.get() else {
        return Ok(());
    };
    let mut wire = match slf.event_loop.get() {
        Some(event_loop) => ReadBuffer::new(memory.bind(py)).map(|view| {
            let mut wire = event_loop.tls().wire();
            let count = count.min(view.len());
            wire[..count].copy_from_slice(&view.as_slice()[..count]);
            wire[..count].to_vec()
        })?,
        None => return Ok(()),
    };
    wire.truncate(count);
    received_from_peer(slf, py, &wire)
}

/// The peer has sent something.
fn received_from_peer(slf: &Ref<Tls>, py: Python<'_>, wire: &[u8]) -> PyResult<()> {
    match slf.state.get() {
        State::Wrapped | State::Flushing => read(slf, py, wire),
        State::Handshake => {
            slf.feed(py, wire)?;
            handshake::go_on(slf, py)
        }
        State::Shutdown => {
            slf.feed(py, wire)?;
            shutdown::go_on(slf, py)
        }
        State::Unwrapped => slf.feed(py, wire),
    }
}

/// Gives the protocol all that can be decrypted, `wire` included. What it writes is encrypted then, and sent when the loop
/// sends what its callbacks have written. What goes wrong ends the connection.
///
/// # Errors
/// SystemExit, KeyboardInterrupt and the like.
pub(super) fn read(slf: &Ref<Tls>, py: Python<'_>, wire: &[u8]) -> PyResult<()> {
    let Some(engine) = slf.engine() else {
        return Ok(());
    };
    match read_and_answer(slf, py, &engine, wire) {
        Ok(()) => Ok(()),
        Err(error) => {
            slf.corked.set(false);
            shutdown::protocol_failed(slf, py, error)
        }
    }
}

/// Whether the protocol takes data now.
fn takes_data(slf: &Tls) -> bool {
    matches!(slf.state.get(), State::Wrapped | State::Flushing) && !slf.is_paused() && !slf.closed.get()
}

fn read_and_answer(slf: &Ref<Tls>, py: Python<'_>, engine: &Engine, mut wire: &[u8]) -> PyResult<()> {
    if !takes_data(slf) {
        engine.feed(py, wire)?;
        return control_lower(slf, py, engine);
    }
    loop {
        let stop = read_some(slf, py, engine, wire)?;
        wire = &[];
        match stop {
            Stop::Full if takes_data(slf) => {}
            Stop::Full | Stop::Blocked => break,
            Stop::CloseNotify => {
                eof_received(slf, py)?;
                return shutdown::start(slf, py);
            }
            Stop::Failed(error) => return Err(error),
        }
    }
    if slf.corked.get() {
        write::encrypt_queued(slf, py, engine)?;
    } else {
        write::push_out(slf, py, false)?;
    }
    control_lower(slf, py, engine)
}

/// Decrypts as much as goes into one call of the protocol, and makes that call.
fn read_some(slf: &Ref<Tls>, py: Python<'_>, engine: &Engine, wire: &[u8]) -> PyResult<Stop> {
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(Stop::Blocked);
    };
    if slf.delivery.get() == Delivery::Buffer {
        return read_into_buffer(slf, py, &event_loop, engine, wire);
    }
    if slf.delivery.get() == Delivery::Data && wire.len() >= LARGE {
        return read_large_data(slf, py, engine, wire);
    }
    let mut plain = event_loop.tls().plain();
    let (size, stop) = engine.decrypt(py, wire, Room::of(&mut plain));
    if size > 0 {
        hand_over(slf, py, plain, size)?;
    }
    Ok(stop)
}

/// Gives the protocol the first `size` bytes, in the way that it gets its data.
fn hand_over(slf: &Ref<Tls>, py: Python<'_>, plain: Taken<'_>, size: usize) -> PyResult<()> {
    let Some(protocol) = slf.protocol.get() else {
        return Ok(());
    };
    match slf.delivery.get() {
        Delivery::Reader => {
            let receiver = StreamReaderProtocol::exact(protocol.bind(py)).and_then(|exact| exact.receiver());
            if let Some(reader) = receiver {
                reader.append(py, &plain[..size])?;
                drop(plain);
                return reader.received(py);
            }
        }
        // TLS inside of TLS: what was decrypted here is decrypted again above.
        Delivery::Tls => {
            if let Some(above) = TlsProtocol::above(protocol.bind(py)) {
                return received_from_peer(&above, py, &plain[..size]);
            }
        }
        Delivery::Data | Delivery::Buffer => {}
    }
    let data = bytes_from_slice(py, &plain[..size])?;
    drop(plain);
    slf.notify(py, &names(py)?.data_received, &[&data]).map(drop)
}

/// Decrypts much data straight into the object that the protocol gets: what is received becomes no longer by decryption.
fn read_large_data(slf: &Ref<Tls>, py: Python<'_>, engine: &Engine, wire: &[u8]) -> PyResult<Stop> {
    let mut size = 0;
    let mut stop = Stop::Blocked;
    let data = recv_into_new_bytes(py, wire.len(), |memory| {
        (size, stop) = engine.decrypt(py, wire, Room::of_uninit(memory));
        Ok(size)
    })??;
    if size > 0 {
        slf.notify(py, &names(py)?.data_received, &[&data])?;
    }
    Ok(stop)
}

fn read_into_buffer(
    slf: &Ref<Tls>,
    py: Python<'_>,
    event_loop: &Loop,
    engine: &Engine,
    wire: &[u8],
) -> PyResult<Stop> {
    let names = names(py)?;
    let hint = (engine.incoming_size(py)? + wire.len()).into_obj(py)?;
    let Some(buffer) = slf.notify(py, &names.get_buffer, &[&hint])? else {
        return Ok(Stop::Blocked);
    };
    let mut view = WriteBuffer::new(buffer.bind(py))?;
    if view.len() == 0 {
        return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
    }
    let mut plain = event_loop.tls().plain();
    let room = view.len().min(plain.len());
    let (size, stop) = engine.decrypt(py, wire, Room::of(&mut plain[..room]));
    view.as_mut_slice()[..size].copy_from_slice(&plain[..size]);
    drop((plain, view, buffer));
    if size > 0 {
        let size = size.into_obj(py)?;
        slf.notify(py, &names.buffer_updated, &[&size])?;
    }
    Ok(stop)
}

/// `eof_received()`, once. What it raises ends the connection; whether it wants to keep the connection does not matter.
pub(super) fn eof_received(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    if slf.told.get() != Told::ConnectionMade {
        return Ok(());
    }
    slf.told.set(Told::EofReceived);
    let keep_open = slf
        .notify(py, &names(py)?.eof_received, &[])
        .and_then(|answer| answer.map_or(Ok(false), |answer| answer.bind(py).is_truthy()));
    match keep_open {
        Ok(false) => Ok(()),
        Ok(true) => {
            let warning = "returning true from eof_received() has no effect when using ssl";
            let logger = crate::asyncio::asyncio(py)?.logger.bind(py);
            logger.call_method1("warning", (warning,)).map(|_| ())
        }
        Err(error) => shutdown::fatal_error(slf, py, error, "Error calling eof_received()"),
    }
}

/// Pauses or resumes the transport below, by how much waits for a paused protocol.
pub(super) fn control_lower(slf: &Ref<Tls>, py: Python<'_>, engine: &Engine) -> PyResult<()> {
    let (paused, lower_paused) = (slf.is_paused(), slf.lower_paused.get());
    if !paused && !lower_paused {
        return Ok(());
    }
    let size = engine.incoming_size(py)?;
    if !lower_paused && size >= slf.read_limits.high.get() {
        slf.lower_paused.set(true);
        slf.lower.pause_reading(py)?;
    } else if lower_paused && (!paused || size <= slf.read_limits.low.get()) {
        slf.lower_paused.set(false);
        slf.lower.resume_reading(py)?;
    }
    Ok(())
}

/// `resume_reading()`: the protocol gets what is waiting in the loop's next turn.
///
/// # Errors
/// RuntimeError when the loop is closed.
pub(crate) fn resume_reading(slf: &Ref<Tls>, _py: Python<'_>) -> PyResult<()> {
    if !slf.reading_paused.replace(false) {
        return Ok(());
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    event_loop.check_closed()?;
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, _| {
        go_on(&transport, py)
    }));
    Ok(())
}

/// Keeps back what has come for the protocol until the loop's next turn is over: whoever waits for the upgrade of a
/// connection decides then who gets its data. Twice upgraded, it belongs to the second handshake.
pub(super) fn hold(slf: &Ref<Tls>) {
    let Some(event_loop) = slf.event_loop.get() else {
        return;
    };
    slf.held.set(true);
    let transport = slf.clone();
    event_loop.push(Ready::job(slf.as_obj().clone(), move |py, _| {
        transport.held.set(false);
        go_on(&transport, py)
    }));
}

/// Passes on what had to wait, in a step of the loop's own.
fn go_on(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<()> {
    let resumed = match slf.state.get() {
        State::Wrapped => read(slf, py, &[]),
        State::Flushing => shutdown::flush(slf, py),
        State::Shutdown => shutdown::go_on(slf, py),
        State::Unwrapped | State::Handshake => Ok(()),
    };
    resumed.or_else(|error| shutdown::job_failed(slf, py, error))
}

/// `pause_reading()`.
pub(crate) fn pause_reading(slf: &Ref<Tls>, _py: Python<'_>) -> PyResult<()> {
    slf.reading_paused.set(true);
    Ok(())
}

fn buffer_size(slf: &Ref<Tls>, py: Python<'_>) -> PyResult<usize> {
    slf.engine().map_or(Ok(0), |engine| engine.incoming_size(py))
}

fn set_read_buffer_limits(slf: &Ref<Tls>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let (low, high) = parse_limits("set_read_buffer_limits", args, HIGH_WATER)?;
    slf.read_limits.high.set(high);
    slf.read_limits.low.set(low);
    slf.engine()
        .map_or(Ok(()), |engine| control_lower(slf, py, &engine))
}

pub(super) fn define(table: &mut MethodTable<Tls>) {
    table
        .fast_noargs(
            c"pause_reading",
            c"pause_reading($self, /)\n--\n\nStop reading until resume_reading() is called.",
            pause_reading,
        )
        .fast_noargs(
            c"resume_reading",
            c"resume_reading($self, /)\n--\n\nGo on reading.",
            resume_reading,
        )
        .fast_noargs(
            c"is_reading",
            c"is_reading($self, /)\n--\n\nWhether the transport reads: not paused.",
            |slf, _py| Ok(!slf.reading_paused.get()),
        )
        .method(
            c"set_read_buffer_limits",
            c"set_read_buffer_limits($self, high=None, low=None)\n--\n\nSet how much is received for a paused protocol, in bytes.",
            set_read_buffer_limits,
        )
        .noargs(
            c"get_read_buffer_limits",
            c"get_read_buffer_limits($self, /)\n--\n\nThe limits (low, high), in bytes.",
            |slf, py| {
                let limits = (slf.read_limits.low.get(), slf.read_limits.high.get());
                Ok(Obj::from(limits.into_pyobject(py)?))
            },
        )
        .noargs(
            c"get_read_buffer_size",
            c"get_read_buffer_size($self, /)\n--\n\nHow many bytes have come that are not decrypted yet.",
            buffer_size,
        );
}
