//! The two transports of pipes (asyncio: `ReadTransport` and `WriteTransport`): one end of a pipe or a FIFO, a character
//! device, or a socket of which only one direction is used.
//!
//! A Python file object owns the descriptor, and is closed with the transport. The descriptor itself may have two
//! transports, one for each direction; the second one then waits with a duplicate, because the reactor knows a descriptor
//! for one owner only.

mod read;
mod write;

use std::os::fd::RawFd;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use sabio_reactor::pipe::{self, Kind};
use sabio_reactor::{Interest, sys};
use sabio_sync::oneshot::Sender;

use super::close;
use super::descriptor::Owner;
use super::shared::{Transport, begin_soon, describe_state};
use crate::event_loop::Loop;
use crate::ffi::{MethodTable, Obj, Ref};
use crate::os_error::os_error;

pub(crate) use read::{ReadPipe, readable};
pub(crate) use write::{WritePipe, flush, reader_gone, writable};

/// What a transport on a pipe is made of.
pub(crate) struct PipeParts<'a, 'py> {
    /// The loop that it lives on.
    pub(crate) event_loop: &'a Ref<Loop>,
    /// The file object.
    pub(crate) pipe: &'a Bound<'py, PyAny>,
    /// What is told of it.
    pub(crate) protocol: Obj,
    /// The context that the protocol's callbacks run in; no other transport's.
    pub(crate) context: Obj,
}

/// Takes a file object over, and says what it is: its descriptor is nonblocking from now on.
///
/// # Errors
/// ValueError with `refused` for a file that cannot be waited for, OSError for one that is closed.
fn take(event_loop: &Ref<Loop>, file: &Bound<'_, PyAny>, refused: &'static str) -> PyResult<(Owner, Kind)> {
    event_loop.check_closed()?;
    let number: RawFd = file.call_method0("fileno")?.extract()?;
    let fd = sys::borrow(number).map_err(os_error)?;
    let kind = pipe::kind(fd).map_err(os_error)?;
    if kind == Kind::Other {
        return Err(PyValueError::new_err(refused));
    }
    pipe::set_nonblocking(fd).map_err(os_error)?;
    let file = Obj::from(file);
    let owner = if event_loop.reactor().owner_of(number).is_some() {
        Owner::Shared(file, number, pipe::duplicate(fd).map_err(os_error)?)
    } else {
        Owner::Socket(file, number)
    };
    Ok((owner, kind))
}

/// Makes a new transport known: to those who ask it for its pipe, and to the reactor. Who it belongs to has it begin then,
/// with [`start`].
///
/// # Errors
/// What is wrong with the protocol or the descriptor, which stays open; the transport is none then.
fn set_up<T: Transport>(transport: &Ref<T>, parts: &PipeParts<'_, '_>) -> PyResult<()> {
    let py = parts.pipe.py();
    let extra = PyDict::new(py);
    extra.set_item("pipe", parts.pipe)?;
    transport.bind(py).setattr("_extra", extra)?;
    let descriptor = &transport.shared().descriptor;
    let registered = descriptor.register(parts.event_loop, T::source(transport), Interest::NONE, true);
    registered.map_err(os_error)
}

/// The transport cannot be used, because of an error: the user's file stays as it is.
fn give_up<T: Transport>(transport: &Ref<T>) {
    let shared = transport.shared();
    shared.closing.set(true);
    shared.conn_lost.set(1);
    shared.descriptor.abandon(shared.event_loop.get().as_ref());
    shared.clear();
}

/// In the loop's next turn: calls `connection_made`, begins to wait for the pipe, then tells the waiter.
///
/// # Errors
/// AttributeError of the protocol; the transport is closed then, the file not.
pub(crate) fn start<T: Transport>(
    transport: &Ref<T>,
    py: Python<'_>,
    event_loop: &Ref<Loop>,
    waiter: Option<Sender<()>>,
) -> PyResult<()> {
    let shared = transport.shared();
    let protocol = shared.protocol.get().unwrap_or_else(|| Obj::none(py));
    match protocol.bind(py).getattr("connection_made") {
        Ok(connection_made) => {
            begin_soon(transport, event_loop, Obj::from(connection_made), waiter);
            Ok(())
        }
        Err(error) => {
            give_up(transport);
            Err(error)
        }
    }
}

/// Begins to wait for the pipe, of whose beginning its protocol knows. SystemExit and KeyboardInterrupt come back as errors.
pub(crate) fn begin<T: Transport>(transport: &Ref<T>, py: Python<'_>) -> PyResult<()> {
    transport.shared().started.set(true);
    T::update_interest(transport, py).or_else(|error| close::fatal_error(transport, py, error, T::FATAL_READ))
}

/// The `repr`; `more` comes at its end while pipe and loop are open.
fn describe<T: Transport>(slf: &Ref<T>, py: Python<'_>, direction: Interest, more: &str) -> PyResult<Obj> {
    let shared = slf.shared();
    let mut text = describe_state(slf, py)?;
    if shared.descriptor.is_open() {
        let polling = shared.descriptor.interest().contains(direction);
        let event_loop = shared.event_loop.get();
        if event_loop.is_some_and(|event_loop| !event_loop.is_closed()) {
            text.push_str(if polling { " polling" } else { " idle" });
            text.push_str(more);
        } else {
            text.push_str(" open");
        }
    } else {
        text.push_str(" closed");
    }
    text.push('>');
    Ok(Obj::from(PyString::new(py, &text)))
}

/// What both kinds have.
fn define<T: Transport>(table: &mut MethodTable<T>) {
    table
        .attribute(
            c"_pipe",
            c"The file object, or None once it is closed. To set it to None is to take the file away, unclosed.",
            |slf, _py| Ok(slf.shared().descriptor.file()),
            |slf, value| {
                if !value.is_none() {
                    return Err(PyTypeError::new_err("a transport cannot be given another pipe"));
                }
                give_up(slf);
                Ok(())
            },
        )
        .getter(c"_fileno", c"The number of the descriptor.", |slf, _py| {
            Ok(slf.shared().descriptor.number() as usize)
        });
}

/// Builds the classes.
pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    read::init(module)?;
    write::init(module)
}
