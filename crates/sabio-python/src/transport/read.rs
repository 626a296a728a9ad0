//! Reading: one recv(2) for each time the descriptor is ready, and some more where each gives as much as it can (see
//! `turn`). A short read means that it is drained.

use std::io;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use sabio_reactor::socket;

use super::channel::SocketChannel;
use super::close;
use super::receive::{NoMemory, receive_bytes, receive_for_reader};
use super::shared::log_debug;
use super::stream::{Delivery, Stream};
use super::tls;
use super::turn::Turn;
use crate::event_loop::Loop;
use crate::ffi::{Obj, Ref, fill_buffer};
use crate::names::names;
use crate::os_error::os_error;
use crate::stream::{Reader, StreamReaderProtocol};

pub(super) const FATAL_READ: &str = "Fatal read error on socket transport";

pub(super) const FATAL_DATA_RECEIVED: &str = "Fatal error: protocol.data_received() call failed.";

pub(super) const FATAL_BUFFER_UPDATED: &str = "Fatal error: protocol.buffer_updated() call failed.";

const FATAL_GET_BUFFER: &str = "Fatal error: protocol.get_buffer() call failed.";

/// The descriptor has data, or the peer has ended or reset the connection. SystemExit and KeyboardInterrupt come back
/// as errors.
#[inline]
pub(super) fn ready(slf: &Ref<Stream>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let mut turn = Turn::default();
    loop {
        read(slf, py, event_loop, &mut turn)?;
        if !turn.goes_on(event_loop) {
            return Ok(());
        }
    }
}

/// Reads once, in whatever way and for whomever it is to be done now.
#[inline]
fn read(slf: &Ref<Stream>, py: Python<'_>, event_loop: &Ref<Loop>, turn: &mut Turn) -> PyResult<()> {
    // A protocol, of another transport or of this one, may have paused or closed it since the event was fetched.
    if slf.is_lost() || !slf.wants_data() {
        return Ok(());
    }
    let Some(protocol) = slf.protocol.get() else {
        return Ok(());
    };
    match slf.delivery.get() {
        Delivery::Data => read_data(slf, py, event_loop, &protocol, turn),
        Delivery::Buffer => read_into_buffer(slf, py, &protocol, turn),
        Delivery::Tls => tls::receive(slf, py, event_loop, &protocol, turn),
        Delivery::Reader => {
            let receiver = StreamReaderProtocol::exact(protocol.bind(py)).and_then(|exact| exact.receiver());
            match receiver {
                Some(reader) => read_for_reader(slf, py, event_loop, &protocol, &reader, turn),
                None => read_data(slf, py, event_loop, &protocol, turn),
            }
        }
    }
}

/// Puts data into a reader without a call of its protocol.
fn read_for_reader(
    slf: &Ref<Stream>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    protocol: &Obj,
    reader: &Reader,
    turn: &mut Turn,
) -> PyResult<()> {
    let expected = slf.expected.get();
    let received = receive_for_reader::<SocketChannel>(&slf.descriptor, py, event_loop, expected, reader);
    let size = match received {
        Ok(Ok(size)) => size,
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Ok(Err(error)) => return close::fatal_error(slf, py, os_error(error), FATAL_READ),
        Err(NoMemory::ToReceive(error)) => return close::fatal_error(slf, py, error, FATAL_READ),
        Err(NoMemory::ToKeep(error)) => return close::fatal_error(slf, py, error, FATAL_DATA_RECEIVED),
    };
    if size == 0 {
        return at_eof(slf, py, protocol);
    }
    slf.expected.set(expected.after(size));
    turn.read(size, expected.most());
    match reader.received(py) {
        Ok(()) => Ok(()),
        Err(error) => close::fatal_error(slf, py, error, FATAL_DATA_RECEIVED),
    }
}

