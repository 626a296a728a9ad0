//! Writing: what one callback or task step writes leaves in one system call when it returns.
//!
//! `write()` queues, and the loop calls [`flush`] after the callback. Data is sent at once when much of it has come
//! together, when the high-water mark is passed (so that `pause_writing` is called in the same cases and at the same
//! moment as in asyncio), and when no callback is running that could end. Whoever asks how much is left, closes or ends
//! the stream sends first what is corked: nobody can tell the difference but by the number of packets.

use std::io;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use sabio_reactor::socket;

use super::channel::SocketChannel;
use super::queue::{Progress, Queue};
use super::stream::Stream;
use super::tls::Outgoing;
use super::{close, flow, in_vain};
use crate::event_loop::{CorkedTransport, Loop};
use crate::ffi::{Args, MethodTable, Obj, ReadBuffer, Ref};
use crate::os_error::os_error;

/// So many bytes are sent at once, without waiting for the end of the callback.
pub(super) const CORKED_AT_MOST: usize = 64 * 1024;

/// What is logged of writes to a socket that is lost.
pub(super) const LOST: &str = "socket.send() raised exception.";

const FATAL_WRITE: &str = "Fatal write error on socket transport";

/// Sends what was written in the callback that has just returned; called by the loop for each corked transport, and by
/// the transport itself after it has called its protocol. SystemExit and KeyboardInterrupt come back as errors.
#[inline]
pub(crate) fn flush(transport: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
    if transport.corked.get() {
        transport.corked.set(false);
        send_queued(transport, py)
    } else {
        Ok(())
    }
}

/// Sends what is corked now, if anything is.
#[inline]
pub(super) fn flush_now(slf: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
    // `flush` is still called, and finds nothing to do.
    if slf.corked.get() {
        send_queued(slf, py)
    } else {
        Ok(())
    }
}

/// Sends as much as the kernel takes, unless it is known to take nothing.
#[inline]
fn send_queued(slf: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
    if slf.blocked.get() || slf.is_lost() || slf.queue.is_empty() {
        return Ok(());
    }
    let sent = slf
        .descriptor
        .borrow()
        .and_then(|fd| slf.queue.send::<SocketChannel>(py, fd));
    match sent {
        Ok(Progress::Empty) => Ok(()),
        Ok(Progress::Blocked) => {
            slf.blocked.set(true);
            slf.update_interest(py)
        }
        Err(error) => failed(slf, py, error),
    }
}

#[cold]
fn failed(slf: &Ref<Stream>, py: Python<'_>, error: io::Error) -> PyResult<()> {
    slf.queue.clear();
    slf.blocked.set(false);
    close::fatal_error(slf, py, os_error(error), FATAL_WRITE)
}

/// The descriptor takes data again. SystemExit and KeyboardInterrupt come back as errors.
pub(super) fn ready(slf: &Ref<Stream>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    if slf.is_lost() || !slf.blocked.get() {
        return Ok(());
    }
    let sent = slf
        .descriptor
        .borrow()
        .and_then(|fd| slf.queue.send::<SocketChannel>(py, fd));
    match sent {
        Ok(Progress::Blocked) => flow::maybe_resume(slf, py),
        Ok(Progress::Empty) => {
            slf.blocked.set(false);
            let resumed = flow::maybe_resume(slf, py);
            resumed.and(drained(slf, py, event_loop))
        }
        Err(error) => failed(slf, py, error),
    }
}

/// Everything was sent after the descriptor had been blocked. The protocol may have written again meanwhile.
fn drained(slf: &Ref<Stream>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    slf.update_interest(py)?;
    slf.file.wake();
    if slf.is_lost() || !slf.queue.is_empty() {
        return Ok(());
    }
    if slf.closing.get() {
        slf.conn_lost.set(1);
        close::connection_lost(slf, py, event_loop, None)
    } else {
        if slf.eof_written.get() {
            // A peer that is gone is noticed by reading.
            let _ = slf.descriptor.borrow().and_then(socket::shutdown_write);
        }
        Ok(())
    }
}

/// What may be written.
pub(super) enum Data<'a, 'py> {
    /// Kept as it is until it is sent.
    Bytes(&'a Bound<'py, PyBytes>),
    /// Can change: copied, unless it can be sent at once.
    Buffer(ReadBuffer),
}