fn read_data(
    slf: &Ref<Stream>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    protocol: &Obj,
    turn: &mut Turn,
) -> PyResult<()> {
    let mut size = 0;
    let expected = slf.expected.get();
    let received = receive_bytes::<SocketChannel>(&slf.descriptor, py, event_loop, expected, &mut size);
    let data = match received {
        Ok(Ok(data)) => data,
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Ok(Err(error)) => return close::fatal_error(slf, py, os_error(error), FATAL_READ),
        Err(error) => return close::fatal_error(slf, py, error, FATAL_READ),
    };
    if size == 0 {
        drop(data);
        return at_eof(slf, py, protocol);
    }
    slf.expected.set(expected.after(size));
    turn.read(size, expected.most());
    match Stream::deliver(slf, py, protocol, &names(py)?.data_received, &[&data]) {
        Ok(_) => Ok(()),
        Err(error) => close::fatal_error(slf, py, error, FATAL_DATA_RECEIVED),
    }
}

/// What came of a read into the protocol's own buffer.
enum Filled {
    Empty,
    Received(io::Result<usize>),
}

fn read_into_buffer(slf: &Ref<Stream>, py: Python<'_>, protocol: &Obj, turn: &mut Turn) -> PyResult<()> {
    let names = names(py)?;
    let hint = &SIZE_HINT.get(py)?;
    let buffer = match slf.notify(py, protocol, &names.get_buffer, &[hint]) {
        Ok(buffer) => buffer,
        Err(error) => return close::fatal_error(slf, py, error, FATAL_GET_BUFFER),
    };
    let mut most = 0;
    let filled = fill_buffer(buffer.bind(py), |memory| {
        if memory.is_empty() {
            return Filled::Empty;
        }
        most = memory.len();
        Filled::Received(slf.descriptor.borrow().and_then(|fd| socket::recv(fd, memory)))
    });
    let size = match filled {
        Ok(Filled::Received(Ok(size))) => size,
        Ok(Filled::Received(Err(error))) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Ok(Filled::Received(Err(error))) => return close::fatal_error(slf, py, os_error(error), FATAL_READ),
        Ok(Filled::Empty) => {
            let error = PyRuntimeError::new_err("get_buffer() returned an empty buffer");
            return close::fatal_error(slf, py, error, FATAL_GET_BUFFER);
        }
        Err(_) => return not_a_buffer(slf, py, buffer.bind(py)),
    };
    drop(buffer);
    if size == 0 {
        return at_eof(slf, py, protocol);
    }
    turn.read(size, most);
    let size = crate::ffi::IntoObj::into_obj(size, py)?;
    match Stream::deliver(slf, py, protocol, &names.buffer_updated, &[&size]) {
        Ok(_) => Ok(()),
        Err(error) => close::fatal_error(slf, py, error, FATAL_BUFFER_UPDATED),
    }
}

/// What the protocol gave cannot be read into: the errors are those that asyncio's way of finding out raises.
#[cold]
fn not_a_buffer(slf: &Ref<Stream>, py: Python<'_>, object: &Bound<'_, PyAny>) -> PyResult<()> {
    match object.len() {
        Err(error) => close::fatal_error(slf, py, error, FATAL_GET_BUFFER),
        Ok(_) => {
            let error = PyTypeError::new_err(format!(
                "recv_into() argument 1 must be read-write bytes-like object, not {}",
                object.get_type().name()?
            ));
            close::fatal_error(slf, py, error, FATAL_READ)
        }
    }
}

/// The peer has ended its half: the protocol decides whether ours stays open.
pub(super) fn at_eof(slf: &Ref<Stream>, py: Python<'_>, protocol: &Obj) -> PyResult<()> {
    log_debug(slf, py, "%r received EOF")?;
    let keep_open = slf
        .notify(py, protocol, &names(py)?.eof_received, &[])
        .and_then(|answer| answer.bind(py).is_truthy());
    match keep_open {
        Ok(true) => {
            slf.at_eof.set(true);
            slf.update_interest(py)
        }
        Ok(false) => close::close(slf, py),
        Err(error) => close::fatal_error(
            slf,
            py,
            error,
            "Fatal error: protocol.eof_received() call failed.",
        ),
    }
}

static SIZE_HINT: crate::ffi::Global<Obj> = crate::ffi::Global::new();

/// Makes the argument of `get_buffer`.
pub(super) fn init(py: Python<'_>) -> PyResult<()> {
    SIZE_HINT.set(py, (-1_i32).into_pyobject(py)?.into_any().into());
    Ok(())
}