impl<'a, 'py> Data<'a, 'py> {
    /// The data of `bytes`, `bytearray` and `memoryview`; None for anything else.
    #[inline]
    pub(super) fn of(data: &'a Bound<'py, PyAny>) -> PyResult<Option<Data<'a, 'py>>> {
        match data.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Some(Data::Bytes(bytes))),
            Err(_) => Data::of_mutable(data),
        }
    }

    fn of_mutable(data: &'a Bound<'py, PyAny>) -> PyResult<Option<Data<'a, 'py>>> {
        if data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>()
        {
            return Ok(Some(Data::Buffer(ReadBuffer::new(data)?)));
        }
        Ok(None)
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Data::Bytes(bytes) => bytes.as_bytes(),
            Data::Buffer(buffer) => buffer.as_slice(),
        }
    }

    /// Puts it into a queue but for its first `sent` bytes: itself, or a copy of what can change.
    #[inline]
    pub(super) fn push(&self, py: Python<'_>, queue: &Queue, sent: usize) {
        match self {
            Data::Bytes(piece) => queue.push(piece, sent),
            Data::Buffer(buffer) => queue.push(&PyBytes::new(py, &buffer.as_slice()[sent..]), 0),
        }
    }
}

/// TypeError for anything that `write()` does not take.
#[inline]
fn check<'a, 'py>(data: &'a Bound<'py, PyAny>) -> PyResult<Data<'a, 'py>> {
    match Data::of(data)? {
        Some(data) => Ok(data),
        None => Err(not_data(data)?),
    }
}

#[cold]
fn not_data(data: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let expected = if cfg!(Py_3_14) {
        "data argument must be a bytes, bytearray, or memoryview object"
    } else {
        "data argument must be a bytes-like object"
    };
    let name = data.get_type().name()?;
    Ok(PyTypeError::new_err(format!("{expected}, not {}", name.repr()?)))
}

/// `write(data)`: sends bytes without waiting.
///
/// # Errors
/// TypeError for what has no bytes, RuntimeError after `write_eof()` and while a file is sent.
pub(crate) fn write(slf: &Ref<Stream>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = data.py();
    let data = check(data)?;
    if slf.eof_written.get() {
        return Err(PyRuntimeError::new_err("Cannot call write() after write_eof()"));
    }
    if slf.file.is_active() {
        return Err(PyRuntimeError::new_err(
            "unable to write; sendfile is in progress",
        ));
    }
    let size = data.as_slice().len();
    if size == 0 {
        return Ok(());
    }
    if slf.is_lost() {
        return in_vain::written(py, &slf.conn_lost, LOST);
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    if slf.queue.is_empty() && (size >= CORKED_AT_MOST || !event_loop.can_cork()) {
        event_loop.expect_events();
        send_at_once(slf, py, &data)?;
    } else {
        data.push(py, &slf.queue, 0);
    }
    settle(slf, py, &event_loop)
}

/// Sends a piece before which nothing is queued, and queues what the kernel does not take.
fn send_at_once(slf: &Ref<Stream>, py: Python<'_>, data: &Data<'_, '_>) -> PyResult<()> {
    let bytes = data.as_slice();
    let sent = match slf.descriptor.borrow().and_then(|fd| socket::send(fd, bytes)) {
        Ok(count) if count == bytes.len() => return Ok(()),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return failed(slf, py, error),
    };
    data.push(py, &slf.queue, sent);
    slf.blocked.set(true);
    slf.update_interest(py)
}

/// Sends bytes of a TLS engine's, or queues them behind what waits already; [`offered`] comes next. Runs no Python code.
pub(super) fn offer(slf: &Stream, py: Python<'_>, data: &Outgoing<'_, '_>) -> io::Result<()> {
    if slf.is_lost() {
        return Ok(());
    }
    let bytes = data.as_slice();
    let mut sent = 0;
    if slf.queue.is_empty() {
        sent = match slf.descriptor.borrow().and_then(|fd| socket::send(fd, bytes)) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        slf.blocked.set(true);
    }
    match data {
        Outgoing::Bytes(piece) => slf.queue.push(piece, sent),
        Outgoing::Memory(_) => slf.queue.push(&PyBytes::new(py, &bytes[sent..]), 0),
    }
    Ok(())
}

/// After [`offer`]: waits for what was not sent, and pauses the protocol if need be.
#[inline]
pub(super) fn offered(slf: &Ref<Stream>, py: Python<'_>, offered: io::Result<()>) -> PyResult<()> {
    match offered {
        Ok(()) if slf.queue.is_empty() => Ok(()),
        Ok(()) => {
            send_queued(slf, py)?;
            slf.update_interest(py)?;
            flow::maybe_pause(slf, py)
        }
        Err(error) => failed(slf, py, error),
    }
}

/// After something was queued: sends now or leaves it to the end of the callback, and pauses the protocol if need be.
#[inline]
fn settle(slf: &Ref<Stream>, py: Python<'_>, event_loop: &Ref<Loop>) -> PyResult<()> {
    let size = slf.queue.size();
    if !slf.blocked.get() {
        if size < CORKED_AT_MOST && size <= slf.limits.high.get() && event_loop.can_cork() {
            if size > 0 && !slf.corked.replace(true) && !slf.receiving.get() {
                event_loop.cork(CorkedTransport::Stream(slf.clone()));
            }
            return Ok(());
        }
        event_loop.expect_events();
        send_queued(slf, py)?;
    }
    flow::maybe_pause(slf, py)
}

fn writelines(slf: &Ref<Stream>, args: Args<'_, '_>) -> PyResult<()> {
    let py = args.py();
    let list_of_data = args.single("writelines", "list_of_data")?;
    if slf.eof_written.get() {
        return Err(PyRuntimeError::new_err(
            "Cannot call writelines() after write_eof()",
        ));
    }
    if slf.file.is_active() {
        let method = if cfg!(Py_3_12) { "writelines" } else { "write" };
        return Err(PyRuntimeError::new_err(format!(
            "unable to {method}; sendfile is in progress"
        )));
    }
    if !list_of_data.is_truthy()? {
        return Ok(());
    }
    // All of them are taken before anything is queued: an error leaves nothing half written.
    let pieces: Vec<_> = list_of_data
        .try_iter()?
        .map(|piece| as_bytes(&piece?))
        .collect::<PyResult<_>>()?;
    if pieces.iter().all(|piece| piece.as_bytes().is_empty()) {
        return Ok(());
    }
    if slf.is_lost() {
        return in_vain::written(py, &slf.conn_lost, LOST);
    }
    let Some(event_loop) = slf.event_loop.get() else {
        return Ok(());
    };
    for piece in pieces.iter().filter(|piece| !piece.as_bytes().is_empty()) {
        slf.queue.push(piece, 0);
    }
    settle(slf, py, &event_loop)
}

/// The object itself if it cannot change, otherwise a copy. TypeError for anything that has no bytes.
pub(super) fn as_bytes<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match data.cast_exact::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) => Ok(PyBytes::new(data.py(), ReadBuffer::new(data)?.as_slice())),
    }
}

fn write_eof(slf: &Ref<Stream>, py: Python<'_>) -> PyResult<()> {
    if slf.closing.get() || slf.eof_written.replace(true) {
        return Ok(());
    }
    flush_now(slf, py)?;
    if slf.queue.is_empty() && !slf.is_lost() {
        if let Some(event_loop) = slf.event_loop.get() {
            event_loop.expect_events();
        }
        slf.descriptor
            .borrow()
            .and_then(socket::shutdown_write)
            .map_err(os_error)?;
    }
    Ok(())
}

pub(super) fn define(table: &mut MethodTable<Stream>) {
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
        .fast_noargs(
            c"write_eof",
            c"write_eof($self, /)\n--\n\nEnd the outgoing half of the connection once everything is sent.",
            write_eof,
        )
        .fast_noargs(
            c"can_write_eof",
            c"can_write_eof($self, /)\n--\n\nTrue: the two halves end independently.",
            |_slf, _py| Ok(true),
        )
        .getter(c"_buffer", c"What is not sent yet, as a list.", |slf, py| {
            Ok(Obj::from(slf.queue.list(py)?))
        })
        .getter(c"_eof", c"Whether write_eof() was called.", |slf, _py| {
            Ok(slf.eof_written.get())
        });
}
